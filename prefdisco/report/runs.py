"""Several runs of one recipe side by side: every figure per run, and its mean with a 95% t interval over the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefdisco.files import RunError
from prefdisco.report.cells import markdown

DISCOVERY_NAMING = ("conditions", "discovery", "thinking", "names_preferences")
# name, path within a summary, scale
FIGURES: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("baseline accuracy %", ("conditions", "baseline", "accuracy"), 100.0),
    ("discovery accuracy %", ("conditions", "discovery", "accuracy"), 100.0),
    ("oracle accuracy %", ("conditions", "oracle", "accuracy"), 100.0),
    ("accuracy change, points", ("discovery", "accuracy_change"), 100.0),
    ("baseline alignment", ("conditions", "baseline", "alignment"), 1.0),
    ("discovery alignment", ("conditions", "discovery", "alignment"), 1.0),
    ("oracle alignment", ("conditions", "oracle", "alignment"), 1.0),
    ("normalized alignment %", ("discovery", "normalized_alignment"), 1.0),
    ("share of the ceiling's gain %", ("ceiling", "share_of_ceiling"), 1.0),
    ("negative rate %", ("discovery", "negative_rate"), 100.0),
    ("questions", ("conditions", "discovery", "questions"), 1.0),
    ("precision %", ("discovery", "precision"), 100.0),
    ("recall %", ("discovery", "recall"), 100.0),
    ("adaptivity %", ("discovery", "adaptivity"), 100.0),
    ("gain that is this person's answers %", ("discovery", "swap_drop"), 1.0),
    ("well formed turns %", ("thinking", "parse_rate"), 100.0),
    ("repeated 4-grams %", ("thinking", "repetition"), 100.0),
    ("discovery names what was told %", (*DISCOVERY_NAMING, "recall"), 100.0),
    ("told of what discovery names %", (*DISCOVERY_NAMING, "precision"), 100.0),
    ("words of thinking a turn", ("thinking", "words"), 1.0),
    ("plain accuracy, after - before, points", ("regression", "plain_accuracy"), 100.0),
    ("oracle accuracy, after - before, points", ("regression", "oracle_accuracy"), 100.0),
    ("oracle alignment, after - before", ("regression", "oracle_alignment"), 1.0),
)


def compare(folders: Sequence[str | Path]) -> str:
    """A Markdown table, rows figures, columns runs and their mean; training runs count twice, before and after.

    Raises RunError for a folder without a readable summary.
    """
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for folder in folders:
        for stage, summary in _stages(Path(folder)).items():
            columns.setdefault(stage, []).append(summary)
    head = ["figure", *(f"{stage} {name}".strip() for stage in columns for name in (*_names(folders), "mean"))]
    rows = [head]
    for name, path, scale in FIGURES:
        row = [name]
        for summaries in columns.values():
            values = [value * scale for summary in summaries if (value := mean_of(summary, path)) is not None]
            row += [f"{value:.2f}" for value in values] if len(values) == len(summaries) else ["–"] * len(summaries)
            row.append(interval(values))
        rows.append(row)
    return markdown(rows)


def _names(folders: Sequence[str | Path]) -> list[str]:
    return [Path(folder).name for folder in folders]


def _stages(folder: Path) -> dict[str, Mapping[str, Any]]:
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: no readable summary ({error}); finish the run first") from None
    if "before" not in summary:
        return {"": summary}
    # What training changed stands with the figures after it.
    return {"before": summary["before"], "after": {**summary["after"], "regression": summary.get("regression")}}


def mean_of(summary: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at `path`, or the mean of the estimate there; None where there is none."""
    found: Any = summary
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found.get("mean") if isinstance(found, Mapping) else found


def interval(values: Sequence[float]) -> str:
    """Mean and half of the t interval; the mean alone for one run."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{np.mean(values):.2f} ± {half:.2f}"
