"""Suites: what belongs together, run by one command and read in one table. A YAML file in `eval/` each.

    python eval/run.py suite=recipes              # every recipe, three seeds, one table
    python eval/run.py suite=recipes seeds=[0] only=[selfdistill,fast_thinking]

A run of a suite is a training, or a model that is there already; `evaluations` are played with the result of each.
Every part is the command that a person would type, printed before it runs, in a folder of its own; what is complete is
not run again, so that the same command goes on after a kill.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from prefdisco.files import RunError, atomic_write
from prefdisco.loading import ConfigError, Named, kind_of
from prefdisco.report.cells import markdown
from prefdisco.report.runs import FIGURES, interval, mean_of

CHECKPOINT = "checkpoint"


class Suite(Named):
    """One suite. In its words, {folder}, {seed} and {run} stand for the suite's folder, the seed, and a run's name."""

    noun: ClassVar[str] = "suite"
    folder: ClassVar[str] = "eval"

    kind: str = Field(default="suite", description="what the file is for")
    seeds: list[int] = Field(default=[0], min_length=1, description="every run is made once with each")
    train: dict[str, list[str]] = Field(default={}, description="run -> the words for train/sft.py or train/rl.py")
    models: dict[str, str] = Field(default={}, description="run -> a model that is there already")
    words: list[str] = Field(default=[], description="words that every training gets, before its own")
    evaluations: dict[str, list[str]] = Field(
        default={}, description="name -> the words for `prefdisco evaluate`, played with every result"
    )
    figures: dict[str, str] = Field(
        default={}, description="further rows of the table -> where they stand: EVALUATION:key.key of its summary"
    )
    launch: list[str] = Field(default=["accelerate", "launch"], description="what starts a training")
    only: list[str] = Field(default=[], description="the runs to make; all if empty")


def steps(suite: Suite) -> list[tuple[Path, list[str]]]:
    """The commands in order, each with the folder that it fills. ConfigError for a run that is not there."""
    names = [*suite.train, *suite.models]
    unknown = [name for name in suite.only if name not in names]
    if unknown:
        raise ConfigError(f"{suite.where('only')}: only={unknown[0]}: no such run; runs are {', '.join(names)}")
    found = []
    for seed in suite.seeds:
        for name in suite.only or names:
            folder = Path(suite.run) / f"{name}-{seed}"
            agent = suite.models.get(name) or str(folder / CHECKPOINT)

            def filled(words: Sequence[str], run: str = name, seed: int = seed) -> list[str]:
                known = {"folder": suite.run, "seed": seed, "run": run}
                return [_fill(word, known, suite) for word in words]

            if name in suite.train:
                words = filled([*suite.words, *suite.train[name]])
                found.append((folder, [*suite.launch, script(words), *words, f"seed={seed}", f"run={folder}"]))
            for evaluation, words in suite.evaluations.items():
                place = folder / evaluation
                command = [sys.executable, "-m", "prefdisco.cli", "evaluate", f"agent={agent}"]
                found.append((place, [*command, *filled(words), f"run={place}"]))
    return found


def script(words: Sequence[str]) -> str:
    """What trains by the recipe that these words name: train/KIND.py."""
    named = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
    return f"train/{kind_of(named[-1]) if named else 'sft'}.py"


def run_suite(suite: Suite) -> Path:
    """Make what is missing, write `table.md` and `table.json`, print the table; returns the suite's folder.

    Raises RunError for the first command that fails; what is complete stays.
    """
    todo = [(folder, command) for folder, command in steps(suite) if not complete(folder)]
    for number, (folder, command) in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {shlex.join(command)}", flush=True)
        code = subprocess.run(command, check=False).returncode
        if code or not complete(folder):
            raise RunError(f"{folder}: the command above ended with {code}; repeat this one to go on")
    rows, data = table(suite)
    folder = Path(suite.run)
    page = [f"# Suite {suite.name}", "", suite.description, "", markdown(rows), ""]
    atomic_write(folder / "table.md", "\n".join(page))
    atomic_write(folder / "table.json", json.dumps(data, indent=2, allow_nan=False) + "\n")
    print("\n".join(["", markdown(rows), "", str(folder)]))
    return folder


def complete(folder: Path) -> bool:
    """Whether a command's folder has its result."""
    return (folder / "summary.json").is_file()


def table(suite: Suite) -> tuple[list[list[str]], dict[str, Any]]:
    """(rows, numbers): a row a figure, a column a run, mean ± half of the 95% t interval over the seeds.

    The rows are those of `prefdisco compare`, of what a training ended with, and `figures`.
    """
    names = [name for name in [*suite.train, *suite.models] if not suite.only or name in suite.only]
    wanted = [(title, "", path, scale) for title, path, scale in FIGURES]
    for title, where in suite.figures.items():
        evaluation, _, keys = where.rpartition(":")
        path = tuple(keys.split("."))
        wanted.append((title, evaluation, path, next((scale for _, known, scale in FIGURES if known == path), 1.0)))
    rows, data = [["figure", *names]], {}
    for title, evaluation, path, scale in wanted:
        found = {name: _values(suite, name, evaluation, path, scale) for name in names}
        if any(value is not None for values in found.values() for value in values.values()):
            rows.append([title, *(_cell(list(found[name].values())) for name in names)])
            data[title] = found
    return rows, data


def _values(suite: Suite, name: str, evaluation: str, path: Sequence[str], scale: float) -> dict[str, float | None]:
    """Seed -> the figure of a run."""
    folders = {str(seed): Path(suite.run) / f"{name}-{seed}" / evaluation for seed in suite.seeds}
    means = {seed: mean_of(_summary(folder), path) for seed, folder in folders.items() if complete(folder)}
    return {seed: None if mean is None else mean * scale for seed, mean in means.items()}


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return interval(known) if len(known) == len(values) else "–"


def _summary(folder: Path) -> Mapping[str, Any]:
    try:
        summary: Mapping[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: no readable summary ({error})") from None
    return {**summary, **summary["after"]} if "after" in summary else summary


def _fill(word: str, known: Mapping[str, Any], suite: Suite) -> str:
    for name, value in known.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word
