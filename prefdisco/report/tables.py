"""What a run ends with: a table with a row a condition and one for the ceiling, that of thinking health, and notes.

condition   accuracy               alignment               normalized  ...
baseline    84.2 ± 1.9 → 84.9 ± 1.8  ...
"""

from __future__ import annotations

from prefdisco.report.cells import ABSENT, WIDTH, Rows, Summary, arrow, at, cell, markdown, text
from prefdisco.report.health import health_table

# column, scale, decimals
COLUMNS = {
    "accuracy": ("accuracy %", 100.0, 1),
    "alignment": ("alignment", 1.0, 2),
    "normalized_alignment": ("normalized %", 1.0, 1),
    "negative_rate": ("negative %", 100.0, 1),
    "questions": ("questions", 1.0, 1),
}
DEFINED = {"baseline": 0.0, "oracle": 100.0}  # normalized alignment of the two that it is measured between
# of the change that a training made, after - before: line, scale, decimals, unit
REGRESSION = {
    "plain_accuracy": ("accuracy on plain problems, after - before", 100.0, 1, " points"),
    "oracle_accuracy": ("oracle accuracy, after - before", 100.0, 1, " points"),
    "oracle_alignment": ("oracle alignment, after - before", 1.0, 2, ""),
}


def table(before: Summary, after: Summary | None = None, regression: Summary | None = None, width: int = WIDTH) -> str:
    """Plain text for a terminal: both tables and the notes, at most `width` columns where their cells allow it."""
    parts = [text(_rows(before, after), width), [health_table(before, after, width)], notes(before, after, regression)]
    return "\n\n".join("\n".join(part) for part in parts if any(part))


def markdown_table(before: Summary, after: Summary | None = None) -> str:
    """The first table for Markdown."""
    return markdown(_rows(before, after))


def notes(before: Summary, after: Summary | None = None, regression: Summary | None = None) -> list[str]:
    """One line each on what the tables do not show: gain and ceiling, swapped answers, questions, training, errors."""
    stages = [before] if after is None else [before, after]
    lines = []
    for label, path, scale, unit in (
        ("discovery gain", ("ceiling", "share_of_ceiling"), 1.0, "% of the ceiling's"),
        ("discovery gain that is this person's answers", ("discovery", "swap_drop"), 1.0, "%"),
        ("accuracy change, discovery - baseline", ("discovery", "accuracy_change"), 100.0, " points"),
        ("questions that revealed a preference", ("discovery", "precision"), 100.0, "%"),
        ("weight of the revealed preferences", ("discovery", "recall"), 100.0, "%"),
        ("next question depends on the last answer", ("discovery", "adaptivity"), 100.0, "%"),
    ):
        cells = [cell(at(stage, path), scale, 1) for stage in stages]
        if any(each != ABSENT for each in cells):
            lines.append(f"{label}: {arrow(cells)}{unit}")
    for name, (label, scale, decimals, unit) in REGRESSION.items():
        change = cell(at(regression or {}, (name,)), scale, decimals)
        if change != ABSENT:
            lines.append(f"{label}: {change}{unit}")
    if any(stage["errors"] for stage in stages):
        lines.append(
            f"errors: {arrow([str(stage['errors']) for stage in stages])} (not scored; run again to play them again)"
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


def _rows(before: Summary, after: Summary | None) -> Rows:
    """Header, one row a condition of either summary, and the ceiling where there is one."""
    stages = [before] if after is None else [before, after]
    names = list(dict.fromkeys(name for stage in stages for name in stage["conditions"]))
    rows = [["condition", *(title for title, _, _ in COLUMNS.values())]]
    for name in names:
        rows.append([name, *(arrow([_figure(stage, name, column) for stage in stages]) for column in COLUMNS)])
    if any("ceiling" in stage for stage in stages):
        cells = []
        for column, (_, scale, decimals) in COLUMNS.items():
            cells.append(arrow([cell(at(stage, ("ceiling", column)), scale, decimals) for stage in stages]))
        rows.append(["ceiling", *cells])
    return rows


def _figure(stage: Summary, condition: str, column: str) -> str:
    _, scale, decimals = COLUMNS[column]
    if column == "normalized_alignment" and condition in DEFINED and condition in stage["conditions"]:
        return f"{DEFINED[condition]:.0f}"
    return cell(at(stage, ("conditions", condition, column)), scale, decimals)
