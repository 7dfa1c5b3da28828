"""Every figure of a summary against cases worked out by hand."""

from typing import Any

import numpy as np
import pytest

from prefdisco.metrics import normalized_by_scenario, preference_alignment, summarize
from prefdisco.report.markdown import write_report
from prefdisco.report.tables import markdown_table, table
from prefdisco.schema import Episode, Grade
from tests.hand_made import episode

Row = tuple[str, float, float, float]  # problem, baseline, discovery, oracle


def three(rows: list[Row], persona: str = "ann", seed: int = 0) -> list[Episode]:
    """The episodes of these rows."""
    return [
        episode(problem, condition, alignment, persona, seed)
        for problem, *alignments in rows
        for condition, alignment in zip(("baseline", "discovery", "oracle"), alignments, strict=True)
    ]


def mean(estimate: dict[str, Any]) -> float:
    return estimate["mean"]


def test_alignment_is_the_weighted_grade() -> None:
    grades = [Grade(attribute="tone", score=5), Grade(attribute="format", score=1)]
    assert preference_alignment(grades, {"tone": 0.6, "format": 0.4}) == pytest.approx(3.4)
    assert preference_alignment(grades, {"tone": 0.594, "format": 0.396}) == pytest.approx(3.4)  # rounded weights
    with pytest.raises(ValueError, match="do not match"):
        preference_alignment(grades[:1], {"tone": 0.6, "format": 0.4})


def test_normalized_alignment_is_a_ratio_of_means_not_a_mean_of_ratios() -> None:
    rows = [("a", 2.0, 3.0, 4.0), ("b", 3.0, 3.5, 3.5)]  # ratios 50 and 100; of means (6.5 - 5) / (7.5 - 5) = 60
    summary = summarize(three(rows))
    assert mean(summary["discovery"]["normalized_alignment"]) == pytest.approx(60)
    assert normalized_by_scenario(three(rows)) == {"a/ann": pytest.approx(50), "b/ann": pytest.approx(100)}


def test_oracle_equal_to_baseline_gives_null_and_a_reason() -> None:
    rows = [("a", 3.0, 4.0, 3.0 + 1e-12), ("b", 3.0, 2.0, 3.0)]
    assert summarize(three(rows))["discovery"]["normalized_alignment"] == {
        "mean": None,
        "ci": None,
        "reason": "oracle equals baseline",
    }
    assert normalized_by_scenario(three(rows)) == {"a/ann": None, "b/ann": None}


def test_negative_rate_is_strict() -> None:
    rows = [("a", 3.0, 2.9, 5.0), ("b", 3.0, 3.0, 5.0), ("c", 0.1 + 0.2, 0.3, 5.0), ("d", 3.0, 4.0, 5.0)]
    assert mean(summarize(three(rows))["discovery"]["negative_rate"]) == 0.25


def test_accuracy_change_is_paired() -> None:
    episodes = [
        episode("a", "baseline", 3, correct=True),
        episode("a", "discovery", 3, correct=False),
        episode("b", "baseline", 3, correct=True),
        episode("b", "discovery", 3, correct=True),
        episode("c", "discovery", 3, correct=False),  # its baseline is missing: no pair
    ]
    summary = summarize(episodes)
    assert mean(summary["discovery"]["accuracy_change"]) == -0.5
    assert mean(summary["conditions"]["discovery"]["accuracy"]) == pytest.approx(1 / 3)


def test_errors_are_counted_and_never_scored() -> None:
    good = three([("a", 2.0, 3.0, 4.0), ("b", 2.0, 3.0, 4.0)])
    bad = [episode("c", "discovery", 0, error="Timeout"), episode("b", "oracle", 0, seed=1, error="Timeout")]
    with_errors, without = summarize([*good, *bad]), summarize(good)
    assert with_errors["errors"] == 2 and without["errors"] == 0
    assert with_errors["conditions"] == without["conditions"]
    assert with_errors["discovery"] == without["discovery"]
    assert with_errors["failed"][0] == {"scenario": "c/ann", "condition": "discovery", "seed": 0, "error": "Timeout"}


