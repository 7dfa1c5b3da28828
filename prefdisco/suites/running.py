"""Make what is missing of a suite, and write its table."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from prefdisco.files import RunError, atomic_write
from prefdisco.report.cells import markdown
from prefdisco.suites.agents import agent_steps, agent_tables, made, note
from prefdisco.suites.config import Step, Suite, check, complete
from prefdisco.suites.curve import places, save_curve
from prefdisco.suites.trainings import table, training_steps


def steps(suite: Suite) -> list[Step]:
    """The commands in order, each with the folder that it fills. ConfigError for what the suite does not have."""
    check(suite, "parts", "evaluation", list(suite.evaluations))
    if not suite.train:
        return agent_steps(suite)
    places(suite)
    return training_steps(suite)


def environment() -> dict[str, str]:
    """That of this process, in which programs of this Python's own environment are found, activated or not."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)])}


def run_suite(suite: Suite) -> Path:
    """Make what is missing, write `table.md`, `table.json` and the curve, print the tables; returns the suite's folder.

    Raises RunError for the first command that fails; what is complete stays.
    """
    todo = [
        (folder, command)
        for folder, command in steps(suite)
        if not (complete(folder) if suite.train else made(folder, command))
    ]
    for number, (folder, command) in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {shlex.join(command)}", flush=True)
        code = subprocess.run(command, env=environment(), check=False).returncode
        if code or not complete(folder):
            raise RunError(f"{folder}: the command above ended with {code}; repeat this one to go on")
        if not suite.train:
            note(folder, command)
    if suite.train:
        rows, data = table(suite)
        tables = [markdown(rows)]
        save_curve(suite, data)
    else:
        tables, data = agent_tables(suite)
    folder = Path(suite.run)
    page = [f"# Suite {suite.name}", suite.description, *tables]
    atomic_write(folder / "table.md", "\n\n".join(page) + "\n")
    atomic_write(folder / "table.json", json.dumps(data, indent=2, allow_nan=False) + "\n")
    print("\n\n".join(["", *tables, str(folder)]))
    return folder
