"""From a dialogue to a belief: what a question in words was about, and what its answer told."""

from __future__ import annotations

from collections.abc import Callable

from prefdisco.elicitation.policies import Belief
from prefdisco.schema import Scenario
from prefdisco.users import TransparentUser


def asked_by(user: object) -> Callable[[str], str | None]:
    """What a question is about, as far as the user tells; None for one who does not."""
    return user.attribute_of if isinstance(user, TransparentUser) else nobody_knows


def nobody_knows(question: str) -> str | None:
    """What a question is about, of a user who does not tell."""
    return None


def heard(
    belief: Belief, scenario: Scenario, question: str, revealed: str | None, asked: Callable[[str], str | None]
) -> Belief:
    """The belief once a question was answered; the same where nobody knows what it was about or where it was known."""
    attribute = revealed or asked(question)
    if attribute is None or attribute in {name for name, _ in belief.answered}:
        return belief
    preference = scenario.preference(attribute) if revealed else None
    return belief.answer(attribute, preference.value if preference else None)
