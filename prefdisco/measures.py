"""The figures that are ratios of sums over units, each defined once: what a unit must have, what is summed, and what is
divided by what. Summaries, tables by task and paired tests all take them from here.

    estimate(boot, played(episodes), measure("normalized_alignment", "discovery"))

A unit is a (scenario, seed); it counts for a measure if it has an episode without error under every condition that the
measure compares. Shares and accuracy are on 0..1, normalized alignment in percent, alignment on 1..5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from prefdisco.bootstrap import SMALLEST, Array, Bootstrap, Estimate
from prefdisco.schema import Episode

Unit = tuple[str, int]  # (scenario id, seed)
Played = Mapping[str, Mapping[Unit, Episode]]  # condition -> the episodes without error
EQUAL = "oracle equals baseline"
UNPAIRED = "no scenario has baseline, oracle and this condition"
NO_EPISODES, NO_PAIRS = "no episodes", "no pairs"


class Measure(NamedTuple):
    """One figure. `terms` makes of a unit's episodes, in the order of `conditions`, the numbers that are summed over
    units; `parts` makes numerator and denominator, [n] each, of such sums [n, terms].

    `nothing` says why there is no figure without units, `undefined` why there is none where the denominator is zero.
    """

    conditions: tuple[str, ...]
    terms: Callable[..., tuple[float, ...]]
    parts: Callable[[Array], tuple[Array, Array]]
    nothing: str
    undefined: str = ""


def measure(name: str, condition: str = "discovery") -> Measure:
    """The measure called `name` of a condition; KeyError for an unknown one.

    accuracy: share of right responses. alignment: mean PrefAlign. questions: mean number. accuracy_change: accuracy -
    baseline accuracy. negative_rate: share of units whose alignment is strictly below their baseline's.
    normalized_alignment: 100 (condition - baseline) / (oracle - baseline), a ratio of means (PrefDisco, section 4).
    """
    return {
        "accuracy": _mean((condition,), right, NO_EPISODES),
        "alignment": _mean((condition,), lambda own: own.graded_alignment, NO_EPISODES),
        "questions": _mean((condition,), lambda own: float(len(own.questions)), NO_EPISODES),
        "accuracy_change": _mean(("baseline", condition), lambda base, own: right(own) - right(base), NO_PAIRS),
        "negative_rate": _mean(("baseline", condition), harmed, NO_PAIRS),
        "normalized_alignment": Measure(
            ("baseline", "oracle", condition),
            lambda base, best, own: (base.graded_alignment, best.graded_alignment, own.graded_alignment),
            lambda total: (100 * (total[:, 2] - total[:, 0]), total[:, 1] - total[:, 0]),
            UNPAIRED,
            EQUAL,
        ),
    }[name]


def estimate(boot: Bootstrap, by_condition: Played, what: Measure) -> Estimate:
    """The measure over all units that it can be taken of, with its interval."""
    found = units(by_condition, *what.conditions)
    if not found:
        return {"mean": None, "ci": None, "reason": what.nothing}
    columns = list(zip(*(what.terms(*each) for each in found), strict=True))
    return boot.ratio([each[0].problem_id for each in found], columns, what.parts, what.undefined)


def played(episodes: Iterable[Episode]) -> dict[str, dict[Unit, Episode]]:
    """The episodes without error, by condition and unit."""
    found: dict[str, dict[Unit, Episode]] = {}
    for episode in episodes:
        if episode.error is None:
            found.setdefault(episode.condition, {})[(episode.scenario_id, episode.seed)] = episode
    return found


def units(by_condition: Played, *names: str) -> list[tuple[Episode, ...]]:
    """The episodes of every unit that has all of these conditions, in their order."""
    groups = [by_condition.get(name, {}) for name in names]
    return [tuple(group[unit] for group in groups) for unit in groups[0] if all(unit in group for group in groups)]


def right(episode: Episode) -> float:
    """1 for a right response, else 0."""
    return float(bool(episode.correct))


def harmed(base: Episode, own: Episode) -> float:
    """1 where the response fits the person less well than the baseline's, else 0."""
    return float(own.graded_alignment < base.graded_alignment - SMALLEST)


def in_order(conditions: Iterable[str]) -> list[str]:
    """baseline, discovery, oracle first, then the controls by name."""
    first = ("baseline", "discovery", "oracle")
    return sorted(conditions, key=lambda name: (first.index(name) if name in first else len(first), name))


def _mean(conditions: Sequence[str], value: Callable[..., float], nothing: str) -> Measure:
    return Measure(
        tuple(conditions), lambda *own: (value(*own), 1.0), lambda total: (total[:, 0], total[:, 1]), nothing
    )
