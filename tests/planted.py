"""A population of two types of people, small enough to know what every belief should say of it."""

from __future__ import annotations

import random

from prefdisco.schema import Criterion, Persona, Preference, Problem, Scenario

# Cooks care about the first three and want a warm tone; clerks care about the others and want a dry one.
CARES = {"cook": ("tone", "pictures", "examples"), "clerk": ("tone", "sources", "tables")}
TONE = {"cook": "warm", "clerk": "dry"}
OFTEN, RARELY, LOYAL = 0.9, 0.1, 0.9  # that one of their own, or another attribute matters; that the tone is the type's
ATTRIBUTES = ("examples", "pictures", "sources", "tables", "tone")


def people(
    count: int, seed: int = 0, task: str = "toy", family: str | None = None, numbers: bool = False
) -> list[Scenario]:
    """`count` scenarios, each of another person; the type is the persona's. With `numbers`, values are 1..5 instead:
    4 or 5 of a cook, 1 or 2 of a clerk."""
    rng = random.Random(f"{seed}/{task}/{family}")
    made = []
    while len(made) < count:
        kind = rng.choice(sorted(CARES))
        values: dict[str, str] = {}
        for name in ATTRIBUTES:
            if rng.random() < (OFTEN if name in CARES[kind] else RARELY):
                own = rng.random() < LOYAL
                values[name] = TONE[kind] if own else TONE["clerk" if kind == "cook" else "cook"]
                if numbers:
                    values[name] = str(rng.choice((4, 5) if own == (kind == "cook") else (1, 2)))
        if values:
            number = len(made)
            problem = f"problem_{number // 2}"
            made.append(scenario(f"{problem}_{seed}-{number}", problem, kind, values, task, family))
    return made


def scenario(
    id: str, problem: str, kind: str, values: dict[str, str], task: str = "toy", family: str | None = None
) -> Scenario:
    """One scenario whose preferences weigh the same."""
    weight = 1 / len(values)
    levels = {1: "no", 3: "half", 5: "yes"}
    return Scenario(
        id=id,
        problem=Problem(
            id=problem, task=task, domain="math", question=f"What is {problem}?", answer="42", family=family
        ),
        persona=Persona(id=f"{kind}-{id}", name=kind, description=f"A {kind}.", type=kind),
        profile=tuple(Preference(attribute=a, value=v, weight=weight, kind="presentation") for a, v in values.items()),
        rubric=tuple(Criterion(attribute=a, description=v, weight=weight, levels=levels) for a, v in values.items()),
    )