def test_ungraded_episode_is_refused() -> None:
    ungraded = episode("a", "baseline", 3).model_copy(update={"alignment": None})
    with pytest.raises(ValueError, match="neither a grade nor an error"):
        summarize([ungraded])


def test_precision_recall_and_adaptivity() -> None:
    episodes = [
        episode("a", "discovery", 3, revealed=["tone", None, "tone"], adaptive=(True, False)),  # 2 of 3, weight 0.6
        episode("b", "discovery", 3, revealed=["format"]),  # 1 of 1, weight 0.4
        episode("c", "discovery", 3),
    ]
    discovery = summarize(episodes)["discovery"]
    assert mean(discovery["precision"]) == 3 / 4
    assert mean(discovery["recall"]) == pytest.approx(1 / 3)
    assert mean(discovery["adaptivity"]) == 0.5
    assert mean(summarize(episodes)["conditions"]["discovery"]["questions"]) == pytest.approx(4 / 3)
    silent = summarize(episodes[2:])["discovery"]
    assert silent["precision"]["reason"] == "no questions were asked"
    assert silent["adaptivity"]["reason"] == "not measured"


def test_guesses_are_counted_where_the_judge_reads_them() -> None:
    read = [
        episode(name, "discovery", 3, revealed=["tone", None]).model_copy(update={"touched": touched})
        for name, touched in (("a", ("tone",)), ("b", ("format", "tone", "units")), ("c", None))
    ]
    assert mean(summarize(read)["discovery"]["guesses"]) == 1
    assert summarize(read[2:])["discovery"]["guesses"]["reason"] == "the judge does not read them"


def test_intervals_are_clustered_by_problem() -> None:
    """Copies of the same personas add no information: forty of them leave the interval as wide as one."""
    generator = np.random.default_rng(0)
    values = generator.uniform(1, 5, 30)
    one = summarize([episode(f"p{n}", "baseline", v) for n, v in enumerate(values)])
    many = summarize([episode(f"p{n}", "baseline", v, f"person{k}") for n, v in enumerate(values) for k in range(40)])
    assert many["conditions"]["baseline"]["alignment"]["ci"] == pytest.approx(
        one["conditions"]["baseline"]["alignment"]["ci"]
    )
    low, high = one["conditions"]["baseline"]["alignment"]["ci"]
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 30**0.5, rel=0.12)


def test_intervals_are_paired_over_conditions() -> None:
    """Problems differ a lot, the gain over them not at all: paired, its interval is a point."""
    rows = [(f"p{n}", 1 + n / 10, 2 + n / 10, 3 + n / 10) for n in range(20)]
    summary = summarize(three(rows))
    assert summary["discovery"]["normalized_alignment"]["ci"] == pytest.approx([50, 50])
    low, high = summary["conditions"]["baseline"]["alignment"]["ci"]
    assert high - low > 0.3


def test_ceiling_is_placed_between_the_agents_own_baseline_and_oracle() -> None:
    rows = [("a", 2.0, 3.0, 4.0), ("b", 2.0, 3.5, 5.0)]
    ceiling = {"a/ann": {"alignment": 4.0, "questions": 2}, "b/ann": {"alignment": 4.5, "questions": 3}}
    found = summarize(three(rows), ceiling)["ceiling"]
    assert mean(found["normalized_alignment"]) == pytest.approx(100 * 4.5 / 5)
    assert mean(found["share_of_ceiling"]) == pytest.approx(100 * 2.5 / 4.5)
    assert mean(found["questions"]) == 2.5


