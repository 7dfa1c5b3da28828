"""Do more questions go with better alignment? Within one agent, and between agents (PrefDisco reports r = 0.445).

Within an agent the number of questions is its own choice: it may ask more where there is more to gain, so the slope is
no promise of what another question would bring. Under `fixed(k)` the number is given; `asking` puts those together.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from prefdisco.analysis.regression import LEAST, Line, regress
from prefdisco.analysis.runs import Run
from prefdisco.bootstrap import Bootstrap, Estimate
from prefdisco.conditions import parse_condition
from prefdisco.schema import Episode


def within(run: Run, conditions: Sequence[str] = ("discovery",)) -> Line:
    """Alignment (1..5) on questions over the episodes of a run under these conditions, clustered by problem."""
    group = _episodes(run, conditions)
    return regress(
        [float(len(episode.questions)) for episode in group],
        [episode.graded_alignment for episode in group],
        [episode.problem_id for episode in group],
    )


def between(runs: Sequence[Run], condition: str = "discovery") -> Line:
    """The means of runs: a point a run, taken as independent. Runs without the condition are left out, and runs that
    agree in both means count once: they are the same model, evaluated before several trainings."""
    points = dict.fromkeys((asked, aligned) for _, asked, aligned in means(runs, condition))
    return regress([point[0] for point in points], [point[1] for point in points])


def means(runs: Sequence[Run], condition: str = "discovery") -> list[tuple[str, float, float]]:
    """(name, mean number of questions, mean alignment) of each run that has the condition."""
    groups = {run.name: _episodes(run, [condition]) for run in runs}
    return [
        (name, fmean(len(episode.questions) for episode in group), fmean(each.graded_alignment for each in group))
        for name, group in groups.items()
        if group
    ]


def asking(run: Run) -> list[str]:
    """The conditions of a run under which its own person answers questions, and nothing that it answered before is
    told: discovery, fixed(k), attributes."""
    parsed = [parse_condition(name) for name in run.conditions]
    return [
        condition.name for condition in parsed if condition.may_ask and not condition.swapped and not condition.carries
    ]


def by_count(run: Run, condition: str = "discovery") -> dict[int, Estimate]:
    """Number of questions -> mean alignment of the episodes with so many; none for fewer than three problems."""
    group = _episodes(run, [condition])
    boot = Bootstrap([episode.problem_id for episode in group])
    found: dict[int, Estimate] = {}
    for count in sorted({len(episode.questions) for episode in group}):
        some = [episode for episode in group if len(episode.questions) == count]
        problems = [episode.problem_id for episode in some]
        found[count] = (
            boot.mean(problems, [episode.graded_alignment for episode in some], "no episodes")
            if len(set(problems)) >= LEAST
            else {"mean": None, "ci": None, "reason": f"fewer than {LEAST} problems"}
        )
    return found


def _episodes(run: Run, conditions: Sequence[str]) -> list[Episode]:
    return [episode for name in conditions for episode in run.played.get(name, {}).values()]
