"""Simulated evaluations whose truth is known, and how often the 95% intervals of the package hold it.

    python -m tests.simulated          # the table of docs/statistics.md

Two people a problem, as in Pocket's test split. Half of what a problem does to an answer it does to all its people, and
noise grows with the number of questions, so neither independence nor equal variances hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import statsmodels.api as sm

from prefdisco.analysis.comparison import paired
from prefdisco.analysis.regression import regress
from prefdisco.bootstrap import Array, Bootstrap
from prefdisco.measures import measure

SETS, PEOPLE = 1000, 2
SLOPE, SHARE, RATE, GAP = 0.3, 50.0, 0.25, 10.0
Hit = Callable[[np.random.Generator, Bootstrap, list[str]], bool]


def names(problems: int) -> list[str]:
    """The problem of each unit."""
    return [f"p{number:04d}" for number in range(problems) for _ in range(PEOPLE)]


def shared(generator: np.random.Generator, problems: int) -> Array:
    """Standard normal noise of each unit, correlated 0.5 within a problem."""
    common = np.repeat(generator.normal(size=problems), PEOPLE)
    mixed: Array = (common + generator.normal(size=problems * PEOPLE)) / 2**0.5
    return mixed


def asked_and_aligned(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Questions and alignment of each unit; in half of the problems both people are asked as many."""
    own = np.minimum(generator.poisson(1.5, (count, PEOPLE)), 5)
    asked = np.where(generator.random((count, 1)) < 0.5, own[:, :1], own).ravel().astype(float)
    return asked, 2.5 + SLOPE * asked + (0.5 + 0.1 * asked) * shared(generator, count)


def line(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """The slope of alignment on questions."""
    asked, alignment = asked_and_aligned(generator, len(boot.index))
    interval = regress(asked.tolist(), alignment.tolist(), of).slope_ci
    return interval is not None and interval[0] <= SLOPE <= interval[1]


def sandwich(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """The same by the usual cluster-robust interval, which the package does not use."""
    asked, alignment = asked_and_aligned(generator, len(boot.index))
    if np.ptp(asked) == 0:
        return False
    clusters = {"groups": np.unique(of, return_inverse=True)[1]}
    fit = sm.OLS(alignment, sm.add_constant(asked)).fit(cov_type="cluster", cov_kwds=clusters, use_t=True)
    low, high = fit.conf_int()[1]
    return bool(low <= SLOPE <= high)


def triple(generator: np.random.Generator, problems: int, gain: float) -> tuple[Array, Array, Array]:
    """(baseline, oracle, discovery) alignment of each unit; discovery gains `gain` percent of oracle's gain."""
    base = 2.7 + 0.5 * shared(generator, problems)
    best = base + 2 + 0.4 * shared(generator, problems)
    own = base + 2 * gain / 100 + 0.8 * shared(generator, problems)
    return base, best, own


def normalized(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """Normalized alignment: a ratio of differences, paired over three conditions."""
    columns = [column.tolist() for column in triple(generator, len(boot.index), SHARE)]
    low, high = boot.ratio(of, columns, measure("normalized_alignment").parts, "")["ci"]
    return bool(low <= SHARE <= high)


def plain(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """The same by the plain percentiles of the bootstrap, which the package does not use."""
    above, below = measure("normalized_alignment").parts(boot.sums(of, *triple(generator, len(boot.index), SHARE)))
    low, high = np.percentile((above / below)[1:], [2.5, 97.5])
    return bool(low <= SHARE <= high)


def rate(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """A share, such as the negative rate; in half of the problems both people are alike."""
    count = len(boot.index)
    own = generator.random((count, PEOPLE)) < RATE
    seen = np.where(generator.random((count, 1)) < 0.5, own[:, :1], own).ravel().astype(float)
    low, high = boot.mean(of, seen.tolist(), "")["ci"]
    return bool(low <= RATE <= high)


def gap(generator: np.random.Generator, boot: Bootstrap, of: list[str]) -> bool:
    """The difference of normalized alignment of two runs with the same baselines: paired over runs and conditions."""
    count = len(boot.index)
    base, best, own = triple(generator, count, SHARE)
    other = own + 2 * GAP / 100 + 0.5 * shared(generator, count)
    sides = [[column.tolist() for column in (base, best, last)] for last in (own, other)]
    low, high = paired(boot, of, sides, measure("normalized_alignment"))[1]["ci"]
    return bool(low <= GAP <= high)


FIGURES: dict[str, Hit] = {
    "slope of alignment on questions": line,
    "normalized alignment": normalized,
    "difference of normalized alignment": gap,
    "a rate of 25%": rate,
}
UNUSED: dict[str, Hit] = {
    "for comparison: the slope by the usual sandwich": sandwich,
    "for comparison: normalized alignment by plain percentiles": plain,
}


def coverage(hit: Hit, problems: int, sets: int = SETS, seed: int = 0) -> float:
    """The share of simulated sets whose interval holds the truth."""
    of = names(problems)
    boot, generator = Bootstrap(of), np.random.default_rng([seed, problems])
    return sum(hit(generator, boot, of) for _ in range(sets)) / sets


def main() -> None:
    """Print coverage in percent by number of problems."""
    sizes: tuple[Any, ...] = (5, 8, 12, 20, 30, 60, 120, 250)
    print("| figure |", " | ".join(map(str, sizes)), "|")
    print("| --- |", " | ".join("---:" for _ in sizes), "|")
    for name, hit in {**FIGURES, **UNUSED}.items():
        print(f"| {name} |", " | ".join(f"{100 * coverage(hit, size, 2000):.1f}" for size in sizes), "|", flush=True)


if __name__ == "__main__":
    main()
