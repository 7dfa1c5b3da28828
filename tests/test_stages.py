"""An evaluation from elsewhere is the run's own, however the path of the model is spelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdisco.training.stages import spelled


def test_two_paths_to_one_model_are_one_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("here", "there"):
        Path(name).mkdir()
    Path("config.yaml").write_text("agent: here\n", encoding="utf-8")
    assert spelled(str(tmp_path / "here"), tmp_path) == spelled("./here", tmp_path) == "here"
    assert spelled("there", tmp_path) == "there"
    assert spelled("gone", tmp_path) == "gone"
    assert spelled("./here", tmp_path / "here") == "./here"  # no evaluation there yet


def test_a_hub_id_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("agent: org/model\n", encoding="utf-8")
    assert spelled("org/model", tmp_path) == spelled("org/model", tmp_path / "none") == "org/model"
