"""Every command of the project in README.md and docs/ is one: its script is there, its recipe, and every key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks, commands, execute

from prefdisco import cli
from prefdisco.loading import load

PAGES = sorted(["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
OURS = re.compile(r"^(?:prefdisco|train/\w+\.py|eval/run\.py)$")
NOT_OURS = ("git", "cd")  # the folder has the same name
KEYLESS = ("compare", "agree", "validate")  # take folders and files


class Understood(Exception):
    """A command said what it would do."""


def project_commands(page: str) -> list[list[str]]:
    """The commands of a page that the project has to understand, from the program on."""
    found = []
    for block in blocks(page):
        if block.language != "sh":
            continue
        for words in commands(block.text.replace("$M", "server/http://localhost:8000/v1#m").replace("&\n", "\n")):
            start = next((i for i, word in enumerate(words) if OURS.match(word)), None)
            if start is not None and "..." not in words and words[0] not in NOT_OURS:
                found.append(words[start:])
    return found


def understand(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve the configuration of a command as it would itself, and stop there."""

    def only_resolve(model_class: Any, argv: Sequence[str], usage: str) -> None:
        keys, _, wants_help = cli.parse_words(argv)
        if not wants_help:
            load(model_class, keys)
        raise Understood

    monkeypatch.setattr(cli, "configure", only_resolve)
    execute(words, monkeypatch)


@pytest.mark.parametrize("page", [page for page in PAGES if project_commands(page)])
def test_every_command_of_a_page_is_understood(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in project_commands(page):
        assert words[0] != "prefdisco" or words[1].startswith("--") or words[1] in cli.COMMANDS, words
        if words[0] == "prefdisco" and words[1] in KEYLESS:
            continue
        for word in words:  # a recipe of the reader's own
            if word.startswith("recipe=") and word.endswith(".yaml"):
                path = Path(word.removeprefix("recipe="))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("extends: selfdistill\n")
        with pytest.raises(Understood):
            understand(words, monkeypatch)
