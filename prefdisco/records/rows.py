"""The problem of a record: of its source row, or of its `parsed_problem` where it carries one.

What the columns of a row mean, prefdisco.tasks.rows knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefdisco.schema import DataError, Problem
from prefdisco.tasks.registry import TASKS, Task
from prefdisco.tasks.rows import OPTIONS, Place, to_problem

ALIASES = {"math": "math500"}  # the published name of a folder -> ours


class Unreadable(DataError):
    """A row that is no problem; `field` is the column, the message says what is wrong with it."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


@dataclass(frozen=True)
class _Record(Place):
    """The place of a row within a record, which knows its own file and line."""

    def wrong(self, field: str, what: str) -> DataError:
        return Unreadable(field, what)


def task_of(dataset: str) -> Task | None:
    """The task behind a Hub id, or a name of ours; None for a data set that we have no loader for."""
    key = re.sub(r"[^a-z0-9]", "", dataset.lower())
    by_hub = next((task for task in TASKS.values() if task.hub.casefold() == dataset.casefold()), None)
    return by_hub or TASKS.get(ALIASES.get(key, key))


def problem_of_row(row: Mapping[str, Any], dataset: str, id: str) -> Problem:
    """The problem that a source row holds; the row itself becomes `source`. Raises Unreadable."""
    has_options = any(row.get(name) is not None for name in (*OPTIONS, "answerA"))
    task = task_of(dataset) or _unknown(dataset, has_options)
    problem = to_problem(row, task, _Record("", ""))
    return problem.model_copy(update={"id": id, "image": problem.image or None, "source": dict(row)})


def problem_of_parsed(parsed: Mapping[str, Any], row: Mapping[str, Any], dataset: str, id: str) -> Problem:
    """The problem of a record that carries `parsed_problem` beside its source row. Raises Unreadable."""
    told = {name: value for name in ("question", "answer", "image") if (value := parsed.get(name)) is not None}
    if parsed.get("options"):
        told["options"] = parsed["options"]
    if not told.get("image"):
        told["image"] = row.get("image")
    task = task_of(dataset) or _unknown(dataset, "options" in told)
    if (task.checker == "choice") != ("options" in told):
        task = replace(task, checker=_unknown(dataset, "options" in told).checker)
    problem = to_problem(told, replace(task, context=()), _Record("", ""))
    return problem.model_copy(update={"id": id, "image": problem.image or None, "source": dict(row)})


def _unknown(dataset: str, has_options: bool) -> Task:
    """The task of a data set that only its rows tell about: without domain, its free answers checked one by one."""
    return Task(dataset, "", "", "", "choice" if has_options else None, fields=())
