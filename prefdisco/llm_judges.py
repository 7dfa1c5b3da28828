"""The grader behind a language model. It reads a problem, a rubric and a response: no dialogue, no thinking.

    judge = LLMJudge(model, mode="together")
    verdict = await judge.grade(scenario, response)
    verdict.correct, verdict.grades, verdict.usage

The response is data (`as_data`): the system prompts (prompts/judge_*.txt) are the same for every response.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, create_model, field_validator

from prefdisco.conditions import problem_text, prompt
from prefdisco.config import ConfigError
from prefdisco.hashing import stable_seed
from prefdisco.judges import Verdict
from prefdisco.llm.base import Model, ModelError, Sampling
from prefdisco.llm.data import INVISIBLE, as_data, cut, spoken
from prefdisco.llm.structured import ask
from prefdisco.schema import Criterion, DataError, Grade, Message, Scenario, Usage

MODES = ("together", "separate")
LONGEST_RESPONSE = 20_000  # characters of a response that the judge reads; of a longer one, both ends
NOTHING = "the response is empty"


class _Score(BaseModel):
    """One criterion, graded; the reason stands before the score so that the score follows from it."""

    model_config = ConfigDict(extra="forbid")
    criterion: str
    reason: str
    score: int = Field(strict=True, ge=1, le=5)  # neither "5" nor true is a score


class _Grades(BaseModel):
    """What the model answers; `_record` narrows it to the criteria of one call."""

    model_config = ConfigDict(extra="forbid")
    grades: list[_Score]

    @field_validator("grades")
    @classmethod
    def _each_once(cls, grades: list[_Score]) -> list[_Score]:
        seen: set[str] = set()
        for grade in grades:
            if grade.criterion in seen:
                raise ValueError(f"{grade.criterion!r} is graded twice, and another criterion is missing")
            seen.add(grade.criterion)
        return grades


class Correctness(BaseModel):
    """What the correctness judge answers."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    correct: StrictBool


@lru_cache(maxsize=256)
def _record(names: tuple[str, ...]) -> type[_Grades]:
    """The grades of these criteria: as many as there are names, and no other name."""
    criterion: Any = (Literal[names], ...)
    score: Any = create_model("Score", __base__=_Score, criterion=criterion)
    grades: Any = (list[score], Field(min_length=len(names), max_length=len(names)))
    return create_model("Grades", __base__=_Grades, grades=grades)


