"""A line through points, with intervals that hold when points come in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from prefdisco.bootstrap import SMALLEST, TAIL

Array = np.ndarray[Any, np.dtype[np.float64]]
LEAST = 3  # clusters or points: with two, a line has no error
CONSTANT = "x is the same everywhere"
ONE_CLUSTER = "the slope rests on one problem alone"


class Line(NamedTuple):
    """y = intercept + slope x, with 95% intervals. `p` is two-sided, of a slope of zero; `r` is Pearson's.

    Where there is no such line, or no interval for it, the figures are None and `reason` says why.
    """

    points: int
    clusters: int
    slope: float | None = None
    slope_ci: tuple[float, float] | None = None
    intercept: float | None = None
    intercept_ci: tuple[float, float] | None = None
    r: float | None = None
    p: float | None = None
    reason: str = ""


def regress(x: Sequence[float], y: Sequence[float], clusters: Sequence[str] | None = None) -> Line:
    """Ordinary least squares of y on x; 95% intervals by Student's t.

    Without `clusters` the points are independent: the textbook intervals, n - 2 degrees of freedom. With them, the i-th
    point belongs to `clusters[i]`, and the variance of the coefficients is the jackknife over whole clusters,
    CV3 = (G - 1) / G * sum over g of (b without g - b)^2, with G - 1 degrees of freedom. It needs no assumption on how
    points of a cluster depend on each other or on equal variances, and keeps its coverage with few clusters, where the
    usual sandwich does not (MacKinnon, Nielsen and Webb, Journal of Applied Econometrics 38, 2023).
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    names, of = np.unique(np.asarray(np.arange(len(xs)) if clusters is None else clusters), return_inverse=True)
    if len(names) < LEAST:
        return Line(len(xs), len(names), reason=f"fewer than {LEAST} {'points' if clusters is None else 'problems'}")
    x_mean, y_mean = float(xs.mean()), float(ys.mean())
    dx, dy = xs - x_mean, ys - y_mean  # centred: leaving out a cluster must not subtract large squares from each other
    xx, yy = float(dx @ dx), float(dy @ dy)
    if xx < SMALLEST * len(xs):
        return Line(len(xs), len(names), reason=CONSTANT)
    slope = float(dx @ dy) / xx
    intercept = y_mean - slope * x_mean
    r = float(dx @ dy) / (xx * yy) ** 0.5 if yy >= SMALLEST * len(ys) else None
    line = Line(len(xs), len(names), slope, intercept=intercept, r=r)
    if clusters is None:
        residual = dy - slope * dx
        freedom = len(xs) - 2
        variance = float(residual @ residual) / freedom
        return _with_intervals(
            line, (variance / xx) ** 0.5, (variance * (1 / len(xs) + x_mean**2 / xx)) ** 0.5, freedom
        )
    left = _leaving_one_out(dx, dy, of, len(names))
    if left is None:
        return line._replace(reason=ONE_CLUSTER)
    slopes, heights = left
    # The lines are in centred coordinates, where the full one has intercept 0.
    shifts = slopes - slope, heights - (slopes - slope) * x_mean
    freedom = len(names) - 1
    slope_error, intercept_error = ((freedom / len(names) * float(shift @ shift)) ** 0.5 for shift in shifts)
    return _with_intervals(line, slope_error, intercept_error, freedom)


def _leaving_one_out(dx: Array, dy: Array, of: np.ndarray[Any, Any], count: int) -> tuple[Array, Array] | None:
    """(slopes, intercepts) without each cluster in turn; None where what is left has one x."""
    sums = np.stack([np.bincount(of, column, count) for column in (np.ones_like(dx), dx, dy, dx * dx, dx * dy)])
    n, x, y, xx, xy = sums.sum(1, keepdims=True) - sums
    spread = xx - x * x / n
    if bool((spread < SMALLEST * len(dx)).any()):
        return None
    slopes: Array = (xy - x * y / n) / spread
    return slopes, (y - slopes * x) / n


def _with_intervals(line: Line, slope_error: float, intercept_error: float, freedom: int) -> Line:
    assert line.slope is not None and line.intercept is not None
    half = float(-stats.t.ppf(TAIL, freedom))
    return line._replace(
        slope_ci=(line.slope - half * slope_error, line.slope + half * slope_error),
        intercept_ci=(line.intercept - half * intercept_error, line.intercept + half * intercept_error),
        p=float(2 * stats.t.sf(abs(line.slope) / slope_error, freedom)) if slope_error else 0.0,
    )
