"""docs/tutorial.md, played from its first evaluation to its release: the page's own commands, with fewer scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pages import blocks, commands, execute

PAGE = "docs/tutorial.md"
# What is laid over a command of the page, so that it takes seconds.
FEWER = {
    "prefdisco": ["limit=12"],
    "train/sft.py": [
        "scenarios.eval_limit=12", "scenarios.train_limit=16", "data.interviews=8", "data.samples=1",
        "trainer.max_steps=2", "trainer.logging_steps=1",
    ],
}  # fmt: skip
INSTALLATION = ("git", "make", ".")


def program(words: list[str]) -> str:
    return next(word for word in words if word not in ("accelerate", "launch", "python"))


def test_the_whole_page_can_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = [words for block in blocks(PAGE) if block.language == "sh" for words in commands(block.text)]
    installed = [words for words in page if words[0] in INSTALLATION]
    assert [words[:2] for words in installed] == [["git", "clone"], ["make", "venv"], [".", ".venv/bin/activate"]]
    shown = {}
    for words in page[len(installed) :]:
        smaller = FEWER[program(words)] if words[1] in ("evaluate", "train/sft.py") else []
        execute([*words, *smaller], monkeypatch)
        shown[" ".join(words)] = capsys.readouterr().out
    assert all(shown.values()), "every command says something"
    summary = json.loads(Path("runs/small/summary.json").read_text())
    assert summary["before"]["scenarios"] == summary["after"]["scenarios"] == 12
    assert not Path("runs/small/before").exists(), "the first evaluation was used, not repeated"
    assert (Path("runs/base/report/report.html")).stat().st_size > 10_000
    assert "swapped" in Path("runs/compared/report.md").read_text()
    assert "would" in shown["prefdisco release runs/small --dry-run"].lower()
    assert (Path("runs/small/release/README.md")).is_file()
    assert json.loads(Path("runs/released/summary.json").read_text())["errors"] == 0
