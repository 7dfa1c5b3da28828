"""The figures of an analysis, each as SVG: groups, plane, questions, harm, signatures. Style: report/figures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefdisco.analysis.harm import ALL, Parts
from prefdisco.analysis.plane import Point, front
from prefdisco.analysis.regression import Line
from prefdisco.analysis.signatures import Count
from prefdisco.bootstrap import Estimate
from prefdisco.report.escapes import plain
from prefdisco.report.figures import CONDITION_COLORS, MARKERS, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RUN_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MOST_RUNS = len(RUN_COLORS)  # more are not told apart
MOST_PANELS = 4
LOST, OVER, WON = "#E69F00", "#D55E00", "#009E73"
LONGEST = 40  # characters of a name


def groups(title: str, figures: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Run -> group -> normalized alignment, in percent: a row a group, a marker a run."""
    runs = dict(list(figures.items())[:MOST_RUNS])
    names = list(dict.fromkeys(name for found in runs.values() for name in found))

    def draw(axes: Sequence[Axes]) -> None:
        for number, (run, found) in enumerate(runs.items()):
            _marks(axes[0], names, found, number, len(runs), run, 1.0)
        for place in (0, 100):
            axes[0].axvline(place, color="#999999", linewidth=1, linestyle=":")
        _list(axes[0], names)
        axes[0].set(xlabel="normalized alignment (%): 0 baseline, 100 oracle", title=title)
        _legend(axes[0], len(runs))

    return svg(draw, size=(6.4, 1.7 + max(0.28 * len(names), 0.12 * len(names) * len(runs))))


def plane(found: Sequence[Point]) -> str:
    """Every run under every condition, with both intervals, the front of all, and that of those not told."""
    runs = list(dict.fromkeys(point.run for point in found))[:MOST_RUNS]
    found = [point for point in found if point.run in runs]
    conditions = list(dict.fromkeys(point.condition for point in found))

    def draw(axes: Sequence[Axes]) -> None:
        for point in found:
            run = runs.index(point.run)
            axes[0].errorbar(
                100 * point.accuracy["mean"],
                point.alignment["mean"],
                xerr=_bars([point.accuracy], 100),
                yerr=_bars([point.alignment], 1),
                fmt=MARKERS[run % len(MARKERS)],
                color=CONDITION_COLORS[conditions.index(point.condition) % len(CONDITION_COLORS)],
                markerfacecolor="white" if run // len(MARKERS) % 2 else None,
                linewidth=1,
                capsize=2,
            )
        for some, style in ((found, "-"), ([point for point in found if not point.told], "--")):
            edge = front(some)
            xs, ys = [100 * point.accuracy["mean"] for point in edge], [point.alignment["mean"] for point in edge]
            axes[0].plot(xs, ys, style, color="#999999", linewidth=1, zorder=0)
        _key(axes[0], runs, conditions)
        axes[0].set(xlabel="accuracy (%)", ylabel="preference alignment (1 to 5)", title="Accuracy and alignment")
        axes[0].grid(alpha=0.25)

    return svg(draw, size=(7.6, 4.4))


def questions(
    counted: Mapping[str, Mapping[int, Estimate]], lines: Mapping[str, Line], means: Any, across: Line
) -> str:
    """Left: mean alignment by number of questions, and the line through the episodes. Right: the means of the runs."""
    runs = list(counted)[:MOST_RUNS]

    def draw(axes: Sequence[Axes]) -> None:
        for number, run in enumerate(runs):
            color, marker = RUN_COLORS[number], MARKERS[number % len(MARKERS)]
            known = {count: found for count, found in counted[run].items() if found["mean"] is not None}
            shift = 0.08 * (number - (len(runs) - 1) / 2)
            axes[0].errorbar(
                [count + shift for count in known],
                [found["mean"] for found in known.values()],
                yerr=_bars(list(known.values()), 1),
                fmt=marker,
                color=color,
                capsize=2,
                linewidth=1,
                label=_short(run),
            )
            _line(axes[0], lines[run], list(counted[run]), color)
        axes[0].set(xlabel="questions asked", ylabel="preference alignment (1 to 5)", title="Within each run")
        for number, (_, x, y) in enumerate(means[:MOST_RUNS]):
            axes[1].plot(x, y, MARKERS[number % len(MARKERS)], color=RUN_COLORS[number])
        _line(axes[1], across, [point[1] for point in means], "#999999")
        axes[1].set(xlabel="mean number of questions", title="Between runs")
        for each in axes:
            each.grid(alpha=0.25)
            each.set_ylim(1, 5.05)
        axes[1].set_xlim(axes[0].get_xlim())
        _below(axes, 3)

    return svg(draw, columns=2, size=(8.4, 4.2))


