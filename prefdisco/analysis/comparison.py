"""Two runs on the scenarios that both played: differences with paired intervals, and paired tests.

Interval: whole problems are drawn with replacement, the same ones for both runs (bootstrap.py). Test: if the two runs
were the same, their episodes of a problem could be swapped. The p value is the share of random swaps of whole problems
(all of them, where there are few problems) whose difference is at least as large, two-sided. Both hold for ratios of
sums such as normalized alignment as well as for means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from prefdisco.analysis.runs import Run
from prefdisco.bootstrap import SMALLEST, Array, Bootstrap, Estimate, limits
from prefdisco.measures import Measure, Unit, measure, units
from prefdisco.schema import Episode

Columns = Sequence[Sequence[float]]  # [terms][units]
SWAPS = 9999
BATCH = 500  # swaps that are held in memory together
UNSHARED = "the two runs share no scenario"
# what is compared: name -> (measure, condition; None for the one that is looked at)
COMPARED: dict[str, tuple[str, str | None]] = {
    "baseline accuracy": ("accuracy", "baseline"),
    "accuracy": ("accuracy", None),
    "alignment": ("alignment", None),
    "normalized alignment": ("normalized_alignment", None),
    "negative rate": ("negative_rate", None),
    "questions": ("questions", None),
}


class Difference(NamedTuple):
    """One figure of two runs over their shared units: both values, second - first with its interval, and p values.

    `holm` is p corrected for all the comparisons that it was made among. Where there is no figure, the estimate's mean
    is None, with a reason, and so are the others.
    """

    figure: str
    first: str
    second: str
    units: int
    problems: int
    values: tuple[float | None, float | None]
    difference: Estimate
    p: float | None
    holm: float | None = None


def compare(runs: Sequence[Run], condition: str = "discovery") -> list[Difference]:
    """Every run after the first against the first, figure by figure, with Holm's correction over all of them."""
    found = [
        difference(runs[0], run, name, measure(of, place or condition))
        for run in runs[1:]
        for name, (of, place) in COMPARED.items()
    ]
    corrected = holm([each.p for each in found if each.p is not None])
    return [each if each.p is None else each._replace(holm=corrected.pop(0)) for each in found]


def difference(first: Run, second: Run, figure: str, what: Measure) -> Difference:
    """One figure of two runs, over the (scenario, seed) pairs that have it in both."""
    sides = [{_unit(each[0]): each for each in units(run.played, *what.conditions)} for run in (first, second)]
    shared = [unit for unit in sides[0] if unit in sides[1]]
    problems = [sides[0][unit][0].problem_id for unit in shared]
    counts = len(shared), len(set(problems))
    if not shared:
        reason = UNSHARED if all(sides) else what.nothing
        return Difference(figure, first.name, second.name, *counts, (None, None), _none(reason), None)
    columns = [list(zip(*(what.terms(*side[unit]) for unit in shared), strict=True)) for side in sides]
    values, gap = paired(Bootstrap(problems), problems, columns, what)
    p = None if gap["mean"] is None else swap_test(problems, columns, what)
    return Difference(figure, first.name, second.name, *counts, values, gap, p)


def paired(
    boot: Bootstrap, problems: Sequence[str], columns: Sequence[Columns], what: Measure
) -> tuple[tuple[float | None, float | None], Estimate]:
    """(both values, second - first) of a measure whose terms are `columns[side][term][unit]`; None where one side has
    no such figure."""
    totals = [_figure(boot.sums(problems, *side), what, len(problems)) for side in columns]
    (first, known), (second, also_known) = totals
    if not (known[0] and also_known[0]):
        return (None, None), _none(what.undefined or what.nothing)
    gaps, usable = second - first, known & also_known
    point = float(gaps[0])
    interval = limits(gaps[1:][usable[1:]], len(set(problems)), point)
    return (float(first[0]), float(second[0])), {"mean": point, "ci": interval}


def swap_test(problems: Sequence[str], columns: Sequence[Columns], what: Measure, swaps: int = SWAPS) -> float:
    """The p value of swapping the two sides of `columns`, problem by problem."""
    names, rows = np.unique(np.asarray(problems), return_inverse=True)
    size = len(names)
    sides = [np.stack([np.bincount(rows, column, size) for column in side], axis=1) for side in columns]
    table = np.concatenate(sides)  # a row a problem: those of the first side, then those of the second

    def statistic(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], axis: int) -> Array:
        """Second - first, of samples of rows of `table`."""
        values = []
        for sample in (first, second):
            total = table[np.moveaxis(sample.astype(np.intp), axis, -1)].sum(-2)
            found, usable = _figure(total.reshape(-1, table.shape[1]), what, len(problems))
            values.append(np.where(usable, found, np.nan).reshape(total.shape[:-1]))
        gap: Array = np.nan_to_num(values[1] - values[0])
        return np.round(gap, 12)  # swaps that change nothing must tie with the data, to the last digit

    found = stats.permutation_test(
        (np.arange(size), size + np.arange(size)),
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=swaps,
        batch=BATCH,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p values by Holm's step-down correction, in their order: the k-th smallest of m times m - k + 1, rising."""
    corrected, worst = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        worst = max(worst, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = worst
    return corrected


def _figure(total: Array, what: Measure, count: int) -> tuple[Array, np.ndarray[Any, Any]]:
    """(the measure of each row of sums, whether its denominator is more than rounding)."""
    above, below = what.parts(total)
    usable = np.abs(below) / count >= SMALLEST
    return above / np.where(usable, below, 1.0), usable


def _unit(episode: Episode) -> Unit:
    return (episode.scenario_id, episode.seed)


def _none(reason: str) -> Estimate:
    return {"mean": None, "ci": None, "reason": reason}
