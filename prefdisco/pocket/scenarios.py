"""Pocket's scenarios, in three splits that share no problem and no person.

`train` and `test` use the nine training families and eight training types; `heldout` the three families and two types
that no recipe trains on (pocket-base has met the families, not the types). Which side a problem or a person is on
follows from a hash of its content.
"""

from __future__ import annotations

import random
from typing import Literal

from prefdisco.hashing import stable_seed
from prefdisco.pocket.attributes import DIMENSIONS
from prefdisco.pocket.families import FAMILIES, HELD_OUT_FAMILIES, draw_problem
from prefdisco.pocket.population import DOMAIN_OF, DOMAINS, persona_split, profile, sample_persona
from prefdisco.schema import Criterion, Persona, Preference, Problem, Scenario

Split = Literal["train", "test", "heldout"]
TRAIN_FAMILIES = tuple(name for name in FAMILIES if name not in HELD_OUT_FAMILIES)
PERSONAS_A_PROBLEM = {"train": 1, "test": 2, "heldout": 2}


def problem_split(problem: Problem) -> Literal["train", "test"]:
    """The side of a problem: a hash of its question, about a fifth are for testing."""
    return "test" if stable_seed("problem", problem.question) % 5 == 0 else "train"


def sample_problem(rng: random.Random, split: Split, family: str | None = None) -> Problem:
    """A problem of `split`; difficulty is uniform on 1..3. `family` restricts it to one family."""
    side = "train" if split == "train" else "test"
    families = HELD_OUT_FAMILIES if split == "heldout" else TRAIN_FAMILIES
    while True:
        problem = draw_problem(family or rng.choice(families), rng, rng.randint(1, 3))
        if problem_split(problem) == side:
            return problem


def criterion(preference: Preference) -> Criterion:
    """The rubric line of a preference, with anchored levels."""
    wanted, what = preference.value.replace("_", " "), DIMENSIONS[preference.attribute].description
    return Criterion(
        attribute=preference.attribute,
        weight=preference.weight,
        description=f"{what}: {wanted}",
        levels={1: f"does the opposite of {wanted}", 3: "does neither, or leaves it out", 5: f"fully {wanted}"},
    )


def scenario(problem: Problem, persona: Persona) -> Scenario:
    """The scenario of this person with this problem."""
    preferences = profile(persona, problem.family or "")
    return Scenario(
        id=f"{problem.id}/{persona.id}",
        problem=problem,
        persona=persona,
        profile=preferences,
        rubric=tuple(criterion(p) for p in preferences),
    )


def scenarios(split: Split, limit: int, seed: int = 0) -> list[Scenario]:
    """`limit` scenarios of a split; personas of one problem stand together and share its baseline answer."""
    rng = random.Random(stable_seed("pocket", split, seed))
    found: dict[str, Scenario] = {}
    while len(found) < limit:
        problem = sample_problem(rng, split)
        for _ in range(PERSONAS_A_PROBLEM[split]):
            persona = sample_persona(rng, held_out=split == "heldout", split="train" if split == "train" else "test")
            made = scenario(problem, persona)
            assert persona_split(persona) == ("train" if split == "train" else "test")
            found[made.id] = made
    return list(found.values())[:limit]


def sequences(people: int, seed: int = 0) -> list[Scenario]:
    """Four scenarios of each of so many people of the test split: a first problem, another of its family, one of
    another family of its domain, one of another domain. Families are those of training.
    """
    rng = random.Random(stable_seed("pocket", "sequences", seed))
    found: dict[str, list[Scenario]] = {}
    while len(found) < people:
        persona = sample_persona(rng, split="test")
        first = rng.choice([family for family in TRAIN_FAMILIES if _siblings(family)])
        elsewhere = [family for family in TRAIN_FAMILIES if DOMAIN_OF[family] != DOMAIN_OF[first]]
        problems = [sample_problem(rng, "test", first)]
        while len(problems) < 2:
            again = sample_problem(rng, "test", first)
            problems += [again] if again.id != problems[0].id else []
        problems += [sample_problem(rng, "test", rng.choice(each)) for each in (_siblings(first), elsewhere)]
        found[persona.id] = [scenario(problem, persona) for problem in problems]
    return [made for sequence in found.values() for made in sequence]


def _siblings(family: str) -> list[str]:
    """The other training families of its domain."""
    return [name for name in DOMAINS[DOMAIN_OF[family]] if name != family and name in TRAIN_FAMILIES]