def harm(found: Mapping[str, Mapping[str, Parts]], shown: Sequence[str]) -> str:
    """A panel a run: what each group of criteria won and lost, in points of alignment; darker: it had been right."""
    runs = {run: parts for run, parts in list(found.items())[:MOST_PANELS] if parts}
    names = [name for name in shown if name != ALL]

    def draw(axes: Sequence[Axes]) -> None:
        for panel, (run, parts) in zip(axes, runs.items(), strict=True):
            known = [(place, parts[name]) for place, name in enumerate(names) if name in parts]
            places = [place for place, _ in known]
            for title, color, hatch, values in (
                ("won", WON, "", [each.won["mean"] for _, each in known]),
                ("lost", LOST, "", [each.lost["mean"] for _, each in known]),
                ("lost of what was right", OVER, "//", [each.overcorrected["mean"] for _, each in known]),
            ):
                panel.barh(places, values, 0.72, color=color, hatch=hatch, edgecolor="white", label=title)
            nets = [each.net for _, each in known]
            panel.errorbar(
                [each["mean"] for each in nets],
                places,
                xerr=_bars(nets, 1),
                fmt="D",
                color="black",
                markersize=3,
                linewidth=1,
                label="net",
            )
            panel.axvline(0, color="black", linewidth=0.8)
            _list(panel, names)
            panel.set(title=_short(run))
        for panel in axes[1:]:
            panel.set_yticklabels([])
        axes[0].set(xlabel="points of alignment")
        _below(axes, 4)

    return svg(draw, columns=len(runs), size=(2.4 + 3.0 * len(runs), 1.9 + 0.24 * len(names))) if runs and names else ""


def signatures(found: Mapping[str, Mapping[str, Count]]) -> str:
    """How often each signature is seen, a marker a run."""
    runs = {run: counts for run, counts in list(found.items())[:MOST_RUNS] if counts}
    names = list(next(iter(runs.values()), {}))

    def draw(axes: Sequence[Axes]) -> None:
        for number, (run, counts) in enumerate(runs.items()):
            shares = {name: count.share for name, count in counts.items()}
            _marks(axes[0], names, shares, number, len(runs), run, 100.0)
        _list(axes[0], names)
        axes[0].set(xlabel="episodes (%)", title="Failure signatures", xlim=(-2, 102))
        _legend(axes[0], len(runs))

    return svg(draw, size=(6.4, 1.7 + max(0.32 * len(names), 0.12 * len(names) * len(runs)))) if names else ""


def _marks(
    axes: Axes, names: Sequence[str], found: Mapping[str, Estimate], number: int, runs: int, run: str, scale: float
) -> None:
    """The estimates of one run beside their names, runs under each other."""
    known = [(place, found[name]) for place, name in enumerate(names) if found.get(name, {}).get("mean") is not None]
    shift = (number - (runs - 1) / 2) * 0.7 / runs
    axes.errorbar(
        [scale * each["mean"] for _, each in known],
        [place + shift for place, _ in known],
        xerr=_bars([each for _, each in known], scale),
        fmt=MARKERS[number % len(MARKERS)],
        color=RUN_COLORS[number],
        markersize=4,
        capsize=2,
        linewidth=1,
        label=_short(run),
    )


def _list(axes: Axes, names: Sequence[str]) -> None:
    """Names from top to bottom."""
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(alpha=0.25, axis="x")


def _legend(axes: Axes, runs: int) -> None:
    if runs > 1:
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _below(axes: Sequence[Axes], columns: int) -> None:
    """The legend of the first panel, under all of them."""
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, frameon=False, fontsize="small", loc="outside lower center", ncols=columns)


def _key(axes: Axes, runs: Sequence[str], conditions: Sequence[str]) -> None:
    """A legend of colours for conditions, of markers for runs and of lines for the fronts."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], linestyle="", marker="o", color=CONDITION_COLORS[place % len(CONDITION_COLORS)], label=name)
        for place, name in enumerate(conditions)
    ]
    marks += [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKERS[place % len(MARKERS)],
            color="#555555",
            markerfacecolor="white" if place // len(MARKERS) % 2 else None,
            label=_short(name),
        )
        for place, name in enumerate(runs)
        if len(runs) > 1
    ]
    marks.append(Line2D([], [], linestyle="-", color="#999999", label="front"))
    marks.append(Line2D([], [], linestyle="--", color="#999999", label="front, not told"))
    axes.legend(handles=marks, frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))


def _line(axes: Axes, line: Line, xs: Sequence[float], color: str) -> None:
    if line.slope is not None and line.intercept is not None:
        ends = [float(min(xs)), float(max(xs))]
        axes.plot(ends, [line.intercept + line.slope * x for x in ends], color=color, linewidth=1)


def _bars(estimates: Sequence[Mapping[str, Any]], scale: float) -> list[list[float]]:
    """Distances from the means down and up to the intervals' ends, as matplotlib takes them."""
    down = [scale * max(each["mean"] - each["ci"][0], 0.0) for each in estimates]
    up = [scale * max(each["ci"][1] - each["mean"], 0.0) for each in estimates]
    return [down, up]


def _short(name: str) -> str:
    name = plain(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
