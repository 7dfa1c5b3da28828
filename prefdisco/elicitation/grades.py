"""How well an assumed value suits a person who wants another: what a belief's best plan is measured by.

A world with a computed judge brings its own function (`prefdisco.world.grade_of`); other scenarios use `plain_grade`.
"""

from __future__ import annotations

from collections.abc import Callable

# (attribute, value that a plan assumes or None for nothing, value that the person wants) -> grade on 1..5; MET where
# both are equal.
Grade = Callable[[str, str | None, str], float]

MET, NEUTRAL, OPPOSITE = 5.0, 3.0, 1.0


def plain_grade(attribute: str, assumed: str | None, wanted: str) -> float:
    """5 where the values are equal, 3 where nothing is assumed, else 1; of two numbers on 1..5, 5 less their distance.

    The attribute does not matter. Distances beyond four would be graded 1.
    """
    if assumed is None:
        return NEUTRAL
    if assumed == wanted:
        return MET
    one, other = level(assumed), level(wanted)
    return OPPOSITE if one is None or other is None else max(OPPOSITE, MET - abs(one - other))


def level(value: str) -> float | None:
    """A value as a number on 1..5, None where it is none."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 1 <= number <= 5 else None
