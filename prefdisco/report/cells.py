"""What tables are made of: cells that read `mean ± half of the 95% interval` or `before → after`, and aligned rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120
ABSENT = "–"

Summary = Mapping[str, Any]
Rows = list[list[str]]


def at(summary: Summary, path: Sequence[str]) -> Any:
    """The entry of a summary at `path`, None where there is none."""
    value: Any = summary
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def cell(estimate: Any, scale: float, decimals: int) -> str:
    """`mean ± half-width` of an estimate, a number without an interval as it is, or a dash."""
    if isinstance(estimate, int | float):
        return f"{scale * estimate:.{decimals}f}"
    if not isinstance(estimate, Mapping) or estimate.get("mean") is None:
        return ABSENT
    low, high = estimate["ci"]
    return f"{scale * estimate['mean']:.{decimals}f} ± {scale * (high - low) / 2:.{decimals}f}"


def arrow(cells: Sequence[str]) -> str:
    """`before → after`, or one cell for what did not change to the last digit, such as the ceiling."""
    return cells[0] if len(set(cells)) == 1 else " → ".join(cells)


def text(rows: Rows, width: int = WIDTH) -> list[str]:
    """Rows as lines for a terminal, with a rule under the header.

    Cells are set tight (`84.2±1.9`) where they would pass `width` columns.
    """
    if max(map(len, aligned(rows))) > width:
        rows = [[each.replace(" ± ", "±") for each in row] for row in rows]
    lines = aligned(rows)
    lines.insert(1, "─" * max(map(len, lines)))
    return lines


def markdown(rows: Sequence[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """Rows as a Markdown table; the columns in `text` to the left, the others to the right."""
    ruled = [rows[0], ["---" if place in text else "---:" for place in range(len(rows[0]))], *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in ruled)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right, two spaces between."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(each.rjust(width) for each, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
