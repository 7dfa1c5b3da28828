"""Which question to ask next: policies over a belief about the person, beliefs learned from scenarios, and how well
they do without a language model (`prefdisco elicit`)."""

from prefdisco.elicitation.policies import (
    DISCOUNT,
    POLICIES,
    WORTHLESS,
    Answered,
    Belief,
    BeliefFactory,
    Policy,
    ceiling,
    get_policy,
    interview,
    lookahead,
    replay,
    worth,
)

__all__ = [
    "DISCOUNT",
    "POLICIES",
    "WORTHLESS",
    "Answered",
    "Belief",
    "BeliefFactory",
    "Policy",
    "ceiling",
    "get_policy",
    "interview",
    "lookahead",
    "replay",
    "worth",
]
