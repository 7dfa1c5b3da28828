"""The table that a run ends with: a row a condition and one for the ceiling.

Cells read `mean ± half-width of the 95% interval`, or `before → after` of two summaries.

condition   accuracy               alignment               normalized  ...
baseline    84.2 ± 1.9 → 84.9 ± 1.8  ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120
ABSENT = "–"
# column, scale, decimals
COLUMNS = {
    "accuracy": ("accuracy %", 100.0, 1),
    "alignment": ("alignment", 1.0, 2),
    "normalized_alignment": ("normalized %", 1.0, 1),
    "negative_rate": ("negative %", 100.0, 1),
    "questions": ("questions", 1.0, 1),
}
DEFINED = {"baseline": 0.0, "oracle": 100.0}  # normalized alignment of the two that it is measured between

Summary = Mapping[str, Any]


def table(before: Summary, after: Summary | None = None, width: int = WIDTH) -> str:
    """Plain text for a terminal. Cells are set tight (`84.2±1.9`) where they would pass `width` columns."""
    rows = _rows(before, after)
    if max(map(len, aligned(rows))) > width:
        rows = [[cell.replace(" ± ", "±") for cell in row] for row in rows]
    lines = aligned(rows)
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*lines, "", *notes(before, after)]).rstrip()


def markdown_table(before: Summary, after: Summary | None = None) -> str:
    """The same table for Markdown."""
    rows = _rows(before, after)
    rows.insert(1, ["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def notes(before: Summary, after: Summary | None = None) -> list[str]:
    """One line each on what the table does not show: the gain against the ceiling's, the questions, errors."""
    stages = [before] if after is None else [before, after]
    lines = []
    for label, path, scale, unit in (
        ("discovery gain", ("ceiling", "share_of_ceiling"), 1.0, "% of the ceiling's"),
        ("accuracy change, discovery - baseline", ("discovery", "accuracy_change"), 100.0, " points"),
        ("questions that revealed a preference", ("discovery", "precision"), 100.0, "%"),
        ("weight of the revealed preferences", ("discovery", "recall"), 100.0, "%"),
        ("next question depends on the last answer", ("discovery", "adaptivity"), 100.0, "%"),
    ):
        cells = [cell(_at(stage, path), scale, 1) for stage in stages]
        if any(cell != ABSENT for cell in cells):
            lines.append(f"{label}: {_arrow(cells)}{unit}")
    if any(stage["errors"] for stage in stages):
        lines.append(
            f"errors: {_arrow([str(stage['errors']) for stage in stages])} (not scored; run again to play them again)"
        )
    return lines + bill(stages[-1])


def bill(summary: Summary) -> list[str]:
    """One line a role that called a model: calls, those answered from the cache, tokens, dollars.

    Empty where the agent was the only one, at no cost.
    """
    roles = {role: part for role, part in summary["usage"].get("roles", {}).items() if part["calls"] + part["cached"]}
    if set(roles) <= {"agent"} and not any(part["usd"] or part["cached"] for part in roles.values()):
        return []
    return [
        f"{role}: {part['calls']:,} calls, {part['cached']:,} from the cache, {part['prompt_tokens']:,} tokens read, "
        f"{part['completion_tokens']:,} written" + (f", ${part['usd']:.2f}" if part["usd"] else "")
        for role, part in roles.items()
    ]


def _rows(before: Summary, after: Summary | None) -> list[list[str]]:
    """Header, one row a condition of either summary, and the ceiling where there is one."""
    stages = [before] if after is None else [before, after]
    names = list(dict.fromkeys(name for stage in stages for name in stage["conditions"]))
    rows = [["condition", *(title for title, _, _ in COLUMNS.values())]]
    for name in names:
        rows.append([name, *(_arrow([_figure(stage, name, column) for stage in stages]) for column in COLUMNS)])
    if any("ceiling" in stage for stage in stages):
        cells = []
        for column, (_, scale, decimals) in COLUMNS.items():
            cells.append(_arrow([cell(_at(stage, ("ceiling", column)), scale, decimals) for stage in stages]))
        rows.append(["ceiling", *cells])
    return rows


def _figure(stage: Summary, condition: str, column: str) -> str:
    _, scale, decimals = COLUMNS[column]
    if column == "normalized_alignment" and condition in DEFINED and condition in stage["conditions"]:
        return f"{DEFINED[condition]:.0f}"
    return cell(_at(stage, ("conditions", condition, column)), scale, decimals)


def _at(stage: Summary, path: Sequence[str]) -> Any:
    """The entry of a summary at `path`, None where there is none."""
    value: Any = stage
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def cell(estimate: Any, scale: float, decimals: int) -> str:
    """`mean ± half-width` of an estimate, or a dash."""
    if not isinstance(estimate, Mapping) or estimate.get("mean") is None:
        return ABSENT
    low, high = estimate["ci"]
    return f"{scale * estimate['mean']:.{decimals}f} ± {scale * (high - low) / 2:.{decimals}f}"


def _arrow(cells: Sequence[str]) -> str:
    """`before → after`, or one cell for what did not change to the last digit, such as the ceiling."""
    return cells[0] if len(set(cells)) == 1 else " → ".join(cells)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right, two spaces between."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
