"""The second table of a run: the health of the agent's thinking, a row a figure and a column a condition.

thinking            baseline  discovery  oracle
well formed turns %    100.0  99.8 ± 0.2  ...
"""

from __future__ import annotations

import re

from prefdisco.report.cells import ABSENT, WIDTH, Rows, Summary, arrow, at, cell, markdown, text

# row, path within `thinking`, scale, decimals
FIGURES: tuple[tuple[str, tuple[str, ...], float, int], ...] = (
    ("well formed turns %", ("parse_rate",), 100.0, 1),
    ("repeated 4-grams %", ("repetition",), 100.0, 1),
    ("compressed to %", ("compression",), 100.0, 1),
    ("words a turn", ("words",), 1.0, 1),
    ("words, 95th percentile", ("words_p95",), 1.0, 0),
    ("empty turns %", ("empty",), 100.0, 1),
    ("cut off episodes %", ("truncated",), 100.0, 1),
    ("names what was told %", ("names_preferences", "recall"), 100.0, 1),
    ("told of what it names %", ("names_preferences", "precision"), 100.0, 1),
    ("answers as it thought %", ("consistency",), 100.0, 1),
)
_INTERVAL = re.compile(r" ± [\d.]+")


def health_table(before: Summary, after: Summary | None = None, width: int = WIDTH) -> str:
    """Plain text for a terminal, "" for summaries without these figures.

    Where cells would pass `width` columns, intervals are left out, with a line that says so; conditions that still do
    not fit stand in a further table below.
    """
    rows = _rows(before, after)
    note = []
    if not _fits(rows, width):
        rows = [[_INTERVAL.sub("", each) for each in row] for row in rows]
        note = ["(intervals are in summary.json)"]
    lines = []
    for part in _parts(rows, width) if len(rows) > 1 else []:
        lines += ["", *text(part, width)]
    return "\n".join([*lines[1:], *note])


def markdown_health(before: Summary, after: Summary | None = None) -> str:
    """The same table for Markdown, "" for summaries without these figures."""
    rows = _rows(before, after)
    return markdown(rows) if len(rows) > 1 else ""


def _rows(before: Summary, after: Summary | None) -> Rows:
    """Header, and a row for each figure that any condition has."""
    stages = [before] if after is None else [before, after]
    names = list(dict.fromkeys(name for stage in stages for name in stage["conditions"]))
    rows = [["thinking", *names]]
    for title, path, scale, decimals in FIGURES:
        cells = [
            arrow([cell(at(stage, ("conditions", name, "thinking", *path)), scale, decimals) for stage in stages])
            for name in names
        ]
        if any(each != ABSENT for each in cells):
            rows.append([title, *cells])
    return rows


def _parts(rows: Rows, width: int) -> list[Rows]:
    """The rows with as many columns as fit, then with the following ones, until all have stood."""
    parts, start = [], 1
    while start < len(rows[0]):
        end = start + 1
        while end < len(rows[0]) and _fits(_columns(rows, start, end + 1), width):
            end += 1
        parts.append(_columns(rows, start, end))
        start = end
    return parts


def _columns(rows: Rows, start: int, end: int) -> Rows:
    return [[row[0], *row[start:end]] for row in rows]


def _fits(rows: Rows, width: int) -> bool:
    return max(map(len, text(rows, width))) <= width
