"""Scenarios as sequences: the first problem of each person, and the further ones by how they relate to it.

    first = part(scenarios, "first", limit=100)          # of the first 100 people who have several problems
    later = part(scenarios, "other_domain", limit=100)   # of the same 100 people

Every person has one scenario in `first`; what is found there can be carried to the others (carried.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from prefdisco.config import ConfigError
from prefdisco.schema import Problem, Scenario

FIRST = "first"
PARTS = (FIRST, "same_family", "same_domain", "other_domain")


def part(scenarios: Iterable[Scenario], name: str, limit: int, source: str = "scenarios") -> list[Scenario]:
    """One part of the sequences of the first `limit` people who have several problems, in the order of `scenarios`.

    Raises ConfigError, naming `source`, where there is none.
    """
    sequences: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        sequence = sequences.setdefault(scenario.persona.id, [])
        if all(scenario.problem.id != other.problem.id for other in sequence):
            sequence.append(scenario)
    people = [sequence for sequence in sequences.values() if len(sequence) > 1][:limit]
    found = [
        scenario
        for first, *later in people
        for scenario in ([first] if name == FIRST else later)
        if name == FIRST or relation(first.problem, scenario.problem) == name
    ]
    if not found:
        raise ConfigError(
            f"scenarios={source}:{name}: of {len(people)} people with several problems, none has one of this part"
        )
    return found


def relation(first: Problem, later: Problem) -> str:
    """How a later problem relates to the first: "same_family", "same_domain" or "other_domain".

    Problems without a family are of the same domain at most.
    """
    if first.domain != later.domain:
        return "other_domain"
    return "same_family" if first.family is not None and first.family == later.family else "same_domain"
