"""Means and ratios of sums with 95% bootstrap intervals, clustered: whole problems are drawn, with all their personas
and seeds.

The same draws serve every figure of a summary, so intervals of differences are paired over conditions. Intervals are
expanded percentile intervals: with few problems, plain ones are too narrow (docs/statistics.md has measurements).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

Array = np.ndarray[Any, np.dtype[np.float64]]
RESAMPLES = 1000
SMALLEST = 1e-9  # below this a difference is none

TAIL = 0.025

Estimate = dict[str, Any]  # {"mean": float | None, "ci": [low, high] | None}, and "reason" where the mean is None


class Bootstrap:
    """Resampled problems: `draws` [resamples, problems] says how often each problem was drawn."""

    def __init__(self, problems: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.index = {problem: number for number, problem in enumerate(sorted(set(problems)))}
        count = len(self.index)
        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, max(count, 1), size=(resamples, count))
        self.draws = np.zeros((resamples, count))
        for row, problems_drawn in enumerate(drawn):
            self.draws[row] = np.bincount(problems_drawn, minlength=count)

    def sums(self, problems: Sequence[str], *columns: Sequence[float]) -> Array:
        """Column totals, [1 + resamples, columns]: the first row is the data as it is, the others one resample each."""
        per_problem = np.zeros((len(self.index), len(columns)))
        rows = np.fromiter((self.index[problem] for problem in problems), dtype=np.intp, count=len(problems))
        for number, column in enumerate(columns):
            per_problem[:, number] = np.bincount(rows, np.asarray(column, dtype=float), minlength=len(self.index))
        totals: Array = np.concatenate([per_problem.sum(0)[None], self.draws @ per_problem])
        return totals

    def mean(self, problems: Sequence[str], values: Sequence[float], reason: str) -> Estimate:
        """The mean of `values`, the i-th of which belongs to `problems[i]`; `reason` explains a mean of nothing."""
        return self.ratio(problems, (values, [1.0] * len(values)), lambda total: (total[:, 0], total[:, 1]), reason)

    def ratio(
        self,
        problems: Sequence[str],
        columns: Sequence[Sequence[float]],
        parts: Callable[[Array], tuple[Array, Array]],
        reason: str,
    ) -> Estimate:
        """A ratio of sums: `parts` makes numerator and denominator, [1 + resamples] each, of `sums`.

        `reason` explains a denominator of zero, where there is no ratio.
        """
        above, below = parts(self.sums(problems, *columns))
        # A denominator that is a difference of sums is rounding noise around zero, so its size is judged per item.
        if not problems or abs(below[0]) / len(problems) < SMALLEST:
            return {"mean": None, "ci": None, "reason": reason}
        usable = np.abs(below) / len(problems) >= SMALLEST
        values = above[usable] / below[usable]
        return {"mean": float(values[0]), "ci": limits(values[1:], len(set(problems)), float(values[0]))}


def limits(resampled: Array, clusters: int, point: float) -> list[float]:
    """The 95% interval [low, high] of a figure from its values in the resamples of `clusters` problems.

    The bootstrap's spread is that of a sample whose variance is divided by n, and its percentiles are the normal's: for
    a mean of n clusters the percentile interval is narrower than Student's by sqrt(n / (n - 1)) * t(n - 1) / z. The
    percentiles are moved out by that factor (Hesterberg, The American Statistician 69, 2015, section 5.3). `point`
    alone where there is nothing to resample.
    """
    if not len(resampled):
        return [point, point]
    tail = TAIL
    if clusters > 1:
        tail = float(ndtr(sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, TAIL)))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return [float(low), float(high)]
