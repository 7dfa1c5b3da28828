"""What surrounds a training: an evaluation from elsewhere, however its model is spelled; a main process that ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdisco.files import RunError
from prefdisco.training import processes
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


def test_who_waits_for_a_main_process_that_has_ended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(message: list[object]) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(processes, "broadcast_object_list", closed)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(RunError, match="process 1: the main process has ended"):
        processes.shared("")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RuntimeError, match="closed by peer"):  # no words of ours: the main one knows why
        processes.shared("")
