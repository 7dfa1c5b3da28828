"""Where alignment is won and lost: criterion by criterion, from the baseline's grade to that of a condition.

The alignment of a unit changes by the sum over its criteria of w_j (g_j - b_j), with weights that sum to one, b_j the
baseline's grade and g_j the condition's. Averaged over units, these contributions add up to the change of the mean
alignment, whatever they are grouped by: attribute, kind, or what the dialogue told about the attribute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from prefdisco.analysis.groups import FEW
from prefdisco.analysis.known import kind_of, reader_of
from prefdisco.analysis.regression import LEAST
from prefdisco.analysis.runs import Run
from prefdisco.bootstrap import Bootstrap, Estimate
from prefdisco.measures import units
from prefdisco.schema import Episode

MET = 5  # the grade of a criterion that is fully met
REVEALED, ASKED, UNASKED, UNREVEALED = "revealed", "asked, not revealed", "never asked", "not revealed"
TOLD = (REVEALED, ASKED, UNASKED, UNREVEALED)
ALL = "all"


class Change(NamedTuple):
    """One criterion of one unit: its share of the profile's weight, and its grade under baseline and condition.

    `told` is "revealed" where an answer revealed the preference, "asked, not revealed" where a question was about the
    attribute and its answer did not, "never asked", and "not revealed" where it is not known what questions are about.
    """

    unit: int
    problem: str
    attribute: str
    kind: str
    told: str
    weight: float
    before: int
    after: int

    @property
    def contribution(self) -> float:
        """To the unit's change of alignment."""
        return self.weight * (self.after - self.before)


class Parts(NamedTuple):
    """A group of criteria. Shares are on 0..1; `lost`, `won` and `overcorrected` are points of alignment, summed over
    the group's criteria and averaged over all units, so that groups add up: net = won + lost, lost <= 0.

    fell, rose: share of the criteria graded lower, higher. right: share that the baseline met (5). overcorrected_share:
    of these, the share that fell; overcorrected: what of `lost` that is.
    """

    criteria: int
    weight: Estimate
    fell: Estimate
    rose: Estimate
    right: Estimate
    overcorrected_share: Estimate
    lost: Estimate
    overcorrected: Estimate
    won: Estimate
    net: Estimate


def changes(run: Run, condition: str = "discovery") -> list[Change]:
    """Every criterion of every unit that has both conditions with the same criteria graded, in their order."""
    found = []
    for number, (base, own) in enumerate(units(run.played, "baseline", condition)):
        before, after = ({grade.attribute: grade.score for grade in side.grades} for side in (base, own))
        if before.keys() != after.keys() or before.keys() != own.weights.keys():
            continue
        total, told = sum(own.weights.values()), what_was_told(own)
        for name, weight in own.weights.items():
            kind = kind_of(own, name)
            found.append(
                Change(number, own.problem_id, name, kind, told[name], weight / total, before[name], after[name])
            )
    return found


def what_was_told(episode: Episode) -> dict[str, str]:
    """For each attribute of the profile one of `TOLD`; see `Change`."""
    revealed = {question.revealed for question in episode.questions}
    reader = reader_of(episode)
    asked = {reader(question.text) for question in episode.questions} if reader else set()
    rest = UNASKED if reader or not episode.questions else UNREVEALED
    return {name: REVEALED if name in revealed else ASKED if name in asked else rest for name in episode.weights}


def decomposition(found: Sequence[Change], by: Callable[[Change], str]) -> dict[str, Parts]:
    """The parts of each group, the most harmful first, and of "all" together, last. Empty for no changes.

    Intervals are clustered by problem.
    """
    if not found:
        return {}
    groups: dict[str, list[Change]] = defaultdict(list)
    for change in found:
        groups[by(change)].append(change)
    problems = dict(sorted({change.unit: change.problem for change in found}.items()))
    boot = Bootstrap(list(problems.values()))
    parts = {name: _parts(boot, problems, group) for name, group in groups.items()}
    order = sorted(parts, key=lambda name: (parts[name].net["mean"], name))
    return {**{name: parts[name] for name in order}, ALL: _parts(boot, problems, found)}


def _parts(boot: Bootstrap, problems: dict[int, str], group: Iterable[Change]) -> Parts:
    rows = list(group)

    def share(hit: Callable[[Change], bool], among: Callable[[Change], bool], reason: str = "no criteria") -> Estimate:
        some = [change for change in rows if among(change)]
        problems_of = [change.problem for change in some]
        if 0 < len(set(problems_of)) < LEAST:
            return {"mean": None, "ci": None, "reason": FEW}
        return boot.mean(problems_of, [float(hit(change)) for change in some], reason)

    def average(value: Callable[[Change], float]) -> Estimate:
        """Per unit, of all units: those without a criterion of the group count as 0."""
        sums = dict.fromkeys(problems, 0.0)
        for change in rows:
            sums[change.unit] += value(change)
        return boot.mean(list(problems.values()), list(sums.values()), "no units")

    return Parts(
        criteria=len(rows),
        weight=average(lambda change: change.weight),
        fell=share(_fell, _any),
        rose=share(lambda change: change.after > change.before, _any),
        right=share(_was_right, _any),
        overcorrected_share=share(_fell, _was_right, "the baseline met none of them"),
        lost=average(lambda change: min(change.contribution, 0.0)),
        overcorrected=average(lambda change: min(change.contribution, 0.0) if _was_right(change) else 0.0),
        won=average(lambda change: max(change.contribution, 0.0)),
        net=average(lambda change: change.contribution),
    )


def _any(change: Change) -> bool:
    return True


def _fell(change: Change) -> bool:
    return change.after < change.before


def _was_right(change: Change) -> bool:
    return change.before == MET
