"""Three figures of a run, each as PNG and SVG: alignment by condition, the accuracy-alignment plane, the question
histogram.

Colours are from the Okabe-Ito palette, which colour-blind readers can tell apart; stages differ in shape or hatching
as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefdisco.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Summaries = Mapping[str, Mapping[str, Any]]  # stage ("before", "after", or one name) -> summary

STAGE_COLORS = ("#999999", "#0072B2", "#D55E00", "#009E73")
CONDITION_COLORS = ("#000000", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#0072B2", "#F0E442")
MARKERS = ("o", "s", "^", "D")
HATCHES = ("//", "", "..", "xx")


def save_figures(folder: str | Path, summaries: Summaries) -> list[Path]:
    """Draw all figures of these stages into `folder`; returns the PNG files. RunError where it cannot be written."""
    plots: dict[str, Callable[[Axes, Summaries], None]] = {
        "alignment": _alignment,
        "accuracy_alignment": _plane,
        "questions": _questions,
    }
    paths = []
    for name, plot in plots.items():
        paths.append(drawn(folder, name, partial(_single, plot, summaries)))
    return paths


def drawn(
    folder: str | Path,
    name: str,
    draw: Callable[[Sequence[Axes]], None],
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (6.4, 4.0),
) -> Path:
    """Call `draw` on axes and save them as NAME.png and NAME.svg in `folder`; returns the PNG. RunError where it cannot
    be written."""
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _figure(draw, rows, columns, size) as figure:
        for suffix in ("png", "svg"):
            path = folder / f"{name}.{suffix}"
            with writing(path):
                figure.savefig(path, dpi=160, metadata={"Date": None} if suffix == "svg" else None)
    return folder / f"{name}.png"


def svg(
    draw: Callable[[Sequence[Axes]], None], rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.0)
) -> str:
    """What `draw` draws on axes, as the text of an SVG element that can stand in a page."""
    file = StringIO()
    with _figure(draw, rows, columns, size) as figure:
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


@contextmanager
def _figure(
    draw: Callable[[Sequence[Axes]], None], rows: int, columns: int, size: tuple[float, float]
) -> Iterator[Figure]:
    import matplotlib
    from matplotlib.figure import Figure

    # Same content, same bytes: no random ids and no date in the SVG. Names are text, never mathematics.
    style: Any = {
        "svg.hashsalt": "prefdisco",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(rows, columns, squeeze=False).flatten().tolist())
        yield figure


def _single(plot: Callable[[Axes, Summaries], None], summaries: Summaries, axes: Sequence[Axes]) -> None:
    plot(axes[0], summaries)


def _alignment(axes: Axes, summaries: Summaries) -> None:
    """Bars: alignment by condition and stage, with 95% intervals; the ceiling as a line."""
    names = _conditions(summaries)
    width = 0.8 / len(summaries)
    for number, (stage, summary) in enumerate(summaries.items()):
        shift = (number - (len(summaries) - 1) / 2) * width
        present = [
            (place, summary["conditions"][name]["alignment"])
            for place, name in enumerate(names)
            if name in summary["conditions"]
        ]
        axes.bar(
            [place + shift for place, _ in present],
            [estimate["mean"] - 1 for _, estimate in present],
            width * 0.92,
            bottom=1,
            yerr=_error_bars([estimate for _, estimate in present]),
            capsize=3,
            color=STAGE_COLORS[number % len(STAGE_COLORS)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            label=stage,
        )
    ceilings = [summary["ceiling"]["alignment"]["mean"] for summary in summaries.values() if "ceiling" in summary]
    if ceilings and ceilings[-1] is not None:
        axes.axhline(ceilings[-1], color="black", linestyle="--", linewidth=1, label="ceiling of discovery")
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
    axes.set(ylim=(1, 5.05), ylabel="preference alignment (1 to 5)", title="Alignment by condition, 95% intervals")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)


def _plane(axes: Axes, summaries: Summaries) -> None:
    """Points: accuracy against alignment; an arrow joins the stages of one condition."""
    for color, name in enumerate(_conditions(summaries)):
        points = []
        for number, (stage, summary) in enumerate(summaries.items()):
            figures = summary["conditions"].get(name)
            if figures is None:
                continue
            accuracy, alignment = figures["accuracy"], figures["alignment"]
            points.append((100 * accuracy["mean"], alignment["mean"]))
            axes.errorbar(
                *points[-1],
                xerr=[[100 * side[0]] for side in _error_bars([accuracy])],
                yerr=_error_bars([alignment]),
                fmt=MARKERS[number % len(MARKERS)],
                color=CONDITION_COLORS[color % len(CONDITION_COLORS)],
                markerfacecolor="white" if number + 1 < len(summaries) else None,
                capsize=2,
                linewidth=1,
                label=f"{name}, {stage}" if len(summaries) > 1 else name,
            )
        for start, end in pairwise(points):
            arrow = {"arrowstyle": "->", "color": CONDITION_COLORS[color % len(CONDITION_COLORS)], "alpha": 0.6}
            axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    axes.set(xlabel="accuracy (%)", ylabel="preference alignment (1 to 5)", title="Accuracy and alignment")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _questions(axes: Axes, summaries: Summaries) -> None:
    """Bars: how many questions the agent asked under discovery, as shares of the episodes."""
    counted = {
        stage: {int(k): n for k, n in summary["conditions"]["discovery"]["questions_histogram"].items()}
        for stage, summary in summaries.items()
        if "discovery" in summary["conditions"]
    }
    most = max((max(histogram) for histogram in counted.values()), default=0)
    width = 0.8 / max(len(counted), 1)
    for number, (stage, histogram) in enumerate(counted.items()):
        shift = (number - (len(counted) - 1) / 2) * width
        total = sum(histogram.values())
        axes.bar(
            [k + shift for k in range(most + 1)],
            [100 * histogram.get(k, 0) / total for k in range(most + 1)],
            width * 0.92,
            color=STAGE_COLORS[number % len(STAGE_COLORS)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            label=stage,
        )
    axes.set_xticks(range(most + 1))
    axes.set(xlabel="questions asked", ylabel="episodes (%)", title="Questions under discovery")
    if len(counted) > 1:
        axes.legend(frameon=False)


def _conditions(summaries: Summaries) -> list[str]:
    return list(dict.fromkeys(name for summary in summaries.values() for name in summary["conditions"]))


def _error_bars(estimates: list[Mapping[str, Any]]) -> list[list[float]]:
    """Distances from the means down and up to the interval's ends, as matplotlib takes them: [[down ...], [up ...]]."""
    down = [max(estimate["mean"] - estimate["ci"][0], 0.0) for estimate in estimates]
    up = [max(estimate["ci"][1] - estimate["mean"], 0.0) for estimate in estimates]
    return [down, up]
