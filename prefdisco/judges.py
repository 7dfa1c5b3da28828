"""The grader. Pocket's is exact; a judge behind an LLM implements the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from prefdisco.config import ConfigError
from prefdisco.extensions import is_own, load_own
from prefdisco.llm.base import Model
from prefdisco.schema import Grade, Preference, Scenario, Usage
from prefdisco.users import is_pocket


class Verdict(NamedTuple):
    """One response, judged: whether its answer is right, and one grade for each preference of the profile."""

    correct: bool
    grades: tuple[Grade, ...]
    usage: Usage = Usage()


class Judge(Protocol):
    """Grades a response against a scenario. It sees the response only: no dialogue, no thinking."""

    @property
    def name(self) -> str: ...

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """The verdict on `response`; an exception makes the episode an error, never a score."""
        ...


@runtime_checkable
class AnswerReader(Protocol):
    """A judge that can tell whether thinking and response come to the same answer: for the record, it is no grade."""

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        """Whether `response` states the answer that `thinking` arrived at; None where either states none."""
        ...


@runtime_checkable
class OpenJudge(Protocol):
    """A judge that can grade any preference, not only those of a profile, and at no cost: a computed one."""

    def grades(self, scenario: Scenario, response: str, preferences: Sequence[Preference]) -> tuple[Grade, ...]:
        """How `response` would be graded by somebody with these preferences, one grade for each."""
        ...


@runtime_checkable
class Seer(Protocol):
    """A judge that can say which attributes a response realises beyond what a generic answer does."""

    def touched(self, scenario: Scenario, response: str) -> Collection[str]: ...


def load_judge(
    name: str, scenarios: Sequence[Scenario], model: Callable[[str], Model] | None = None, mode: str = "together"
) -> Judge:
    """The judge called `name`: "exact" on Pocket scenarios, FILE.py:CLASS, else `model(name)` grading in `mode`.

    Raises ConfigError for a name that is none of these.
    """
    if is_own(name):
        own: Judge = load_own(name, "judge")()
        return own
    if name != "exact":
        if "/" not in name or model is None:
            raise ConfigError(
                f"judge={name}: unknown judge; choose exact (Pocket), a model: provider/name, or FILE.py:CLASS"
            )
        from prefdisco.llm_judges import LLMJudge
        from prefdisco.tasks.checkers import check_ready

        check_ready(scenario.problem for scenario in scenarios)
        return LLMJudge(model(name), mode)
    if not is_pocket(scenarios):
        raise ConfigError(f"judge={name}: only Pocket scenarios have an exact judge; name a model: judge=provider/name")
    from prefdisco.pocket.judge import PocketJudge

    judge: Judge = PocketJudge()
    return judge
