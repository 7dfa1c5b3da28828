"""The grader. Pocket's is exact; a judge behind an LLM implements the same protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from prefdisco.config import ConfigError
from prefdisco.schema import Grade, Scenario
from prefdisco.users import is_pocket


class Verdict(NamedTuple):
    """One response, judged: whether its answer is right, and one grade for each preference of the profile."""

    correct: bool
    grades: tuple[Grade, ...]


class Judge(Protocol):
    """Grades a response against a scenario. It sees the response only: no dialogue, no thinking."""

    @property
    def name(self) -> str: ...

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """The verdict on `response`; an exception makes the episode an error, never a score."""
        ...


def load_judge(name: str, scenarios: Sequence[Scenario]) -> Judge:
    """The judge called `name`; Pocket scenarios have "exact". Raises ConfigError for any other name."""
    if not is_pocket(scenarios):
        raise ConfigError(
            f"judge={name}: only Pocket scenarios have an exact judge; "
            "LLM judges are configured as provider/name, in a later version"
        )
    if name != "exact":
        raise ConfigError(f"judge={name}: unknown judge; Pocket scenarios have judge=exact")
    from prefdisco.pocket.judge import PocketJudge

    judge: Judge = PocketJudge()
    return judge
