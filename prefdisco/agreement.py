"""How far two judges, or two modes of one, agree on the same responses.

    second = await regrade(episodes, scenarios, judge)
    print(table(agree(episodes, second)))

Intervals are 95% bootstrap intervals over whole problems, as in summary.json, or over whatever else is drawn whole;
every figure is computed anew in each resample, ranks included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from prefdisco.bootstrap import RESAMPLES, SMALLEST, Array, Bootstrap, Estimate, limits
from prefdisco.grading import UNGRADED, graded
from prefdisco.judges import Judge
from prefdisco.schema import DataError, Episode, Record, Scenario

Pairs = Sequence[tuple[float, float]]
CONSTANT = "one of the two always says the same"
BOTH_CONSTANT = "both always say the same"
NO_PAIRS = "no pairs"
ABSENT = "–"
# row of the table, scale, decimals
ROWS = {
    "exact": ("exact agreement %", 100.0, 1),
    "within_one": ("within one %", 100.0, 1),
    "kappa": ("kappa", 1.0, 2),
    "pearson": ("Pearson r", 1.0, 2),
    "spearman": ("Spearman rho", 1.0, 2),
    "difference": ("mean difference (b - a)", 1.0, 2),
}


class Agreement(Record):
    """Two gradings compared. Each of the three holds estimates by name: `{"mean": x, "ci": [low, high]}`.

    `scores` pairs the scores of every criterion (1..5): exact, within_one, kappa (quadratic weights), pearson,
    spearman, difference. `alignment` pairs PrefAlign (1..5): pearson, spearman, difference. `correct` pairs whether the
    answer is right (0, 1): exact, kappa (Cohen's), difference. Differences are b - a. `left_out` counts the episodes
    that only one side has, or that failed on either.
    """

    problems: int
    episodes: int
    criteria: int
    left_out: int
    scores: dict[str, Estimate]
    alignment: dict[str, Estimate]
    correct: dict[str, Estimate]


def agree(
    episodes_a: Iterable[Episode],
    episodes_b: Iterable[Episode],
    resamples: int = RESAMPLES,
    by: Callable[[Episode], str] = lambda episode: episode.problem_id,
) -> Agreement:
    """Compare two gradings of the same episodes: those of equal (scenario, condition, seed).

    `by` names what a resample draws whole, by default the problem. Raises DataError where no episode is graded on both
    sides, or where a pair has two responses or two profiles.
    """
    first, second = ({episode.key: episode for episode in side} for side in (episodes_a, episodes_b))
    pairs = [(first[key], second[key]) for key in first if key in second]
    pairs = [(a, b) for a, b in pairs if a.error is None and b.error is None]
    for a, b in pairs:
        _check(a, b)
    if not pairs:
        raise DataError("agree: no episode is graded on both sides; give two gradings of the same episodes")
    groups = [by(a) for a, _ in pairs]
    boot = Bootstrap(groups, resamples)
    score_groups, scores = _scores(pairs, by)
    alignment = [(float(a.alignment or 0), float(b.alignment or 0)) for a, b in pairs]
    correct = [(float(bool(a.correct)), float(bool(b.correct))) for a, b in pairs]
    return Agreement(
        problems=len({a.problem_id for a, _ in pairs}),
        episodes=len(pairs),
        criteria=len(scores),
        left_out=len(first.keys() | second.keys()) - len(pairs),
        scores=_figures(boot, score_groups, scores, tuple(ROWS)),
        alignment=_figures(boot, groups, alignment, ("pearson", "spearman", "difference")),
        correct=_figures(boot, groups, correct, ("exact", "kappa", "difference")),
    )


async def regrade(episodes: Iterable[Episode], scenarios: Iterable[Scenario], judge: Judge) -> list[Episode]:
    """The episodes with the verdicts of `judge`, in their order, without playing them again; errors stay errors.

    All are graded at once: the judge's model sets the pace. Raises DataError for an episode without its scenario.
    """
    known = {scenario.id: scenario for scenario in scenarios}
    played = list(episodes)
    missing = next((episode.scenario_id for episode in played if episode.scenario_id not in known), None)
    if missing is not None:
        raise DataError(f"regrade: no scenario {missing!r}; give the scenarios that the episodes were played on")
    # Nothing of the earlier verdict may be left where the new judge fails.
    bare = [episode if episode.error is not None else episode.model_copy(update=UNGRADED) for episode in played]
    return list(await asyncio.gather(*(graded(episode, known[episode.scenario_id], judge) for episode in bare)))


def table(agreement: Agreement) -> str:
    """Plain text for a terminal: a row a figure, a column for scores, alignment and correctness."""
    groups = (agreement.scores, agreement.alignment, agreement.correct)
    counts = (agreement.criteria, agreement.episodes, agreement.episodes)
    rows = [["agreement", "scores", "alignment", "correct"], ["pairs", *map(str, counts)]]
    for name, (title, scale, decimals) in ROWS.items():
        rows.append([title, *(_cell(group.get(name), scale, decimals) for group in groups)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines.insert(1, "─" * max(map(len, lines)))
    counted = f"{agreement.episodes} episodes, {agreement.problems} problems"
    if agreement.left_out:
        counted += f"; left out: {agreement.left_out} (failed, or on one side only)"
    return "\n".join([*lines, "", counted])


def _cell(estimate: Mapping[str, Any] | None, scale: float, decimals: int) -> str:
    """`mean ± half-width of the interval`, or a dash."""
    if estimate is None or estimate["mean"] is None:
        return ABSENT
    low, high = estimate["ci"]
    return f"{scale * estimate['mean']:.{decimals}f} ± {scale * (high - low) / 2:.{decimals}f}"


def _check(a: Episode, b: Episode) -> None:
    """Two gradings can be compared only where they graded the same thing."""
    if a.response != b.response:
        raise DataError(f"agree: episode {a.key}: the two sides have different responses; grade one of them again")
    if {grade.attribute for grade in a.grades} != {grade.attribute for grade in b.grades}:
        raise DataError(f"agree: episode {a.key}: the two sides grade different criteria; use the same scenarios")
    if None in (a.alignment, b.alignment, a.correct, b.correct):
        raise DataError(f"agree: episode {a.key}: has neither a grade nor an error; grade it first")


def _scores(pairs: Sequence[tuple[Episode, Episode]], by: Callable[[Episode], str]) -> tuple[list[str], Pairs]:
    """(`by` of the episode, pair of scores) of every criterion of every episode, as two lists."""
    groups: list[str] = []
    scores: list[tuple[float, float]] = []
    for a, b in pairs:
        other = {grade.attribute: grade.score for grade in b.grades}
        for grade in a.grades:
            groups.append(by(a))
            scores.append((grade.score, other[grade.attribute]))
    return groups, scores


def _figures(boot: Bootstrap, problems: Sequence[str], pairs: Pairs, names: Sequence[str]) -> dict[str, Estimate]:
    """The named figures of paired numbers, the i-th of which belongs to `problems[i]`."""
    a, b = np.asarray([pair[0] for pair in pairs]), np.asarray([pair[1] for pair in pairs])

    def mean(values: Array) -> Estimate:
        return boot.mean(problems, list(values), NO_PAIRS)

    def moments(parts: Callable[[Array], tuple[Array, Array]], reason: str) -> Estimate:
        # Centred, so that the variance of numbers that are all alike comes out as zero and not as rounding.
        x, y = a - a.mean(), b - b.mean()
        return boot.ratio(problems, [list(c) for c in (np.ones_like(x), x, y, x * x, y * y, x * y)], parts, reason)

    makers: dict[str, Callable[[], Estimate]] = {
        "exact": lambda: mean((a == b).astype(float)),
        "within_one": lambda: mean((np.abs(a - b) <= 1).astype(float)),
        "difference": lambda: mean(b - a),
        "kappa": lambda: moments(lambda t: _kappa(t, float(b.mean() - a.mean())), BOTH_CONSTANT),
        "pearson": lambda: moments(_pearson, CONSTANT),
        "spearman": lambda: _spearman(boot, problems, a, b),
    }
    if not len(pairs):
        return {name: {"mean": None, "ci": None, "reason": NO_PAIRS} for name in names}
    return {name: makers[name]() for name in names}


def _spread(total: Array) -> tuple[Array, Array, Array]:
    """n times the variances of both columns and their covariance, from sums of (1, x, y, x², y², xy)."""
    n, x, y, xx, yy, xy = total.T
    n = np.maximum(n, 1)  # a resample may have drawn only problems without pairs
    floor = SMALLEST * n
    var_x, var_y = xx - x * x / n, yy - y * y / n
    return np.where(var_x < floor, 0.0, var_x), np.where(var_y < floor, 0.0, var_y), xy - x * y / n


def _pearson(total: Array) -> tuple[Array, Array]:
    var_x, var_y, covariance = _spread(total)
    return covariance, np.sqrt(var_x * var_y)


def _kappa(total: Array, shift: float) -> tuple[Array, Array]:
    """Cohen's kappa with quadratic weights, 1 - observed / expected squared difference (for 0 and 1: the plain kappa).

    With the expectation over independent judges it is 2 cov / (var_a + var_b + squared difference of the means); the
    columns are centred, so `shift`, the difference of the means in the whole data, is added back.
    """
    var_x, var_y, covariance = _spread(total)
    n = np.maximum(total[:, 0], 1)
    apart = (total[:, 2] - total[:, 1]) / n + shift
    return 2 * covariance, var_x + var_y + n * apart * apart


def _spearman(boot: Bootstrap, problems: Sequence[str], a: Array, b: Array) -> Estimate:
    """Pearson of the mid-ranks; a pair that was drawn k times counts as k ties."""
    of_problem = np.asarray([boot.index[problem] for problem in problems])
    # Place of each value among the distinct ones; rounded, so that sums made in another order still tie.
    places = [np.unique(np.round(values, 9), return_inverse=True)[1] for values in (a, b)]
    values = []
    for draw in (np.ones(len(boot.index)), *boot.draws):
        weights = draw[of_problem]
        x, y = (_centred_ranks(place, weights) for place in places)
        below = float(np.sqrt((weights @ (x * x)) * (weights @ (y * y))))
        values.append(float(weights @ (x * y)) / below if below > SMALLEST * len(a) else None)
    if values[0] is None:
        return {"mean": None, "ci": None, "reason": CONSTANT}
    known = np.asarray([value for value in values[1:] if value is not None])
    return {"mean": values[0], "ci": limits(known, len(set(problems)), values[0])}


def _centred_ranks(place: np.ndarray[Any, Any], weights: Array) -> Array:
    """The rank of each value around the mean rank; each counts `weights` times, ties share the mean of their ranks."""
    mass = np.bincount(place, weights)
    ranks: Array = (np.cumsum(mass) - mass / 2)[place]
    return ranks - weights.sum() / 2  # the mean of the mid-ranks, less the one half that both lack
