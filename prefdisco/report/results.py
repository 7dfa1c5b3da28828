"""Sections on what runs reach: who is compared, tables shaped like PrefDisco's, groups, the plane, paired tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefdisco.analysis.comparison import UNSHARED, compare
from prefdisco.analysis.groups import BASELINE, GROUPINGS, ORACLE, Figures, by_kind, figures, grouped
from prefdisco.analysis.plane import front, points
from prefdisco.analysis.runs import Run
from prefdisco.report import meanings, plots
from prefdisco.report.grid import Column, Grid, estimates, percent
from prefdisco.report.sections import Section
from prefdisco.schema import Episode

ALL = "all"
MOST_FAMILIES = 16  # as columns
Cells = Mapping[str, Mapping[str, Figures]]  # run -> group, ALL among them -> figures


def runs_section(runs: Sequence[Run]) -> Section:
    """What each run holds."""
    titles = ("scenarios", "problems", "seeds", "episodes", "errors")
    grid = Grid("run", *(Column(each) for each in titles), "conditions")
    for run in runs:
        counts = [
            len({episode.scenario_id for episode in run.episodes}),
            len({episode.problem_id for episode in run.episodes}),
            len({episode.seed for episode in run.episodes}),
        ]
        grid.add(run.name, *counts, len(run.episodes), run.errors, ", ".join(run.conditions) or "none without error")
    most = meanings.MOST_RUNS.format(runs=plots.MOST_RUNS, panels=plots.MOST_PANELS)
    text = f"{meanings.RUNS} {most}" if len(runs) > plots.MOST_PANELS else meanings.RUNS
    return grid.section("runs", "Runs", text)


def columns_of(runs: Sequence[Run]) -> str:
    """What the columns of the main tables are: tasks, or the families of a single task where they fit."""
    tasks = {GROUPINGS["task"](episode) for run in runs for episode in run.episodes}
    families = {GROUPINGS["family"](episode) for run in runs for episode in run.episodes}
    return "family" if len(tasks) == 1 and 1 < len(families) <= MOST_FAMILIES else "task"


def main_tables(runs: Sequence[Run], condition: str) -> list[Section]:
    """Runs x tasks: normalized alignment, accuracy, negative rate."""
    by = columns_of(runs)
    cells = _cells(runs, condition, lambda run: grouped(run.episodes, GROUPINGS[by]))
    names = list(dict.fromkeys(name for found in cells.values() for name in found if name != ALL))
    order = [*sorted(names), ALL] if len(names) > 1 else [ALL]
    parts = [
        found[name].normalized["mean"] for found in cells.values() for name in order[:-1] or [ALL] if name in found
    ]
    known = [value for value in parts if value is not None]
    below = f"{sum(value < 0 for value in known)} of {len(known)} cells (run x {by}) are below zero." if known else ""
    normalized = Grid("run", *(estimates(name, 1) for name in order))
    accuracy = Grid("run", "condition", *(Column(name, 100.0, 1, interval=True) for name in order))
    negative = Grid("run", *(Column(name, 100.0, 1, interval=True) for name in order))
    for run, found in cells.items():
        normalized.add(run, *(found[name].normalized if name in found else None for name in order))
        negative.add(run, *(found[name].negative if name in found else None for name in order))
        for each in (BASELINE, condition, ORACLE):
            accuracy.add(run, each, *(found[name].accuracy[each] if name in found else None for name in order))
    shape = plots.groups(
        f"Normalized alignment by {by}",
        {run: {name: found[name].normalized for name in order if name in found} for run, found in cells.items()},
    )
    return [
        normalized.section(
            "normalized_alignment",
            f"Normalized alignment, runs x {by}",
            f"{meanings.NORMALIZED.format(condition=condition)} {below}".strip(),
            shape,
        ),
        accuracy.section("accuracy", f"Accuracy, runs x {by}", meanings.ACCURACY),
        negative.section("negative_rate", f"Negative rate, runs x {by}", meanings.NEGATIVE.format(condition=condition)),
    ]


def group_sections(runs: Sequence[Run], condition: str) -> list[Section]:
    """A table for each grouping that has more than one group, with the figures of every run."""
    found = []
    for by, of in GROUPINGS.items():
        cells = _cells(runs, condition, lambda run, of=of: grouped(run.episodes, of))  # type: ignore[misc]
        if len({name for each in cells.values() for name in each} - {ALL}) > 1:
            found.append(_group_section(by, cells, condition))
    kinds = _cells(runs, condition, lambda run: by_kind(run.episodes))
    return [*found, _kind_section(kinds, condition)] if any(len(each) > 1 for each in kinds.values()) else found


def plane_section(runs: Sequence[Run]) -> Section:
    """The accuracy-alignment plane with its fronts."""
    found = points(runs)
    edge, untold = front(found), front([point for point in found if not point.told])
    grid = Grid("run", "condition", Column("episodes"), percent("accuracy"), estimates("alignment"), "front")
    for point in found:
        where = ["all"] * (point in edge) + ["not told"] * (point in untold)
        grid.add(point.run, point.condition, point.episodes, point.accuracy, point.alignment, ", ".join(where))
    return grid.section("plane", "Accuracy and alignment", meanings.PLANE, plots.plane(found) if found else "")


def comparison_section(runs: Sequence[Run], condition: str) -> Section:
    """Every run after the first against the first."""
    title, found = "Runs against each other", compare(runs, condition)
    if not found:
        return Section(title, meanings.ALONE, name="comparison")
    grid = Grid(
        "run",
        "against",
        "figure",
        Column("scenarios"),
        Column("problems"),
        Column("first", 1.0, 3),
        Column("second", 1.0, 3),
        estimates("difference", 3),
        Column("p", p=True),
        Column("p, Holm", p=True),
    )
    for each in found:
        counts = each.units, each.problems
        grid.add(each.second, each.first, each.figure, *counts, *each.values, each.difference, each.p, each.holm)
    tests = sum(each.p is not None for each in found)
    apart = sorted({each.second for each in found if each.difference.get("reason") == UNSHARED})
    without = f" No scenario shared with {runs[0].name}: {', '.join(apart)}." if apart else ""
    text = meanings.COMPARISON.format(condition=condition, tests=tests) + without
    return grid.section("comparison", title, text)


def _cells(runs: Sequence[Run], condition: str, split: Callable[[Run], dict[str, list[Episode]]]) -> Cells:
    return {
        run.name: {
            **{name: figures(group, condition) for name, group in split(run).items()},
            ALL: figures(run.episodes, condition),
        }
        for run in runs
    }


def _group_section(by: str, cells: Cells, condition: str) -> Section:
    names = (BASELINE, condition, ORACLE)
    grid = Grid(
        "run",
        by,
        Column("problems"),
        *(percent(f"accuracy {name}") for name in names),
        *(estimates(f"alignment {name}") for name in names),
        estimates("normalized %", 1),
        percent("negative"),
    )
    for run, found in cells.items():
        for name, each in found.items():
            accuracy, alignment = ([of[name] for name in names] for of in (each.accuracy, each.alignment))
            grid.add(run, name, each.problems, *accuracy, *alignment, each.normalized, each.negative)
    return grid.section(f"by_{by}", f"By {by}", meanings.GROUPS)


def _kind_section(cells: Cells, condition: str) -> Section:
    names = (BASELINE, condition, ORACLE)
    alignments = [estimates(f"alignment {name}") for name in names]
    grid = Grid("run", "kind", Column("problems"), *alignments, estimates("normalized %", 1), percent("negative"))
    for run, found in cells.items():
        for name, each in found.items():
            alignment = [each.alignment[of] for of in names]
            grid.add(run, name, each.problems, *alignment, each.normalized, each.negative)
    return grid.section("by_kind", "By kind of attribute", meanings.KINDS)
