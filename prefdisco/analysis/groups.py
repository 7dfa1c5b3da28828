"""The main figures by task, domain, family, and kind of attribute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from prefdisco.analysis.known import UNKNOWN, kind_of, task_of
from prefdisco.analysis.regression import LEAST
from prefdisco.bootstrap import Bootstrap, Estimate
from prefdisco.measures import Measure, Played, estimate, measure, played, units
from prefdisco.metrics import preference_alignment
from prefdisco.schema import Episode

GROUPINGS: dict[str, Callable[[Episode], str]] = {
    "task": task_of,
    "domain": lambda episode: episode.domain or UNKNOWN,
    "family": lambda episode: episode.family or UNKNOWN,
}
BASELINE, ORACLE = "baseline", "oracle"
FEW = f"fewer than {LEAST} problems"


class Figures(NamedTuple):
    """The figures of one group of episodes, none where they would rest on fewer than three problems."""

    episodes: int
    problems: int
    accuracy: dict[str, Estimate]  # by condition: baseline, the one that is looked at, oracle
    alignment: dict[str, Estimate]
    normalized: Estimate
    negative: Estimate


def figures(episodes: Sequence[Episode], condition: str = "discovery") -> Figures:
    """The figures of these episodes; the resamples are drawn among their own problems."""
    good = [episode for episode in episodes if episode.error is None]
    boot, by_condition = Bootstrap([episode.problem_id for episode in good]), played(good)
    names = (BASELINE, condition, ORACLE)
    return Figures(
        episodes=len(good),
        problems=len(boot.index),
        accuracy={name: _estimate(boot, by_condition, measure("accuracy", name)) for name in names},
        alignment={name: _estimate(boot, by_condition, measure("alignment", name)) for name in names},
        normalized=_estimate(boot, by_condition, measure("normalized_alignment", condition)),
        negative=_estimate(boot, by_condition, measure("negative_rate", condition)),
    )


def grouped(episodes: Iterable[Episode], of: Callable[[Episode], str]) -> dict[str, list[Episode]]:
    """The episodes without error of each group, by its name in alphabetical order, what is not known last."""
    found: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.error is None:
            found[of(episode)].append(episode)
    return {name: found[name] for name in sorted(found, key=lambda name: (name == UNKNOWN, name))}


def by_kind(episodes: Iterable[Episode]) -> dict[str, list[Episode]]:
    """Kind of attribute -> the episodes as if the profile held attributes of this kind alone: alignment is that of its
    criteria, their weights scaled to sum to one. Whether the response is right has no part in a kind.

    An episode without a criterion of a kind is not in its list.
    """
    found: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.error is not None:
            continue
        names: dict[str, list[str]] = defaultdict(list)
        for attribute in episode.weights:
            names[kind_of(episode, attribute)].append(attribute)
        for kind, attributes in names.items():
            weights = {name: episode.weights[name] for name in attributes}
            grades = tuple(grade for grade in episode.grades if grade.attribute in weights)
            if len(grades) == len(weights) and sum(weights.values()) > 0:
                own = {"weights": weights, "grades": grades, "alignment": preference_alignment(grades, weights)}
                found[kind].append(episode.model_copy(update=own))
    return {kind: found[kind] for kind in sorted(found, key=lambda name: (name == UNKNOWN, name))}


def _estimate(boot: Bootstrap, by_condition: Played, what: Measure) -> Estimate:
    """The estimate, unless it would rest on so few problems that its interval means nothing."""
    if 0 < len({each[0].problem_id for each in units(by_condition, *what.conditions)}) < LEAST:
        return {"mean": None, "ci": None, "reason": FEW}
    return estimate(boot, by_condition, what)
