"""The pages of docs/, read as what they promise: files, commands, links."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from prefdisco.cli import main

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^|\s)#.*")  # server/URL#NAME is none
NAMED = re.compile(r"`([\w.]+)`:\s*$")


class Block(NamedTuple):
    """A fenced block: its section (the last heading of level 2), its language, the file that it is named as, or ""."""

    section: str
    language: str
    file: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order. A block is a file where the text before it ends in "`NAME`:"."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        headings = re.findall(r"^## (.+)$", FENCE.sub("", before), re.MULTILINE)
        named = NAMED.search(before)
        yield Block(headings[-1] if headings else "", match["language"], named[1] if named else "", match["text"])


def commands(text: str) -> list[list[str]]:
    """The commands of a sh block, as words; continued lines are one, comments are left out."""
    lines = (COMMENT.sub("", line) for line in text.replace("\\\n", " ").splitlines())
    return [words for line in lines if (words := shlex.split(line))]


def execute(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the project, in this process: `prefdisco ..`, or a script of train/ or eval/, without a launcher."""
    words = [word for word in words if word not in ("accelerate", "launch", "python")]
    if words[0] == "prefdisco":
        main(words[1:])
        return
    assert words[0].startswith(("train/", "eval/")), f"not a command of this project: {shlex.join(words)}"
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / words[0]), run_name="__main__")
