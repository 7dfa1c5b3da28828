"""Rubrics: exactly one criterion for each preference of a profile, with levels 1, 3 and 5 in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, create_model, model_validator

from prefdisco.build.attributes import problem_key
from prefdisco.build.instructions import about_persona, about_problem
from prefdisco.build.ledger import Ledger, Unit
from prefdisco.build.personas import Strict, Words
from prefdisco.schema import Persona, Preference, Problem

SCORES = (1, 3, 5)


class Levels(Strict):
    """One criterion as the model writes it."""

    description: Words
    level_1: Words
    level_3: Words
    level_5: Words

    @model_validator(mode="after")
    def _apart(self) -> Levels:
        if len({text.casefold() for text in (self.level_1, self.level_3, self.level_5)}) < len(SCORES):
            raise ValueError("two levels read the same")
        return self


def rubric_class(profile: Sequence[Preference]) -> type[Strict]:
    """The class of a rubric for this profile: a field for each preference, by name, none missing and no other."""
    fields: dict[str, Any] = {
        f"field{index}": (Levels, Field(alias=preference.attribute)) for index, preference in enumerate(profile)
    }
    return create_model("Rubric", __base__=Strict, **fields)


async def make_rubric(ledger: Ledger, problem: Problem, persona: Persona, profile: Sequence[Preference]) -> Unit | None:
    """The rubric of a profile, as the ledger has it; None where the model failed."""
    shown = {"attribute", "value", "kind", "description", "justification"}
    material = {
        "person": about_persona(persona),
        "problem": about_problem(problem),
        "preferences": [preference.model_dump(mode="json", include=shown) for preference in profile],
    }
    return await ledger.ask(rubric_name(problem, persona.id), "rubrics", material, rubric_class(profile))


def rubric_name(problem: Problem, persona: str) -> str:
    """The name of a rubric's unit."""
    return f"rubric/{problem_key(problem)}/{persona}"


def published_rubric(unit: Unit) -> dict[str, Any]:
    """A rubric's unit in the published form, without weights."""
    criteria = [
        {
            "preference": name,
            "description": text["description"],
            "levels": [{"score": score, "description": text[f"level_{score}"]} for score in SCORES],
        }
        for name, text in unit.value.items()
    ]
    return {"evaluation_criteria": criteria}
