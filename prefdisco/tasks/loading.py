"""Problems of a task, from the Hugging Face Hub or from a local file.

load_problems("math500", limit=100)                      # the Hub
load_problems("math500", path="math500.jsonl")           # a local copy
load_problems("file", path="questions.parquet")          # the task is guessed from the fields
load_problems("percent.py:problems")                     # your own: a function that returns them, or a Task
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefdisco.config import ConfigError
from prefdisco.extensions import is_own, load_own
from prefdisco.hashing import stable_seed
from prefdisco.schema import DataError, Problem
from prefdisco.tasks.registry import FILE, TASKS, Task, find_task, guess
from prefdisco.tasks.rows import Place, to_problem

Row = tuple[Place, Mapping[str, Any]]
BATCH = 64  # rows of a Parquet file in memory at a time; they may hold images


def load_problems(
    task: str, limit: int | None = None, seed: int = 0, path: str | None = None, online: bool = True
) -> list[Problem]:
    """The problems of `task`, in the order of their source; with `limit`, a sample without replacement drawn by `seed`.

    A smaller sample of the same seed is part of a larger one. Every row is checked, drawn or not. Raises ConfigError
    for an unknown task, or a Hub that cannot be reached; DataError, with file, line and field, for a broken row.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit}: expected at least 1")
    own = load_own(task, "task") if is_own(task) else None
    if callable(own):
        problems = list(own())
    elif path is None:
        if task == FILE:
            raise ConfigError("task=file: needs a file: task=file path=FILE.jsonl (or .parquet)")
        chosen = own or find_task(task)
        problems = _problems(_hub_rows(chosen, online), chosen)
    else:
        problems = _problems(_file_rows(Path(path)), None if task == FILE else own or find_task(task))
    if not problems:
        raise DataError(f"{path or task}: has no rows")
    if limit is None or limit >= len(problems):
        return problems
    order = list(range(len(problems)))
    random.Random(stable_seed(seed, "sample", problems[0].task)).shuffle(order)
    return [problems[index] for index in sorted(order[:limit])]


def _problems(rows: Iterator[Row], task: Task | None) -> list[Problem]:
    """All rows as problems; without a `task`, that of the first row. Equal problems get ids -2, -3, .."""
    problems = []
    seen: dict[str, int] = {}
    for place, row in rows:
        task = task or guess({name for name, value in row.items() if value is not None})
        if task is None:
            fields = ", ".join(sorted(row)[:12]) or "none"
            raise place.wrong("line", f"fits no task (its fields: {fields}); say which: task={'|'.join(TASKS)}")
        problem = to_problem(row, task, place)
        seen[problem.id] = seen.get(problem.id, 0) + 1
        if seen[problem.id] > 1:
            problem = problem.model_copy(update={"id": f"{problem.id}-{seen[problem.id]}"})
        problems.append(problem)
    return problems


def _file_rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = Place(f"{path}:{number}", f"{path}#{number}")
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise place.wrong("line", f"not UTF-8 text at byte {error.start}") from None
            except (json.JSONDecodeError, RecursionError) as error:
                what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
                raise place.wrong("line", f"not JSON, one object a line: {what}") from None
            if not isinstance(row, dict):
                raise place.wrong("line", "not a JSON object; expected one row a line")
            yield place, row


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, counted from 1 as lines are."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                number += 1
                yield Place(f"{path}:{number}", f"{path}#{number}"), row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {_one_line(error)}") from None


def _hub_rows(task: Task, online: bool) -> Iterator[Row]:
    """Rows of a task's split on the Hub, counted from 0 as the Hub does. Images are not decoded."""
    local = f"point it at a local copy: task={task.name} path={task.name}.jsonl (or .parquet)"
    if not online:
        raise ConfigError(f"task={task.name}: is {task.hub} on the Hugging Face Hub, and online=false; {local}")
    try:
        from datasets import Image, load_dataset
    except ImportError as error:
        raise ConfigError(f"task={task.name}: needs the package datasets ({_one_line(error)}); or {local}") from None
    try:
        rows = load_dataset(task.hub, task.config, split=task.split, revision=task.revision)
    except Exception as error:  # what the network, the Hub and its cache raise has no common class
        raise ConfigError(f"task={task.name}: cannot load {task.hub} ({_one_line(error)}); {local}") from None
    if "image" in rows.column_names:
        rows = rows.cast_column("image", Image(decode=False))
    for number, row in enumerate(rows):
        place = f"hub:{task.hub}#{task.split}/{number}"
        yield Place(place, place), row


def _one_line(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 160 else text[:157] + "..."
