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


def test_a_folder_without_a_summary_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"summary\.json: no readable summary"):
        compare([tmp_path])
