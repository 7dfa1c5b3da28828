"""What a suite is, and what its two kinds share: words filled in, results read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from prefdisco.files import RunError
from prefdisco.loading import ConfigError, Named, Section

CHECKPOINT = "checkpoint"
EVALUATE = (sys.executable, "-m", "prefdisco.cli", "evaluate")
BACK = re.compile(r"(?<![^/=])(?!\.\./)[^/=]+/\.\./")
Step = tuple[Path, list[str]]  # the folder that a command fills, and the command


class Curve(Section):
    """The figure of a suite of trainings, figures/curve.png: what became of them over a key that they differ in."""

    x: str = Field(default="", description="a key in the runs' words, such as reward.question; empty: no figure")
    y: list[str] = Field(default=[], description="rows of the table, a panel each")


class Suite(Named):
    """One suite. In its words, {folder}, {seed}, {run} and {scenarios} stand for the suite's folder, the seed, a run's
    name, and the suite's scenarios."""

    noun: ClassVar[str] = "suite"
    folder: ClassVar[str] = "eval"

    kind: str = Field(default="suite", description="what the file is for")
    seeds: list[int] = Field(
        default=[0], min_length=1, description="every run is made once with each; without trainings: of the evaluations"
    )
    train: dict[str, list[str]] = Field(default={}, description="run -> the words for train/sft.py or train/rl.py")
    models: dict[str, str] = Field(default={}, description="run -> a model that is there already")
    words: list[str] = Field(default=[], description="words that every training gets, before its own")
    evaluations: dict[str, list[str]] = Field(
        default={}, description="name -> the words for `prefdisco evaluate`, played with every result"
    )
    figures: dict[str, str] = Field(
        default={}, description="further rows of the table -> where they stand: EVALUATION:key.key of its summary"
    )
    agent: str = Field(default="", description="who plays the evaluations, where the suite trains nothing")
    agents: list[str] = Field(default=[], description="the same for several; one column each")
    scenarios: str = Field(default="pocket", description="what agents play, where an evaluation does not say")
    limit: int = Field(default=400, ge=1, description="scenarios that agents play in each evaluation")
    play: list[str] = Field(default=[], description="words for every evaluation of an agent, over its own")
    parts: list[str] = Field(default=[], description="the evaluations to make; all if empty")
    differences: list[str] = Field(
        default=[], description="rows of an agent's table: MEASURE of A - B, with A, B as EVALUATION:CONDITION"
    )
    curve: Curve = Curve()
    launch: list[str] = Field(default=["accelerate", "launch"], description="what starts a training")
    only: list[str] = Field(default=[], description="the runs to make; all if empty")


def evaluations(suite: Suite) -> list[str]:
    """The names of the evaluations to make."""
    return [name for name in suite.evaluations if not suite.parts or name in suite.parts]


def check(suite: Suite, key: str, noun: str, known: Sequence[str]) -> None:
    """Raise ConfigError where `key` chooses what there is not."""
    for name in getattr(suite, key):
        if name not in known:
            raise ConfigError(f"{suite.where(key)}: {key}={name}: no such {noun}; {noun}s are {', '.join(known)}")


def refuse(suite: Suite, keys: Sequence[str], why: str) -> None:
    """Raise ConfigError where one of the keys, which this kind of suite does not use, is set."""
    for key in keys:
        if getattr(suite, key) != type(suite).model_fields[key].default:
            raise ConfigError(f"{suite.where(key)}: {key} has no meaning with suite={suite.name}: {why}")


def fill(word: str, known: Mapping[str, Any]) -> str:
    """The word with its {placeholders} filled in. A way back out of a folder, A/../B, is taken beforehand: that folder
    need not be there yet, and a run notes its paths as they are written."""
    for name, value in known.items():
        word = word.replace(f"{{{name}}}", str(value))
    while "/../" in word and (shorter := BACK.sub("", word, count=1)) != word:
        word = shorter
    return word


def complete(folder: Path) -> bool:
    """Whether a command's folder has its result."""
    return (folder / "summary.json").is_file()


def summary_of(folder: Path) -> Mapping[str, Any]:
    """The summary in a folder, for a training its figures afterwards. Raises RunError."""
    try:
        summary: Mapping[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: no readable summary ({error})") from None
    return {**summary, **summary["after"]} if "after" in summary else summary