def test_swap_drop_is_the_share_of_the_gain_that_other_peoples_answers_do_not_bring() -> None:
    rows = [("a", 2.0, 4.0, 5.0), ("b", 2.5, 3.5, 5.0)]  # gains 2 and 1
    swapped = [episode("a", "swapped", 2.5), episode("b", "swapped", 2.6)]  # of which 1.5 and 0.9 are lost
    summary = summarize([*three(rows), *swapped, episode("c", "swapped", 1.0)])  # c has no discovery: no pair
    assert mean(summary["discovery"]["swap_drop"]) == pytest.approx(100 * 2.4 / 3)
    assert mean(summary["conditions"]["swapped"]["normalized_alignment"]) == pytest.approx(100 * 0.6 / 5.5)
    assert "swap_drop" not in summarize(three(rows))["discovery"]


def test_swap_drop_is_paired_and_none_where_there_is_no_gain() -> None:
    """Problems differ a lot, the share that is lost not at all: paired, its interval is a point."""
    rows = [(f"p{n}", 1 + n / 10, 2 + n / 10, 3 + n / 10) for n in range(20)]
    swapped = [episode(problem, "swapped", base + 0.25) for problem, base, _, _ in rows]
    assert summarize([*three(rows), *swapped])["discovery"]["swap_drop"]["ci"] == pytest.approx([75, 75])
    idle = [(f"p{n}", 3.0, 3.02 + 0.5 * (-1) ** n, 5.0) for n in range(20)]
    swapped = [episode(problem, "swapped", 3.0) for problem, *_ in idle]
    drop = summarize([*three(idle), *swapped])["discovery"]["swap_drop"]
    assert drop["mean"] is None and "does not gain" in drop["reason"]


def test_controls_are_normalized_too() -> None:
    episodes = [*three([("a", 2.0, 3.0, 4.0)]), episode("a", "generic", 1.0)]
    control = summarize(episodes)["conditions"]["generic"]
    assert mean(control["normalized_alignment"]) == pytest.approx(-50) and mean(control["negative_rate"]) == 1


def test_a_full_evaluation_counts_its_scenarios_once_and_its_episodes_each() -> None:
    rows = [(f"p{n}", 2 + n % 3 / 4, 3.0 + n % 5 / 4, 4.5) for n in range(100)]
    episodes = [e for seed in range(3) for k in range(4) for e in three(rows, f"person{k}", seed)]
    summary = summarize(episodes)
    assert summary["scenarios"] == 400 and summary["conditions"]["oracle"]["n"] == 1200


def test_table_has_a_row_for_everything_and_fits_a_terminal() -> None:
    rows = [(f"p{n}", 2 + n % 3 / 4, 3.0 + n % 5 / 4, 4.5) for n in range(20)]
    ceiling = {f"p{n}/ann": {"alignment": 4.2, "questions": 4.0} for n in range(20)}
    before, after = summarize(three(rows), ceiling), summarize(three([(r[0], r[1], 4.0, 4.8) for r in rows]), ceiling)
    text = table(before, after)
    assert max(map(len, text.splitlines())) <= 120
    assert [line.split()[0] for line in text.splitlines()[2:6]] == ["baseline", "discovery", "oracle", "ceiling"]
    assert "→" in text and "ceiling's" in text
    assert "±" in table(before) and "→" not in table(before)
    assert markdown_table(before, after).count("\n") == 5


def test_report_holds_table_figures_and_errors(tmp_path: Any) -> None:
    rows = [(f"p{n}", 2 + n % 3 / 4, 3.0 + n % 5 / 4, 4.5) for n in range(8)]
    summary = summarize([*three(rows), episode("x", "oracle", 0, error="Timeout")])
    page = write_report(tmp_path, "A run", {"before": summary, "after": summary}).read_text()
    assert "| discovery |" in page and "| words a turn |" in page and "Timeout" in page
    for name in ("alignment", "accuracy_alignment", "questions"):
        assert f"figures/{name}.png" in page
        assert {path.suffix for path in (tmp_path / "figures").glob(f"{name}.*")} == {".png", ".svg"}