class LLMJudge:
    """Grades with `model`: all criteria in one call (`together`), or one call a criterion (`separate`, as published).

    Whether the answer is right is decided by the checker of the problem's task; where it cannot tell, `correctness`
    (by default the same model) is asked, at temperature 0. Calls of one response run at once. `max_tokens` is the room
    for one criterion; another `seed` draws another opinion. Raises ConfigError for an unknown mode.
    """

    def __init__(
        self,
        model: Model,
        mode: str = "together",
        correctness: Model | None = None,
        temperature: float = 0.1,
        max_tokens: int = 200,
        seed: int = 0,
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"judge mode {mode!r}: unknown; there are {', '.join(MODES)}")
        self.name = f"{mode}({model.name})"
        self.model, self.mode, self.correctness = model, mode, correctness or model
        self.temperature, self.max_tokens, self.seed = temperature, max_tokens, seed

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """The verdict, one grade a preference in the order of the profile.

        A response without a visible character is wrong and gets 1 on every criterion, without a call. Raises DataError
        where a preference has no criterion, ModelError where a model gave no valid answer.
        """
        criteria = _criteria(scenario)
        if not INVISIBLE.sub("", response).strip():
            return Verdict(False, tuple(Grade(attribute=c.attribute, score=1, reason=NOTHING) for c in criteria))
        # The same order for every response to this scenario, so that conditions compare; never that of the weights.
        mixed = random.Random(stable_seed("criteria", scenario.id)).sample(criteria, len(criteria))
        sheets = [mixed] if self.mode == "together" else [[criterion] for criterion in mixed]
        try:
            async with asyncio.TaskGroup() as group:
                right = group.create_task(self._is_correct(scenario, response))
                graded = [group.create_task(self._grades(scenario, sheet, response)) for sheet in sheets]
        except ExceptionGroup as failed:  # the others are cancelled; one line is what people read
            error = failed.exceptions[0]
            if isinstance(error, ModelError):
                error.usage = sum((paid(task) for task in (right, *graded)), Usage())
            raise error from None
        correct, usage = right.result()
        grades: dict[str, Grade] = {}
        for task in graded:
            given, cost = task.result()
            grades.update({grade.attribute: grade for grade in given})
            usage += cost
        return Verdict(correct, tuple(grades[criterion.attribute] for criterion in criteria), usage)

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        """By the checker of the problem's task, without a call; None where only a judge could tell."""
        from prefdisco.tasks.consistency import same_answer

        return await asyncio.to_thread(same_answer, scenario.problem, thinking, response)

    async def _grades(self, scenario: Scenario, sheet: Sequence[Criterion], response: str) -> tuple[list[Grade], Usage]:
        """One call: these criteria, each graded once."""
        names = tuple(criterion.attribute for criterion in sheet)
        text, left_out = cut(response, LONGEST_RESPONSE)
        data = as_data(
            problem=problem_text(scenario.problem),
            criteria=[_entry(scenario, criterion) for criterion in sheet],
            response=text,
            left_out=left_out,
        )
        seed = stable_seed(self.seed, "judge", scenario.id, *names)
        sampling = Sampling(self.temperature, max_tokens=100 + self.max_tokens * len(names), seed=seed)
        answer = await ask(self.model, _talk("judge_criteria", data), _record(names), sampling)
        note = f" ({left_out} of {len(response)} characters were left out)" if left_out else ""
        grades = [
            Grade(attribute=given.criterion, score=given.score, reason=spoken(given.reason) + note)
            for given in answer.value.grades
        ]
        return grades, answer.usage

    async def _is_correct(self, scenario: Scenario, response: str) -> tuple[bool, Usage]:
        """By the task's checker, or by a call that depends on problem and response alone: personas can share it."""
        problem = scenario.problem
        if problem.checker != "judge":
            from prefdisco.tasks.checkers import check

            known = await asyncio.to_thread(check, problem, response)  # one comparison may take seconds
            if known is not None:
                return bool(known), Usage()
        text, left_out = cut(response, LONGEST_RESPONSE)
        data = as_data(problem=problem_text(problem), reference=problem.answer, response=text, left_out=left_out)
        sampling = Sampling(
            temperature=0, max_tokens=100 + self.max_tokens, seed=stable_seed(self.seed, "correct", problem.id)
        )
        answer = await ask(self.correctness, _talk("judge_correct", data), Correctness, sampling)
        return answer.value.correct, answer.usage


def paid(task: asyncio.Task[tuple[Any, Usage]]) -> Usage:
    """What a call cost that has ended, also one that brought nothing valid."""
    if task.cancelled():
        return Usage()
    error = task.exception()
    if error is None:
        return task.result()[1]
    return error.usage if isinstance(error, ModelError) else Usage()


def _criteria(scenario: Scenario) -> list[Criterion]:
    """The criterion of every preference, in the order of the profile; DataError where one is missing."""
    rubric = {criterion.attribute: criterion for criterion in scenario.rubric}
    missing = [preference.attribute for preference in scenario.profile if preference.attribute not in rubric]
    if missing:
        raise DataError(f"scenario {scenario.id}: rubric: no criterion for {missing[0]!r}; add one a preference")
    return [rubric[preference.attribute] for preference in scenario.profile]


def _entry(scenario: Scenario, criterion: Criterion) -> dict[str, Any]:
    """One criterion as the judge sees it: without its weight, which is not for it to know."""
    preference = scenario.preference(criterion.attribute)
    return {
        "criterion": criterion.attribute,
        "preference": preference.value if preference else None,
        "description": criterion.description,
        "levels": {str(score): criterion.levels[score] for score in sorted(criterion.levels)},
    }


def _talk(name: str, data: str) -> list[Message]:
    return [Message(role="system", content=prompt(name)), Message(role="user", content=data)]
