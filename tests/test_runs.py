"""Several runs side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from prefdisco.files import RunError
from prefdisco.report.runs import compare


def run(folder: Path, gain: float) -> Path:
    folder.mkdir()
    stage = {"ceiling": {"share_of_ceiling": {"mean": gain, "ci": [gain, gain]}}}
    (folder / "summary.json").write_text(json.dumps({"before": stage, "after": stage}))
    return folder


def test_the_mean_has_the_t_interval_over_runs(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, gain) for name, gain in (("a", 80.0), ("b", 90.0), ("c", 85.0))]
    row = next(line for line in compare(runs).splitlines() if "share of the ceiling" in line)
    half = stats.t.ppf(0.975, 2) * 5.0 / math.sqrt(3)
    assert row == "| share of the ceiling's gain % |" + f" 80.00 | 90.00 | 85.00 | 85.00 ± {half:.2f} |" * 2


def test_one_run_has_no_interval_and_missing_figures_are_dashes(tmp_path: Path) -> None:
    table = compare([run(tmp_path / "a", 80.0)]).splitlines()
    assert table[0] == "| figure | before a | before mean | after a | after mean |"
    assert "| questions | – | – | – | – |" in table


def test_training_runs_show_health_and_what_they_changed_in_other_abilities(tmp_path: Path) -> None:
    def estimate(mean: float) -> dict[str, object]:
        return {"mean": mean, "ci": [mean, mean]}

    def stage(words: float) -> dict[str, object]:
        naming = {"names_preferences": {"recall": estimate(0.5), "precision": estimate(0.25)}}
        return {
            "thinking": {"parse_rate": estimate(0.9), "repetition": estimate(0.01), "words": estimate(words)},
            "conditions": {"discovery": {"thinking": naming}},
            "discovery": {"swap_drop": estimate(96.0)},
        }

    change = {"plain_accuracy": estimate(-0.02), "oracle_accuracy": estimate(0.01), "oracle_alignment": estimate(0.05)}
    summary = {"before": stage(9.0), "after": stage(12.0), "regression": change}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    rows = dict(line.strip("| ").split(" | ", 1) for line in compare([tmp_path]).splitlines())
    assert rows["gain that is this person's answers %"] == "96.00 | 96.00 | 96.00 | 96.00"
    assert rows["well formed turns %"].startswith("90.00") and rows["repeated 4-grams %"].startswith("1.00")
    assert rows["discovery names what was told %"].startswith("50.00")
    assert rows["told of what discovery names %"].startswith("25.00")
    assert rows["words of thinking a turn"] == "9.00 | 9.00 | 12.00 | 12.00"
    assert rows["plain accuracy, after - before, points"] == "– | – | -2.00 | -2.00"
    assert rows["oracle accuracy, after - before, points"] == "– | – | 1.00 | 1.00"
    assert rows["oracle alignment, after - before"] == "– | – | 0.05 | 0.05"


def test_a_folder_without_a_summary_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"summary\.json: no readable summary"):
        compare([tmp_path])
