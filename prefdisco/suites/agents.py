"""Suites that train nothing: every agent plays every evaluation, in RUN/AGENT/EVALUATION, and the tables stand side by
side."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefdisco.config import EvaluateConfig
from prefdisco.files import atomic_write
from prefdisco.loading import ConfigError, load
from prefdisco.report.cells import markdown
from prefdisco.report.suites import Difference, condition_table, parse_difference, question_table
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

POCKET_BASE = "pocket-base"  # as in llm/local.py, which brings torch
COMMAND = "command.txt"  # in an evaluation's folder: what made it, written when it has ended without errors


def players(suite: Suite) -> dict[str, str]:
    """Name -> model, of the agents that play a suite without trainings. ConfigError for none, ModelError for one that
    is not there."""
    from prefdisco.analysis.runs import named

    given = [*([suite.agent] if suite.agent else []), *suite.agents]
    paths = [Path(agent).parent if Path(agent).name == CHECKPOINT else Path(agent) for agent in given]
    names = [re.sub(r"[^\w.-]+", "-", label).strip("-") for label in named(paths)] if paths else []
    found = {**suite.models, **dict(zip(names, given, strict=True))}
    if not found:
        raise ConfigError(f"{suite.where('agent')}: suite={suite.name}: name who plays: agent=PATH or agents=[PATH,..]")
    check(suite, "only", "agent", list(found))
    for agent in found.values():
        _check_agent(agent)
    return {name: agent for name, agent in found.items() if not suite.only or name in suite.only}


def places(suite: Suite) -> dict[str, dict[str, Path]]:
    """Agent -> evaluation -> the folder that it is played in, of a suite without trainings."""
    return {name: {each: Path(suite.run) / name / each for each in evaluations(suite)} for name in players(suite)}


def agent_steps(suite: Suite) -> list[Step]:
    """The commands of a suite without trainings: every agent plays every evaluation, in the order of both."""
    refuse(suite, ["words", "launch"], "it trains nothing; words for its evaluations go into play=[..]")
    differences(suite)  # a line that cannot be read is found before anything is played
    found = []
    for name, agent in players(suite).items():
        for evaluation, folder in places(suite)[name].items():
            known = {"folder": suite.run, "seed": suite.seeds[0], "run": name, "scenarios": suite.scenarios}
            common = [f"scenarios={suite.scenarios}", f"limit={suite.limit}", f"seeds={suite.seeds}".replace(" ", "")]
            words = [f"agent={agent}", *common, *suite.evaluations[evaluation], *suite.play]
            chosen = {word.partition("=")[0]: fill(word, known) for word in words}  # the last of a key counts
            command = [*chosen.values(), f"run={folder}"]
            load(EvaluateConfig, command)
            found.append((folder, [*EVALUATE, *command]))
    return found


def differences(suite: Suite) -> dict[str, Difference]:
    """The differences of the suite, by their text. Raises ConfigError."""
    names = list(suite.evaluations)
    return {text: parse_difference(text, names, suite.where("differences")) for text in suite.differences}


def _check_agent(agent: str) -> None:
    """Raise ConfigError or ModelError for a folder that is not there, or is not a checkpoint, before others play."""
    from prefdisco.llm.models import kind_of as model_kind

    folder = Path(agent)
    if agent == POCKET_BASE:
        return
    if folder.is_dir() and not (folder / "config.json").is_file():
        inside = f"; did you mean {folder / CHECKPOINT}?" if (folder / CHECKPOINT).is_dir() else ""
        raise ConfigError(f"agent={agent}: not a checkpoint, it has no config.json{inside}")
    if model_kind(agent) == "local" and not folder.is_dir():
        from prefdisco.llm.local import located  # brings torch

        located(agent)


def made(folder: Path, command: Sequence[str]) -> bool:
    """Whether a folder is complete, made by this very command, and not before the agent's weights."""
    noted = folder / COMMAND
    if not complete(folder) or not noted.is_file():
        return False
    agent = Path(command[len(EVALUATE)].removeprefix("agent="))
    newest = max((file.stat().st_mtime for file in agent.glob("*.safetensors")), default=0.0) if agent.is_dir() else 0.0
    return noted.read_text(encoding="utf-8") == _typed(command) and noted.stat().st_mtime >= newest


def note(folder: Path, command: Sequence[str]) -> None:
    """Note what made a folder, unless episodes failed: those are then played again."""
    if not summary_of(folder)["errors"]:
        atomic_write(folder / COMMAND, _typed(command))


def _typed(command: Sequence[str]) -> str:
    return shlex.join(["prefdisco", *command[len(EVALUATE) - 1 :]]) + "\n"


def agent_tables(suite: Suite) -> tuple[list[str], dict[str, Any]]:
    """(Markdown tables, numbers) of a suite without trainings: its figures and differences, then every condition."""
    where = places(suite)
    summaries = {name: {each: summary_of(folder) for each, folder in found.items()} for name, found in where.items()}
    figures, numbers = question_table(where, summaries, suite.figures, differences(suite))
    conditions, all_numbers = condition_table(summaries, evaluations(suite))
    left = (0, 1) if len(evaluations(suite)) == 1 else (0, 1, 2)
    failed = sum(summary["errors"] for found in summaries.values() for summary in found.values())
    errors = [f"{failed} episodes failed and are not scored; the same command plays them again."] if failed else []
    remark = "Mean ± half of the 95% bootstrap interval, clustered by problem; differences are paired by scenario."
    tables = [*([markdown(figures)] if len(figures) > 1 else []), markdown(conditions, left), remark, *errors]
    return tables, {"figures": numbers, "conditions": all_numbers}
