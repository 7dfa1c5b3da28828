"""A person's ratings as the grades of a judge: an episode that somebody rated is an ordinary one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefdisco.config import ConfigError
from prefdisco.judges import AnswerReader, Judge, Verdict, load_judge
from prefdisco.llm.base import Model
from prefdisco.people.config import PERSON
from prefdisco.schema import Grade, Scenario
from prefdisco.users import is_pocket


class PersonJudge:
    """Grades as a person rated, `scores` by attribute; `referee` says whether the answer is right."""

    name = PERSON

    def __init__(self, scores: Mapping[str, int], referee: Judge) -> None:
        self.scores, self.referee = scores, referee

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """The person's scores in the order of the profile."""
        correct, _, usage = await self.referee.grade(scenario, response)
        grades = [
            Grade(attribute=each.attribute, score=self.scores[each.attribute], reason="a person's rating")
            for each in scenario.profile
        ]
        return Verdict(correct, tuple(grades), usage)

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        """As the referee reads it."""
        if not isinstance(self.referee, AnswerReader):
            return None
        return await self.referee.consistent(scenario, thinking, response)


class TaskChecker:
    """Knows by the checker of a problem's task whether a response is right, and nothing of preferences."""

    name = "checker"

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """Correctness, without grades."""
        from prefdisco.tasks.checkers import check

        return Verdict(bool(check(scenario.problem, response)), ())

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        """Whether thinking and response state the same answer."""
        from prefdisco.tasks.consistency import same_answer

        return same_answer(scenario.problem, thinking, response)


def referee_of(name: str, scenarios: Sequence[Scenario], model: Callable[[str], Model]) -> Judge:
    """Who decides whether answers are right: Pocket's judge, the checkers of the tasks, or the model called `name`.

    Raises ConfigError where only a model could tell and none is named.
    """
    if name:
        return load_judge(name, scenarios, model)
    if is_pocket(scenarios):
        return load_judge("exact", scenarios)
    from prefdisco.tasks.checkers import check_ready

    check_ready(scenario.problem for scenario in scenarios)
    unknown = next((s.problem.id for s in scenarios if s.problem.checker in (None, "judge")), None)
    if unknown is not None:
        raise ConfigError(
            f"problem {unknown}: only a judge can tell whether an answer to it is right; name one with "
            "referee=provider/NAME or referee=server/URL"
        )
    return TaskChecker()
