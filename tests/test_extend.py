"""docs/extend.md, run as it stands: whoever follows the page adds a part of their own that works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from pages import ROOT, Block, blocks, commands, execute

from prefdisco.config import ConfigError, RewardConfig, SFTRecipe, load
from prefdisco.judges import load_judge
from prefdisco.schema import Episode
from prefdisco.training.checks import check_own
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned

PAGE = "docs/extend.md"
SECTIONS = {name: list(found) for name, found in groupby(blocks(PAGE), lambda block: block.section)}
ATTRIBUTE = "An attribute"
MOST_LINES = 30
ADDED = {"A task", "A condition", "A recipe", "A question policy", "A reward", "A judge", "A user", ATTRIBUTE}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_lines(found: list[Block]) -> int:
    changed = [line for each in found if each.language == "diff" for line in each.text.splitlines() if line[0] == "+"]
    written = [line for each in found if each.language != "diff" and each.file for line in each.text.splitlines()]
    return len(changed) + len(written)


def test_the_page_has_all_that_can_be_added_each_in_under_30_lines() -> None:
    assert set(SECTIONS) == ADDED
    assert {name: count for name, found in SECTIONS.items() if (count := own_lines(found)) >= MOST_LINES} == {}


@pytest.mark.parametrize("section", sorted(ADDED - {ATTRIBUTE}))
def test_what_a_section_says_works_as_it_stands(
    section: str, empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in SECTIONS[section]:
        if block.file:
            Path(block.file).write_text(block.text)
        if block.file.startswith("try_"):
            exec(compile(block.text, block.file, "exec"), {})
        if block.language == "sh":
            for words in commands(block.text):
                execute(words, monkeypatch)
    capsys.readouterr()
    summaries = {path.parent.name: json.loads(path.read_text()) for path in empty.glob("runs/*/summary.json")}
    assert all(summary.get("errors", 0) == 0 for summary in summaries.values())
    if section == "A condition":
        told = summaries["brief"]["conditions"]["brief.txt"]
        assert told["n"] == 4 and told["questions"]["mean"] == 0 and told["alignment"]["mean"] > 3
        assert "brief.txt" in (empty / "runs/brief/report/report.md").read_text()
    if section == "A question policy":
        assert "likely" in (empty / "runs/likely/report.md").read_text()
    if section == "A judge":
        episodes = [json.loads(line) for line in (empty / "runs/strict/episodes.jsonl").read_text().splitlines()]
        assert {e["alignment"] for e in episodes if not e["correct"]} == {1.0}
        assert summaries["strict"]["conditions"]["oracle"] != summaries["exact"]["conditions"]["oracle"]
    if section == "A user":
        assert summaries["undecided"]["discovery"]["recall"]["mean"] == 0
    if section == "A reward":
        played = {"scenario_id": "s", "problem_id": "p", "persona_id": "q", "condition": "discovery", "seed": 0}
        episode = Episode(**played, response="word " * 50, correct=True, alignment=3.0)
        plain, own = (
            earned(episode, Reference(2.0, 4.0), RewardConfig(own=own)) for own in (None, {"brevity.py:brevity": 0.2})
        )
        assert own == pytest.approx(plain - 0.1)


def test_an_attribute_is_added_by_the_pages_diff_and_holds_the_worlds_claims(tmp_path: Path) -> None:
    """The tests of the world that look at the new attribute; the page's own line runs all of them."""
    (diff,) = (block for block in SECTIONS[ATTRIBUTE] if block.language == "diff")
    (shell,) = (block for block in SECTIONS[ATTRIBUTE] if block.language == "sh")
    for folder in ("prefdisco", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / diff.file).write_text(diff.text)
    apply, (python, *arguments) = commands(shell.text)
    assert apply == ["git", "apply", diff.file] and python == "python"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    subprocess.run(apply, cwd=tmp_path, check=True, env=environment)
    chosen = ["-k", "motive or population or pairs or people or two_families or reader_of_writer or every_type"]
    done = subprocess.run(
        [sys.executable, *arguments, *chosen], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_what_is_not_there_is_one_line_before_anything_is_computed(empty: Path) -> None:
    (empty / "mine.py").write_text("from prefdisco.users import Reply\n\nclass Strict: ...\n")
    with pytest.raises(ConfigError, match=r"judge=gone\.py:Strict: there is no file .*gone\.py"):
        load_judge("gone.py:Strict", [])
    with pytest.raises(ConfigError, match=r"judge=mine\.py:Strickt: mine\.py has no Strickt; it has Strict$"):
        load_judge("mine.py:Strickt", [])
    recipe = load(SFTRecipe, ["recipe=selfdistill", "data.policy=gone.py:Likely"])
    with pytest.raises(ConfigError, match=r"command line: data\.policy=gone\.py:Likely: there is no file"):
        check_own(recipe)
    with pytest.raises(ConfigError, match=r"data\.policy=likely: expected one of exact, .*, self or FILE\.py:NAME"):
        load(SFTRecipe, ["recipe=selfdistill", "data.policy=likely"])
