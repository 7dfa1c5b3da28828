"""The exact judge of Pocket: reads the response, grades every preference, and checks the stated answer."""

from __future__ import annotations

from collections.abc import Sequence

from prefdisco.judges import Verdict
from prefdisco.pocket.attributes import GENERIC_PLAN
from prefdisco.pocket.reader import answer, conclusion, grade, is_correct, read
from prefdisco.schema import Grade, Preference, Scenario


class PocketJudge:
    """Grades by `reader`; the same text gets the same verdict, always."""

    name = "exact"

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        """Correctness, and one grade a preference in the order of the profile."""
        return Verdict(is_correct(scenario.problem, response), self.grades(scenario, response, scenario.profile))

    def grades(self, scenario: Scenario, response: str, preferences: Sequence[Preference]) -> tuple[Grade, ...]:
        """One grade for each of any preferences."""
        return grade(scenario.problem, response, preferences)

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        """Whether the response's answer line states what the thinking ends with, its last "So X."."""
        thought, said = conclusion(thinking), answer(scenario.problem, response)
        return None if thought is None or said is None else thought == said

    def touched(self, scenario: Scenario, response: str) -> set[str]:
        """The attributes that `response` realises in another way than a generic answer would."""
        plan = read(scenario.problem, response)
        return {name for name, value in plan.items() if value != GENERIC_PLAN[name]}
