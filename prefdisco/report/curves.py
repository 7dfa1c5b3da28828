"""The course of a training by reinforcement: small figures beside each other, one for each sort of thing that is
logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefdisco.report.figures import CONDITION_COLORS, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HELD = "eval_"
# title -> (name in the log, label, factor); what a log lacks is left out, and so is a figure that would be empty
PANELS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "reward": (("reward", "reward", 1),),
    "parts of the reward": (
        ("rewards/correctness/mean", "correctness", 1),
        ("rewards/alignment/mean", "alignment", 1),
        ("rewards/overcorrection/mean", "over-correction", 1),
        ("rewards/format/mean", "format", 1),
        ("constraint/multiplier", "multiplier", 1),
    ),
    "normalized alignment and accuracy (%)": (
        ("episodes/normalized", "normalized alignment", 100),
        ("episodes/accuracy", "accuracy", 100),
        ("episodes/baseline_accuracy", "baseline accuracy", 100),
    ),
    "questions": (("episodes/questions", "questions asked", 1),),
    "discovery (%)": (
        ("episodes/precision", "precision", 100),
        ("episodes/recall", "recall", 100),
        ("adaptivity", "adaptivity", 100),
    ),
    "entropy and divergence (nats a token)": (("entropy", "entropy", 1), ("kl", "KL from the start", 1)),
}


def save_curves(folder: str | Path, history: Sequence[Mapping[str, Any]]) -> Path:
    """Draw `curves.png` and `curves.svg` into `folder` from the trainer's log: lines for the training episodes, points
    for the watched scenarios, both over steps. Returns the PNG."""

    def panels(axes: Sequence[Axes]) -> None:
        for panel, (title, lines) in zip(axes, PANELS.items(), strict=True):
            draw(panel, title, lines, history)

    return drawn(folder, "curves", panels, rows=2, columns=3, size=(13.0, 7.0))


def draw(axes: Axes, title: str, lines: Sequence[tuple[str, str, float]], history: Sequence[Mapping[str, Any]]) -> None:
    """One figure: each line's training episodes and watched scenarios in one colour."""
    for color, (name, label, factor) in zip(CONDITION_COLORS, lines, strict=False):
        points = series(history, name)
        if points:
            axes.plot(*zip(*((x, factor * y) for x, y in points), strict=True), color=color, linewidth=1, label=label)
        held = HELD + name.removeprefix("episodes/")
        seen = [(x, factor * y) for x, y in series(history, held)]
        if seen:
            label = f"{label}, watched"
            axes.plot(*zip(*seen, strict=True), color=color, marker="o", markersize=4, linewidth=2, label=label)
    axes.set(title=title, xlabel="step")
    axes.grid(alpha=0.25)
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")


def series(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of what was logged under `name`."""
    return [(entry["step"], entry[name]) for entry in history if entry.get(name) is not None]
