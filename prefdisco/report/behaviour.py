"""Sections on what agents do: questions and what goes with them, where alignment is lost, failure signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefdisco.analysis import harm, questions
from prefdisco.analysis.harm import ALL, Change
from prefdisco.analysis.regression import Line
from prefdisco.analysis.runs import Run
from prefdisco.analysis.signatures import counts
from prefdisco.bootstrap import Estimate
from prefdisco.report import meanings, plots
from prefdisco.report.grid import Column, Grid, estimates, percent
from prefdisco.report.sections import Section

MOST_ATTRIBUTES = 24  # shown of each run; the CSV has all


def question_section(runs: Sequence[Run], condition: str) -> Section:
    """Alignment on the number of questions: within each run, under all conditions that ask, and between runs."""
    lines = {run.name: questions.within(run, [condition]) for run in runs}
    across = questions.between(runs, condition)
    grid = Grid(
        "line through",
        Column("points"),
        Column("problems"),
        estimates("slope", 3),
        estimates("intercept"),
        Column("r", 1.0, 2),
        Column("p", p=True),
        "note",
    )
    for run in runs:
        _add(grid, f"episodes of {run.name}", lines[run.name])
        asking = questions.asking(run)
        if len(asking) > 1:
            _add(grid, f"episodes of {run.name}, {', '.join(asking)}", questions.within(run, asking))
    _add(grid, "means of the runs", across._replace(clusters=0))
    return grid.section(
        "questions",
        "Questions and alignment",
        meanings.QUESTIONS.format(condition=condition),
        plots.questions(
            {run.name: questions.by_count(run, condition) for run in runs},
            lines,
            questions.means(runs, condition),
            across,
        ),
    )


def count_section(runs: Sequence[Run], condition: str) -> Section:
    """Alignment by number of questions."""
    grid = Grid("run", Column("questions"), Column("episodes"), estimates("alignment"))
    for run in runs:
        group = list(run.played.get(condition, {}).values())
        for count, found in questions.by_count(run, condition).items():
            grid.add(run.name, count, sum(len(episode.questions) == count for episode in group), found)
    text = meanings.COUNTS.format(condition=condition)
    return grid.section("questions_by_count", "Alignment by number of questions", text)


def harm_sections(runs: Sequence[Run], condition: str) -> list[Section]:
    """Where alignment is won and lost: by attribute, by kind, and by what was told."""
    found = {run.name: harm.changes(run, condition) for run in runs}
    if not any(found.values()):
        text = meanings.NO_HARM.format(condition=condition)
        return [Section("Where alignment is won and lost", text, name="harm_by_attribute")]
    text = meanings.HARM.format(condition=condition)
    return [
        _harm_section("attribute", "attribute", found, lambda change: change.attribute, text),
        _harm_section("kind", "kind of attribute", found, lambda change: change.kind, meanings.HARM_KINDS),
        _harm_section("told", "what the dialogue told", found, lambda change: change.told, meanings.HARM_TOLD),
    ]


def signature_section(runs: Sequence[Run], condition: str) -> Section:
    """How often each failure signature is seen."""
    found = {run.name: counts(run, condition) for run in runs}
    grid = Grid("run", "signature", Column("episodes"), percent("seen"), percent("not known"))
    for run, signatures in found.items():
        for name, count in signatures.items():
            grid.add(run, name, count.episodes, count.share, count.unknown)
    text = meanings.SIGNATURES.format(condition=condition)
    return grid.section("signatures", "Failure signatures", text, plots.signatures(found))


def _harm_section(
    name: str, title: str, found: dict[str, list[Change]], by: Callable[[Change], str], text: str
) -> Section:
    parts = {run: harm.decomposition(changes, by) for run, changes in found.items()}
    shares = [percent(each) for each in ("weight", "fell", "rose", "right", "of these spoilt")]
    sums = [estimates(each, 3) for each in ("lost", "spoilt", "won", "net")]
    grid = Grid("run", title, Column("criteria"), *shares, *sums)
    shown: list[int] = []
    names: list[str] = []
    for run, groups in parts.items():
        # Those that move most; what is shown stays in the order of harm.
        most = sorted(groups, key=lambda each: (each != ALL, -_size(groups[each].lost) - _size(groups[each].won)))
        for each, part in groups.items():
            if each in most[: MOST_ATTRIBUTES + 1]:
                shown.append(len(grid.cells))
                names += [] if each in names or each == ALL else [each]
            grid.add(run, each, *part)
    left = len(grid.cells) - len(shown)
    more = f" {left} rows of attributes that move little are left out here." if left else ""
    return grid.section(
        f"harm_by_{name}", f"Where alignment is won and lost, by {title}", text + more, plots.harm(parts, names), shown
    )


def _size(estimate: Estimate) -> float:
    return abs(float(estimate["mean"]))


def _add(grid: Grid, name: str, line: Line) -> None:
    slope, intercept = _estimate(line.slope, line.slope_ci), _estimate(line.intercept, line.intercept_ci)
    grid.add(name, line.points, line.clusters or None, slope, intercept, line.r, line.p, line.reason)


def _estimate(value: float | None, interval: tuple[float, float] | None) -> Estimate | float | None:
    return value if value is None or interval is None else {"mean": value, "ci": list(interval)}
