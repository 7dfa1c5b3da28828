"""Profiles: which attributes matter to one person for one problem, with value, importance and reason.

The answer's own schema holds what must hold: a key for each attribute and no other, values of that attribute only, and
for an attribute on which the person had a value before, that value alone. So a person is consistent over problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, create_model, model_validator

from prefdisco.build.attributes import problem_key
from prefdisco.build.instructions import about_persona, about_problem
from prefdisco.build.ledger import Ledger, Unit
from prefdisco.build.personas import Strict, Words
from prefdisco.schema import Attribute, Persona, Problem

Importance = Literal[1, 2, 3, 4, 5]


class Choice(Strict):
    """What a person wants on one attribute; subclasses narrow `value` to the attribute's. The reason comes first."""

    justification: Words
    value: Words
    local_importance: Importance


def profile_class(attributes: Sequence[Attribute], known: Mapping[str, str], fewest: int, most: int) -> type[Strict]:
    """The class of a profile over these attributes: one field each, by name; `known` values cannot change."""

    def in_bounds(self: Strict) -> Strict:
        count = sum(value is not None for _, value in self)
        if not fewest <= count <= most:
            raise ValueError(f"{count} attributes are not null, expected {fewest} to {most}")
        return self

    fields: dict[str, Any] = {}
    for index, attribute in enumerate(attributes):
        values = (known[attribute.name],) if attribute.name in known else attribute.values
        value: Any = Literal[values]
        choice = create_model(f"Choice{index}", __base__=Choice, value=(value, ...))
        fields[f"field{index}"] = (choice | None, Field(default=None, alias=attribute.name))
    validators: dict[str, Any] = {"in_bounds": model_validator(mode="after")(in_bounds)}
    return create_model("Profile", __base__=Strict, __validators__=validators, **fields)


async def make_profile(
    ledger: Ledger, problem: Problem, persona: Persona, attributes: Sequence[Attribute], known: Mapping[str, str]
) -> Unit | None:
    """The profile of a person for a problem, as the ledger has it; None where the model failed."""
    if found := ledger.units.get(name := profile_name(problem, persona.id)):
        return found
    config = ledger.config
    bounds = {"fewest": min(config.fewest, len(attributes)), "most": min(config.most, len(attributes))}
    material = {
        "person": about_persona(persona),
        "problem": about_problem(problem),
        "attributes": [attribute.model_dump(mode="json") for attribute in attributes],
        "known": {attribute.name: known[attribute.name] for attribute in attributes if attribute.name in known},
    }
    record = profile_class(attributes, known, **bounds)
    return await ledger.ask(name, "profiles", material, record, bounds)


def profile_name(problem: Problem, persona: str) -> str:
    """The name of a profile's unit; it ends with the persona's id."""
    return f"profile/{problem_key(problem)}/{persona}"


def values_of(unit: Unit) -> dict[str, str]:
    """Attribute -> value of a profile's unit."""
    return {name: choice["value"] for name, choice in unit.value.items() if choice is not None}


def published_profile(unit: Unit, attributes: Sequence[Attribute]) -> dict[str, dict[str, Any]]:
    """A profile's unit in the published form; `attributes` must hold all of its."""
    by_name = {attribute.name: attribute for attribute in attributes}
    return {
        name: {
            **choice,
            "type": by_name[name].kind,
            "description": by_name[name].description,
            "value_range": " / ".join(by_name[name].values),
        }
        for name, choice in unit.value.items()
        if choice is not None
    }
