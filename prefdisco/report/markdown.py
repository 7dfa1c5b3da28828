"""`report.md`: the page that a run folder opens with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefdisco.files import atomic_write
from prefdisco.report.figures import save_figures
from prefdisco.report.health import markdown_health
from prefdisco.report.tables import markdown_table, notes

CAPTIONS = {
    "alignment": "Preference alignment by condition.",
    "accuracy_alignment": "What alignment costs in accuracy.",
    "questions": "How many questions the agent asks when it may.",
    "curves": "The course of training: lines for the training episodes, points for the watched scenarios.",
}


def write_report(
    run_dir: str | Path,
    title: str,
    summaries: Mapping[str, Mapping[str, Any]],
    regression: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write `report.md` and its figures into `run_dir`; returns the page.

    `summaries` holds one summary, or two in the order before, after; `regression` and `remarks` are those of a training
    run, whose curves are shown if they are there. Raises RunError where the folder cannot be written.
    """
    run_dir = Path(run_dir)
    figures = save_figures(run_dir / "figures", summaries)
    if (curves := run_dir / "figures" / "curves.png").exists():
        figures.append(curves)
    stages = list(summaries.values())
    before, after = stages[0], stages[1] if len(stages) > 1 else None
    last = stages[-1]
    arrow = " Cells read before → after." if after is not None else ""
    parts = [
        f"# {title}",
        f"{last['scenarios']} scenarios, seeds {', '.join(map(str, last['seeds']))}. "
        f"Mean ± half of the 95% bootstrap interval, clustered by problem.{arrow}",
        markdown_table(before, after),
        markdown_health(before, after),
        "\n".join(f"- {line}" for line in [*remarks, *notes(before, after, regression)]),
        *(f"![{CAPTIONS[path.stem]}](figures/{path.name})" for path in figures),
        "Normalized alignment: 100 · (condition - baseline) / (oracle - baseline), a ratio of means. "
        "Negative: share of scenarios below their own baseline. Compressed: what is left of thinking of 100 bytes or "
        "more, little in a loop. Names what was told: of the preferences that the agent was told, those that its last "
        "thinking names. Every figure can be recomputed from `episodes.jsonl`.",
        *_failed(last),
    ]
    page = run_dir / "report.md"
    atomic_write(page, "\n\n".join(part for part in parts if part) + "\n")
    return page


def _failed(summary: Mapping[str, Any], most: int = 20) -> list[str]:
    """The episodes that failed, as a list; empty when none did."""
    failed = summary["failed"]
    if not failed:
        return []
    lines = [
        f"- {item['scenario']}, {item['condition']}, seed {item['seed']}: {item['error']}" for item in failed[:most]
    ]
    more = [f"- and {len(failed) - most} more"] if len(failed) > most else []
    return ["## Errors", "\n".join([*lines, *more])]
