"""One table, filled with numbers and read twice: as rounded cells for people, unrounded for machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from prefdisco.report.cells import ABSENT, cell
from prefdisco.report.sections import Section

LEAST_P = 0.001
_MINUS_ZERO = re.compile(r"^-(0(\.0*)?)(?![\d.])")  # what rounding leaves of a small loss


class Column(NamedTuple):
    """How the cells of a column are shown. `interval`: they are estimates. `p`: they are p values."""

    title: str
    scale: float = 1.0
    decimals: int = 0
    interval: bool = False
    p: bool = False


def percent(title: str) -> Column:
    """Estimates on 0..1, shown in percent."""
    return Column(f"{title} %", 100.0, 1, interval=True)


def estimates(title: str, decimals: int = 2) -> Column:
    """Estimates shown as they are."""
    return Column(title, 1.0, decimals, interval=True)


class Grid:
    """Rows of text, numbers, estimates (`{"mean": .., "ci": [low, high]}`) or None, a column each."""

    def __init__(self, *columns: Column | str) -> None:
        self.columns = [column if isinstance(column, Column) else Column(column) for column in columns]
        self.cells: list[Sequence[Any]] = []

    def add(self, *cells: Any) -> None:
        """One more row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} cells, got {len(cells)}")
        self.cells.append(cells)

    def section(self, name: str, title: str, text: str = "", svg: str = "", rows: Sequence[int] = ()) -> Section:
        """The table as a section; `rows` are the numbers of those to show, all if empty. No table without rows."""
        if not self.cells:
            return Section(title, text, svg=svg, name=name)
        chosen = [self.cells[number] for number in rows] if rows else self.cells
        shown = [[column.title for column in self.columns]]
        shown += [[_shown(value, column) for value, column in zip(row, self.columns, strict=True)] for row in chosen]
        heads: list[str] = []
        for column in self.columns:
            heads += [column.title, f"{column.title}, low", f"{column.title}, high"][: 3 if column.interval else 1]
        numbers: list[list[str | int | float | None]] = [list(heads)]
        for row in self.cells:
            numbers.append(
                [raw for value, column in zip(row, self.columns, strict=True) for raw in _raw(value, column)]
            )
        return Section(title, text, shown, svg, name, numbers)


def _shown(value: Any, column: Column) -> str:
    if isinstance(value, str):
        return value
    if column.p and isinstance(value, float):
        return f"<{LEAST_P}" if value < LEAST_P else f"{value:.3f}"
    text = cell(value, column.scale, column.decimals) if value is not None else ABSENT
    return _MINUS_ZERO.sub(r"\1", text)


def _raw(value: Any, column: Column) -> list[str | int | float | None]:
    """The cell unrounded, on the scale of the column's title; three of them where the column has intervals."""
    if not column.interval:
        scaled = value * column.scale if isinstance(value, float) else value
        return [scaled]
    if not isinstance(value, Mapping) or value.get("mean") is None:
        return [None if isinstance(value, Mapping) or value is None else value, None, None]
    low, high = value["ci"]
    return [column.scale * value["mean"], column.scale * low, column.scale * high]
