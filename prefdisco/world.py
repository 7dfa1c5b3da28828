"""The parts that a set of scenarios is played with: who answers, who grades, who knows the population.

Pocket's parts are computed; other scenarios bring their own. Only this module and the factories it calls look at which
of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prefdisco.config import ConfigError
from prefdisco.elicitation import BeliefFactory, Policy, get_policy
from prefdisco.judges import Judge, load_judge
from prefdisco.schema import Scenario
from prefdisco.users import User, is_pocket, load_user


@dataclass(frozen=True)
class World:
    """User, judge, and what a question policy needs: a belief about the person, and words for its questions."""

    user: User
    judge: Judge
    belief: BeliefFactory | None
    question: Callable[[Scenario, str, int], str]  # scenario, attribute, seed -> the text of a question
    wondering: Callable[[str], str]  # attribute -> what an agent thinks before it asks

    def policy(self, name: str, budget: int, cost: float) -> Policy:
        """The question policy called `name`; ConfigError where this world has no belief to ask from."""
        if self.belief is None:
            raise ConfigError(f"data.policy={name}: these scenarios have no belief model; use data.policy=self")
        try:
            return get_policy(name, self.belief, budget, cost)
        except ValueError as error:
            raise ConfigError(f"data.policy={name}: {error}") from None


def world_of(scenarios: Sequence[Scenario], user: str = "passive", judge: str = "exact") -> World:
    """The world of `scenarios`, all of one kind. Raises ConfigError for a user or judge that they cannot have."""
    who, grader = load_user(user, scenarios), load_judge(judge, scenarios)
    if not is_pocket(scenarios):
        return World(who, grader, None, _plain_question, lambda attribute: f"I do not know about {attribute} yet.")
    from prefdisco.pocket.attributes import ask, unknown
    from prefdisco.pocket.belief import belief

    return World(who, grader, belief, lambda scenario, attribute, seed: ask(attribute, seed), unknown)


def _plain_question(scenario: Scenario, attribute: str, seed: int) -> str:
    return f"What would you prefer when it comes to {attribute.replace('_', ' ')}?"
