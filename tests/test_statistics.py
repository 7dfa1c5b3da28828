"""Lines, intervals and tests against statsmodels, scipy and simulated sets whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from prefdisco.analysis.comparison import holm, swap_test
from prefdisco.analysis.regression import regress
from prefdisco.bootstrap import Bootstrap, limits
from prefdisco.measures import measure
from tests.simulated import FIGURES, coverage, names, shared


def clustered(problems: int, seed: int) -> tuple[list[float], list[float], list[str]]:
    """(x, y, problem of each point), three points a problem."""
    generator = np.random.default_rng(seed)
    of = np.repeat(np.arange(problems), 3)
    x = generator.integers(0, 6, len(of)).astype(float)
    y = 2 + 0.3 * x + generator.normal(size=len(of)) + generator.normal(size=problems)[of]
    return x.tolist(), y.tolist(), [f"p{number}" for number in of]


@pytest.mark.parametrize("seed", range(3))
def test_a_line_through_independent_points_is_that_of_statsmodels_and_scipy(seed: int) -> None:
    x, y, _ = clustered(7, seed)
    found = regress(x, y)
    fit, other = sm.OLS(y, sm.add_constant(x)).fit(), stats.linregress(x, y)
    assert (found.intercept, found.slope) == pytest.approx(tuple(fit.params))
    assert found.intercept_ci == pytest.approx(tuple(fit.conf_int()[0]))
    assert found.slope_ci == pytest.approx(tuple(fit.conf_int()[1]))
    assert found.p == pytest.approx(fit.pvalues[1]) == pytest.approx(other.pvalue)
    assert found.r == pytest.approx(other.rvalue)


@pytest.mark.parametrize("problems", [3, 12, 40])
def test_a_clustered_line_has_the_jackknife_of_statsmodels_fits_without_each_problem(problems: int) -> None:
    x, y, of = clustered(problems, problems)
    found = regress(x, y, of)
    design, clusters = sm.add_constant(np.asarray(x)), np.asarray(of)
    whole = sm.OLS(y, design).fit().params
    left = [sm.OLS(np.asarray(y)[clusters != name], design[clusters != name]).fit().params for name in set(of)]
    errors = np.sqrt((problems - 1) / problems * ((np.asarray(left) - whole) ** 2).sum(0))
    half = stats.t.ppf(0.975, problems - 1) * errors
    assert found.intercept_ci == pytest.approx((whole[0] - half[0], whole[0] + half[0]))
    assert found.slope_ci == pytest.approx((whole[1] - half[1], whole[1] + half[1]))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(whole[1]) / errors[1], problems - 1))
    if problems > 30:  # with many problems the usual sandwich says nearly the same
        groups = {"groups": np.unique(clusters, return_inverse=True)[1]}
        usual = sm.OLS(y, design).fit(cov_type="cluster", cov_kwds=groups, use_t=True)
        assert errors == pytest.approx(usual.bse, rel=0.06)


def test_copies_of_people_add_no_information_to_a_line() -> None:
    x, y, of = clustered(15, 0)
    assert regress(x * 20, y * 20, of * 20).slope_ci == pytest.approx(regress(x, y, of).slope_ci)


def test_there_is_no_line_where_there_cannot_be_one() -> None:
    assert regress([1, 2], [1, 2]).reason == "fewer than 3 points"
    assert regress([1, 2, 3, 4], [1, 2, 3, 4], ["a", "a", "b", "b"]).reason == "fewer than 3 problems"
    same = regress([2, 2, 2], [1, 2, 3], ["a", "b", "c"])
    assert same.slope is None and same.p is None and same.reason == "x is the same everywhere"
    alone = regress([0, 1, 1, 1], [1, 2, 3, 4], ["a", "b", "c", "d"])  # without a, nothing is left to draw a line by
    assert alone.slope == pytest.approx(2) and alone.slope_ci is None and "one problem" in alone.reason
    flat = regress([0, 1, 2], [3, 3, 3])
    assert flat.slope == 0 and flat.r is None


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("problems", [20, 60])
def test_the_95_percent_interval_holds_the_truth_in_93_to_97_percent_of_1000_sets(figure: str, problems: int) -> None:
    assert 0.93 <= coverage(FIGURES[figure], problems) <= 0.97


def test_expanded_percentiles_give_a_mean_student_s_interval() -> None:
    """With few problems plain percentiles are too narrow by sqrt(n / (n - 1)) t / z; these are not."""
    values = np.random.default_rng(0).normal(3, 1, 10)
    boot = Bootstrap([f"p{number}" for number in range(10)], resamples=20_000)
    low, high = boot.mean(list(boot.index), values.tolist(), "")["ci"]
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / 10**0.5
    assert high - low == pytest.approx(2 * half, rel=0.03)
    plain = np.percentile(boot.draws @ values / 10, [2.5, 97.5])
    assert plain[1] - plain[0] < 0.85 * 2 * half
    assert limits(np.asarray([1.0, 2.0]), 1, 1.5) == pytest.approx([1.025, 1.975])  # one problem: nothing to expand by


def test_the_p_value_of_swapping_is_that_of_all_swaps() -> None:
    """Eight problems have 256 swaps: every one is counted here, in another way."""
    generator = np.random.default_rng(1)
    of = names(8)
    sides = [[shared(generator, 8) + 3 + gain, [1.0] * 16] for gain in (0, 1.5)]
    means = [np.asarray(side[0]).reshape(8, 2).sum(1) / 16 for side in sides]
    observed = (means[1] - means[0]).sum()
    gaps = [float(np.dot(signs, means[1] - means[0])) for signs in itertools.product((1, -1), repeat=8)]
    expected = np.mean([abs(value) >= abs(observed) - 1e-9 for value in gaps])
    columns = [[np.asarray(column).tolist() for column in side] for side in sides]
    assert 2 / 256 < expected < 0.3
    assert swap_test(of, columns, measure("alignment")) == pytest.approx(expected)


def test_p_values_of_runs_that_do_not_differ_are_uniform() -> None:
    generator = np.random.default_rng(2)
    of, values = names(25), []
    for _ in range(300):
        base, best = 2.7 + shared(generator, 25), 4.7 + shared(generator, 25)
        sides = [[column.tolist() for column in (base, best, base + 1 + shared(generator, 25))] for _ in range(2)]
        values.append(swap_test(of, sides, measure("normalized_alignment"), swaps=199))
    assert 0.03 <= np.mean(np.asarray(values) <= 0.05) <= 0.08
    assert 0.42 <= np.mean(np.asarray(values) <= 0.5) <= 0.58


def test_holm_is_that_of_statsmodels() -> None:
    values = [0.04, 0.001, 0.03, 0.2, 0.001, 0.9]
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())
    assert holm([]) == [] and holm([0.3]) == [0.3]
