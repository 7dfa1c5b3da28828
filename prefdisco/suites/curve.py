"""The figure of a suite of trainings: what became of its runs, over the key that they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from prefdisco.loading import ConfigError
from prefdisco.report.figures import STAGE_COLORS, drawn
from prefdisco.suites.config import Suite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = Mapping[str, Mapping[str, Mapping[str, float | None]]]  # row of the table -> run -> seed -> value


def places(suite: Suite) -> dict[str, float]:
    """Run -> its value of `curve.x`, for the runs whose words have one, in their order along it.

    Raises ConfigError where a value is no number.
    """
    found = {}
    for name, words in suite.train.items():
        split = [word.partition("=") for word in [*suite.words, *words]]
        values = [value for key, _, value in split if key == suite.curve.x]
        try:
            if values and (not suite.only or name in suite.only):
                found[name] = float(values[-1])
        except ValueError:
            where = f"{suite.where(f'train.{name}')}: train.{name}"
            raise ConfigError(f"{where}: {suite.curve.x}={values[-1]} is no number, and curve.x names it") from None
    return dict(sorted(found.items(), key=itemgetter(1)))


def save_curve(suite: Suite, table: Table) -> Path | None:
    """Draw `figures/curve.png` and `.svg` into the suite's folder: a panel for each row in `curve.y`, a point for each
    run and seed, a line through the means. Returns the PNG; None where the suite asks for none, or there is one run."""
    along, rows = places(suite), [title for title in suite.curve.y if title in table]
    if len(along) < 2 or not rows:
        return None

    def panels(axes: Sequence[Axes]) -> None:
        for panel, title in zip(axes, rows, strict=True):
            found = [(x, y) for name, x in along.items() for y in table[title][name].values() if y is not None]
            panel.plot(*zip(*found, strict=True), color=STAGE_COLORS[1], marker="o", markersize=4, linestyle="")
            means = {x: fmean(y for other, y in found if other == x) for x, _ in found}
            panel.plot(list(means), list(means.values()), color=STAGE_COLORS[1])
            panel.set(title=title, xlabel=suite.curve.x)
            panel.grid(alpha=0.25)

    return drawn(Path(suite.run) / "figures", "curve", panels, columns=len(rows), size=(3.2 * len(rows), 3.2))
