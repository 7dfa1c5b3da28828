"""Suites of trainings: every run once a seed, its evaluations, and one table over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefdisco.loading import kind_of
from prefdisco.report.runs import FIGURES, interval, mean_of
from prefdisco.suites.config import (
    CHECKPOINT,
    EVALUATE,
    Step,
    Suite,
    check,
    complete,
    evaluations,
    fill,
    refuse,
    summary_of,
)

OF_AGENTS = ("agent", "agents", "scenarios", "limit", "play", "differences")


def training_steps(suite: Suite) -> list[Step]:
    """The trainings and their evaluations in order. ConfigError for a run that is not there."""
    refuse(suite, OF_AGENTS, "it trains its own agents")
    names = [*suite.train, *suite.models]
    check(suite, "only", "run", names)
    found = []
    for seed in suite.seeds:
        for name in suite.only or names:
            folder = Path(suite.run) / f"{name}-{seed}"
            agent = suite.models.get(name) or str(folder / CHECKPOINT)

            def filled(words: Sequence[str], run: str = name, seed: int = seed) -> list[str]:
                known = {"folder": suite.run, "seed": seed, "run": run}
                return [fill(word, known) for word in words]

            if name in suite.train:
                words = filled([*suite.words, *suite.train[name]])
                found.append((folder, [*suite.launch, script(words), *words, f"seed={seed}", f"run={folder}"]))
            for evaluation in evaluations(suite):
                place = folder / evaluation
                words = filled(suite.evaluations[evaluation])
                found.append((place, [*EVALUATE, f"agent={agent}", *words, f"run={place}"]))
    return found


def script(words: Sequence[str]) -> str:
    """What trains by the recipe that these words name: train/KIND.py."""
    named = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
    return f"train/{kind_of(named[-1]) if named else 'sft'}.py"


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
    means = {seed: mean_of(summary_of(folder), path) for seed, folder in folders.items() if complete(folder)}
    return {seed: None if mean is None else mean * scale for seed, mean in means.items()}


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return interval(known) if len(known) == len(values) else "–"
