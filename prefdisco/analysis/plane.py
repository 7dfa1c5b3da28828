"""What alignment costs in accuracy: every run under every condition as a point, and those that no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prefdisco.analysis.runs import Run
from prefdisco.bootstrap import SMALLEST, Bootstrap, Estimate
from prefdisco.conditions import parse_condition
from prefdisco.measures import estimate, measure


class Point(NamedTuple):
    """One run under one condition. `told` is true where the prompt states the preferences: a bound, not a rival."""

    run: str
    condition: str
    told: bool
    episodes: int
    accuracy: Estimate
    alignment: Estimate


def points(runs: Sequence[Run]) -> list[Point]:
    """The points of all runs, each over all its own episodes without error."""
    found = []
    for run in runs:
        boot = Bootstrap([episode.problem_id for group in run.played.values() for episode in group.values()])
        for name in run.conditions:
            accuracy, alignment = (
                estimate(boot, run.played, measure(each, name)) for each in ("accuracy", "alignment")
            )
            told = parse_condition(name).states_preferences
            found.append(Point(run.name, name, told, len(run.played[name]), accuracy, alignment))
    return found


def front(found: Sequence[Point]) -> list[Point]:
    """The Pareto front, by rising accuracy: the points than which no other is at least as good in both accuracy and
    alignment and better in one. It is that of the means; points whose intervals overlap may change places."""
    best = [point for point in found if not any(_beats(other, point) for other in found)]
    return sorted(best, key=lambda point: (point.accuracy["mean"], -point.alignment["mean"]))


def _beats(one: Point, other: Point) -> bool:
    gains = [one.accuracy["mean"] - other.accuracy["mean"], one.alignment["mean"] - other.alignment["mean"]]
    return min(gains) >= -SMALLEST and max(gains) > SMALLEST
