"""Episodes to read: the same of every run, and nothing that a model wrote gets out of its block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prefdisco.analysis.runs import named
from prefdisco.cli import main
from prefdisco.config import ShowConfig
from prefdisco.files import RunError
from prefdisco.report.transcripts import fenced, transcripts
from prefdisco.schema import Episode, Grade, Message
from tests.hand_made import episode


def run(folder: Path, episodes: Sequence[Episode]) -> Path:
    folder.mkdir()
    (folder / "episodes.jsonl").write_text("".join(each.model_dump_json() + "\n" for each in episodes))
    return folder


def talk(problem: str, alignment: float, said: str, error: str | None = None) -> Episode:
    made = episode(problem, "discovery", alignment, revealed=["tone"], values={"tone": "warm"}, error=error)
    messages = (
        Message(role="system", content="the rules"),
        Message(role="user", content="A task."),
        Message(role="assistant", content=said, thinking="hm"),
    )
    return made.model_copy(update={"messages": messages, "grades": (Grade(attribute="tone", score=4),)})


def test_the_same_episodes_of_all_runs_stand_under_each_other(tmp_path: Path) -> None:
    before = run(tmp_path / "before", [talk(name, 2, f"before {name}") for name in "abcd"])
    after = run(tmp_path / "after", [talk(name, 4, f"after {name}") for name in "dcb"])
    page = transcripts([before, after], ShowConfig(count=2, seed=1))
    assert page.startswith("2 of 3 episodes of `discovery`, drawn with seed 1.")
    shown = [name for name in "abcd" if f"agent: [hm] before {name}\n" in page]
    assert len(shown) == 2 and all(f"agent: [hm] after {name}\n" in page for name in shown) and "a" not in shown
    assert page == transcripts([before, after], ShowConfig(count=2, seed=1))
    assert page != transcripts([before, after], ShowConfig(count=2, seed=2))
    assert "| tone | warm | 60 | yes | yes | 4 | 4 |" in page and "the rules" not in page
    assert "**before**: right, alignment 2.00, 1 question" in page


def test_failed_episodes_are_not_shown_and_none_left_is_said(tmp_path: Path) -> None:
    before = run(tmp_path / "before", [talk("a", 2, "x"), talk("b", 2, "x", error="dead")])
    assert "1 of 1 episodes" in transcripts([before], ShowConfig())
    with pytest.raises(RunError, match="no episode of condition=oracle that all of them have; there are discovery"):
        transcripts([before], ShowConfig(condition="oracle"))
    with pytest.raises(RunError, match="nowhere: no episodes there"):
        transcripts([before, tmp_path / "nowhere"], ShowConfig())


def test_runs_are_called_by_what_tells_them_apart() -> None:
    assert named([Path("runs/a/before"), Path("runs/a/after")]) == ["before", "after"]
    assert named([Path("runs/a/after"), Path("runs/b/after")]) == ["a/after", "b/after"]
    with pytest.raises(RunError, match="runs/a: named twice"):
        named([Path("runs/a"), Path("runs/a")])


def test_a_text_cannot_end_its_block() -> None:
    assert fenced("a\n```\n# b") == "````text\na\n```\n# b\n````"


def test_the_command_takes_folders_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "one", [talk("a", 2, "hello")])
    assert main(["show", str(folder), "count=3"]) == 0
    assert "agent: [hm] hello" in capsys.readouterr().out
    for words, expected in ((["count=0", str(folder)], "count"), ([], "expected a run folder")):
        with pytest.raises(SystemExit):
            main(["show", *words])
        assert expected in capsys.readouterr().err
