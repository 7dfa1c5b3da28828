"""Agreement of two judges against scipy and cases worked out by hand."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from prefdisco.agreement import Agreement, agree, regrade, table
from prefdisco.judges import Verdict
from prefdisco.schema import DataError, Episode, Grade, Scenario, Usage
from tests.hand_made import WordJudge, scenario
from tests.hand_made import episode as bare

WEIGHTS = {"tone": 0.6, "format": 0.4}


def rated(problem: str, tone: int, format: int, correct: bool = True, **more: Any) -> Episode:
    """An episode with these two scores."""
    grades = (Grade(attribute="tone", score=tone), Grade(attribute="format", score=format))
    made = bare(problem, more.pop("condition", "discovery"), 0.6 * tone + 0.4 * format, correct=correct, **more)
    return made.model_copy(update={"grades": grades if made.error is None else ()})


def drawn(count: int, seed: int = 0, noise: float = 0.3) -> tuple[list[Episode], list[Episode]]:
    """Two judges that mostly agree, the second a little kinder: `count` episodes, four of a problem."""
    draw = random.Random(seed)

    def second(score: int) -> int:
        chance = draw.random()
        return min(5, score + 1) if chance < noise else draw.randint(1, 5) if chance < noise + 0.1 else score

    a, b = [], []
    for number in range(count):
        scores, right = [draw.randint(1, 5) for _ in WEIGHTS], draw.random() < 0.7
        problem, persona = f"p{number // 4}", f"a{number % 4}"
        a.append(rated(problem, *scores, correct=right, persona=persona))
        b.append(rated(problem, *map(second, scores), correct=right != (draw.random() < 0.1), persona=persona))
    return a, b


def columns(a: list[Episode], b: list[Episode]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return tuple(np.array([g.score for e in side for g in e.grades], float) for side in (a, b))  # type: ignore[return-value]


def quadratic_kappa(x: Any, y: Any, levels: int = 5) -> float:
    """From the confusion matrix, as in Cohen 1968."""
    seen = np.zeros((levels, levels))
    for i, j in zip(x, y, strict=True):
        seen[int(i) - 1, int(j) - 1] += 1
    expected = np.outer(seen.sum(1), seen.sum(0)) / seen.sum()
    weight = (np.arange(levels)[:, None] - np.arange(levels)[None]) ** 2
    return float(1 - (weight * seen).sum() / (weight * expected).sum())


def test_every_figure_is_the_textbook_one() -> None:
    a, b = drawn(80)
    found = agree(a, b, resamples=50)
    x, y = columns(a, b)
    assert (found.episodes, found.criteria, found.problems, found.left_out) == (80, 160, 20, 0)
    means = {name: estimate["mean"] for name, estimate in found.scores.items()}
    assert means == pytest.approx(
        {
            "exact": (x == y).mean(),
            "within_one": (abs(x - y) <= 1).mean(),
            "kappa": quadratic_kappa(x, y),
            "pearson": stats.pearsonr(x, y).statistic,
            "spearman": stats.spearmanr(x, y).statistic,
            "difference": (y - x).mean(),
        }
    )
    left, right = (np.round([float(e.alignment or 0) for e in side], 9) for side in (a, b))
    assert found.alignment["pearson"]["mean"] == pytest.approx(stats.pearsonr(left, right).statistic)
    assert found.alignment["spearman"]["mean"] == pytest.approx(stats.spearmanr(left, right).statistic)
    truth = [np.array([float(bool(e.correct)) for e in side]) + 1 for side in (a, b)]
    assert found.correct["kappa"]["mean"] == pytest.approx(quadratic_kappa(*truth, levels=2))
    assert found.correct["exact"]["mean"] == pytest.approx((truth[0] == truth[1]).mean())


def test_intervals_are_those_of_whole_problems_drawn_again() -> None:
    a, b = drawn(80)
    found = agree(a, b, resamples=200)
    by_problem = {name: [i for i, e in enumerate(a) if e.problem_id == name] for name in {e.problem_id for e in a}}
    names, generator = sorted(by_problem), np.random.default_rng(0)
    rhos, kappas = [], []
    for draw in generator.integers(0, len(names), size=(200, len(names))):
        picked = [i for place in draw for i in by_problem[names[place]]]
        x, y = columns([a[i] for i in picked], [b[i] for i in picked])
        rhos.append(stats.spearmanr(x, y).statistic)
        kappas.append(quadratic_kappa(x, y))
    size = len(names)  # the percentiles are moved out to what Student's interval has for so many problems
    tail = 100 * stats.norm.cdf(-((size / (size - 1)) ** 0.5) * stats.t.ppf(0.975, size - 1))
    assert found.scores["spearman"]["ci"] == pytest.approx(np.percentile(rhos, [tail, 100 - tail]))
    assert found.scores["kappa"]["ci"] == pytest.approx(np.percentile(kappas, [tail, 100 - tail]))


def test_a_judge_agrees_with_itself() -> None:
    a, _ = drawn(20)
    found = agree(a, a, resamples=20)
    for name in ("exact", "within_one", "kappa", "pearson", "spearman"):
        assert found.scores[name]["mean"] == pytest.approx(1) and found.scores[name]["ci"] == pytest.approx([1, 1])
    assert found.scores["difference"] == {"mean": 0, "ci": [0, 0]} and found.correct["kappa"]["mean"] == 1


def test_opposite_judges_and_a_constant_one() -> None:
    a = [rated("p1", 1, 5), rated("p2", 5, 1)]
    b = [rated("p1", 5, 1), rated("p2", 1, 5)]
    assert agree(a, b).scores["kappa"]["mean"] == pytest.approx(-1)
    flat = [rated("p1", 3, 3), rated("p2", 3, 3)]
    found = agree(a, flat)
    assert found.scores["kappa"]["mean"] == pytest.approx(0)
    assert found.scores["pearson"]["mean"] is None and "always says the same" in found.scores["pearson"]["reason"]
    assert found.scores["spearman"]["mean"] is None
    assert agree(flat, flat).scores["kappa"]["mean"] is None


def test_errors_and_lone_episodes_are_left_out_and_counted() -> None:
    a = [rated("p1", 1, 2), rated("p2", 3, 4), rated("p3", 5, 5), rated("p4", 1, 1, error="model gone")]
    b = [rated("p1", 1, 2), rated("p2", 3, 4, error="judge: gone"), rated("p4", 1, 1), rated("p5", 2, 2)]
    found = agree(a, b)
    assert (found.episodes, found.criteria, found.left_out) == (1, 2, 4)


def test_gradings_of_something_else_are_refused() -> None:
    a = [rated("p1", 1, 2)]
    with pytest.raises(DataError, match="no episode is graded on both sides"):
        agree(a, [rated("p2", 1, 2)])
    with pytest.raises(DataError, match="different responses"):
        agree(a, [a[0].model_copy(update={"response": "other"})])
    with pytest.raises(DataError, match="different criteria"):
        agree(a, [a[0].model_copy(update={"grades": a[0].grades[:1]})])
    with pytest.raises(DataError, match="grade it first"):
        agree(a, [a[0].model_copy(update={"alignment": None})])
    with pytest.raises(DataError, match="no episode"):
        agree([], [])


def test_the_table_shows_every_figure_and_what_was_left_out() -> None:
    a, b = drawn(40)
    text = table(agree(a, [*b, rated("p99", 1, 1)], resamples=50))
    lines = text.splitlines()
    assert lines[0].split() == ["agreement", "scores", "alignment", "correct"]
    assert len({len(line) for line in lines[:9]}) == 1
    assert [line.split("  ")[0] for line in lines[2:9]] == [
        "pairs", "exact agreement %", "within one %", "kappa", "Pearson r", "Spearman rho", "mean difference (b - a)"
    ]  # fmt: skip
    assert lines[3].count("±") == 2 and lines[3].count("–") == 1
    assert lines[-1] == "40 episodes, 10 problems; left out: 1 (failed, or on one side only)"


def test_an_agreement_can_be_written_and_read() -> None:
    found = agree(*drawn(12), resamples=20)
    assert Agreement.model_validate_json(found.model_dump_json()) == found


def played(problem: str, response: str) -> Episode:
    return bare(problem, "discovery", 2.0, weights={"tone": 0.5, "format": 0.5}).model_copy(
        update={"response": response, "judge_usage": Usage(calls=9)}
    )


def test_regrading_replaces_the_verdict_and_nothing_else() -> None:
    before = [played("p1", "42, formal, bullets"), played("p2", "41")]
    after = asyncio.run(regrade(before, [scenario("p1"), scenario("p2")], WordJudge()))
    assert [(e.correct, e.alignment) for e in after] == [(True, 5), (False, 3)]
    assert [e.judge_usage.calls for e in after] == [0, 0]
    kept = {"correct": None, "alignment": None, "grades": (), "judge_usage": Usage()}
    assert [e.model_copy(update=kept) for e in after] == [e.model_copy(update=kept) for e in before]


class Broken:
    name = "broken"

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        raise RuntimeError("gone")


def test_regrading_leaves_errors_and_makes_new_ones_without_a_score() -> None:
    failed = bare("p1", "discovery", 0, error="model gone")
    after = asyncio.run(regrade([failed, played("p2", "42")], [scenario("p1"), scenario("p2")], Broken()))
    assert after[0] == failed
    assert after[1].error == "judge: RuntimeError: gone"
    assert after[1].alignment is None and after[1].correct is None and after[1].grades == ()


def test_regrading_without_the_scenario_is_refused() -> None:
    with pytest.raises(DataError, match="no scenario 'p2/ann'"):
        asyncio.run(regrade([played("p2", "x")], [scenario("p1")], WordJudge()))
