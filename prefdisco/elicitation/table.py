"""Training scenarios as arrays: what belief models are fitted on.

One table holds the scenarios of one group, a task and domain, whose problems share attributes; a context is a family
of the group (one nameless context where there are none). Rates are backed off: a context's to its group's, a group's to
those of all training scenarios. There is no threshold below which an attribute is dropped, and an attribute that a
context never saw gets what its group knows of it, so never more than it would get if it had been seen
(PEP's released settings do both, arXiv 2602.15012).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefdisco.hashing import stable_seed
from prefdisco.schema import Scenario

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 40  # candidates of a group: those of the highest expected weight
ROOT, TIE = 1.0, 5.0  # scenarios that the pooled rates count for in a group, and the group's rates in a context
HELD = 5  # every fifth person is held out where something is chosen by how well it predicts


def group_of(scenario: Scenario) -> tuple[str, str]:
    """(task, domain): scenarios that share their attributes."""
    return scenario.problem.task, scenario.problem.domain


def context_of(scenario: Scenario) -> str:
    """The family of the problem, empty where it has none."""
    return scenario.problem.family or ""


@dataclass(frozen=True)
class Table:
    """n scenarios of one group over A candidates with at most V values each, and C contexts.

    `answers` (n, A): 0 where the attribute does not matter, else 1 + index of the value. `weights` (n, A): zero where
    it does not matter. `rows` (n,): index of the context. `pooled` (A, 1 + V): share of *all* training scenarios that
    answer so; `typical` (A,): their mean weight where it matters. Both are smoothed.
    """

    attributes: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    answers: Ints
    weights: Floats
    contexts: tuple[str, ...]
    rows: Ints
    people: tuple[str, ...]
    pooled: Floats
    typical: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def possible(self) -> Floats:
        """(A, V): 1 for the values that an attribute has, 0 for padding."""
        counts = np.array([len(values) for values in self.values])
        return (np.arange(self.pooled.shape[1] - 1) < counts[:, None]).astype(float)

    @cached_property
    def one_hot(self) -> Floats:
        """(n, A, 1 + V) of the answers."""
        return np.eye(self.pooled.shape[1])[self.answers]

    @cached_property
    def blocks(self) -> list[tuple[Ints, Floats]]:
        """Of each context: the indices of its m scenarios, and their answers as rows (m, A (1 + V)) of 0 and 1."""
        flat = self.one_hot.reshape(len(self), -1)
        found = [np.flatnonzero(self.rows == context) for context in range(len(self.contexts))]
        return [(rows, flat[rows]) for rows in found]

    def by_context(self, columns: Floats) -> Floats:
        """Sums of `columns` (n, ...) over the scenarios of each context: (C, ...)."""
        return np.stack([columns[rows].sum(0) for rows, _ in self.blocks])

    def split(self) -> tuple[Table, Table]:
        """(what to fit on, what to choose by): every HELD-th person by a hash of the name is held out."""
        order = sorted(set(self.people), key=lambda person: (stable_seed("held", person), person))
        held = set(order[HELD - 1 :: HELD])
        mask = np.array([person in held for person in self.people])
        return self._subset(~mask), self._subset(mask)

    def _subset(self, mask: NDArray[Any]) -> Table:
        people = tuple(person for person, keep in zip(self.people, mask, strict=True) if keep)
        return replace(
            self, answers=self.answers[mask], weights=self.weights[mask], rows=self.rows[mask], people=people
        )


def backed_off(hits: Floats, trials: Floats, root: Floats, tie: float = TIE) -> Floats:
    """Shrunken rates (C + 1, ...) of counts (C, ...): the last row is the group's, for contexts it has not seen.

    group = (sum of hits + ROOT root) / (sum of trials + ROOT), context = (hits + tie group) / (trials + tie).
    """
    group = (hits.sum(0) + ROOT * root) / (trials.sum(0) + ROOT)
    rates: Floats = np.concatenate([(hits + tie * group) / (trials + tie), group[None]])
    return rates


def tables(scenarios: Sequence[Scenario]) -> dict[tuple[str, str], Table]:
    """The table of every group."""
    groups: dict[tuple[str, str], list[Scenario]] = {}
    for scenario in scenarios:
        groups.setdefault(group_of(scenario), []).append(scenario)
    return {group: _table(members, scenarios, context_of) for group, members in groups.items()}


def whole_table(scenarios: Sequence[Scenario]) -> Table:
    """All scenarios in one context: for groups that no training scenario is of."""
    return _table(scenarios, scenarios, lambda scenario: "")


def _table(members: Sequence[Scenario], everybody: Sequence[Scenario], context: Callable[[Scenario], str]) -> Table:
    attributes = _candidates(members, everybody)
    seen: dict[str, Counter[str]] = {name: Counter() for name in attributes}
    weight = dict.fromkeys(attributes, 0.0)
    for preference in (p for scenario in everybody for p in scenario.profile if p.attribute in seen):
        seen[preference.attribute][preference.value] += 1
        weight[preference.attribute] += preference.weight
    values = tuple(tuple(sorted(seen[name])) for name in attributes)
    answers = np.zeros((len(members), len(attributes)), dtype=np.int64)
    weights = np.zeros(answers.shape)
    column = {name: number for number, name in enumerate(attributes)}
    for row, scenario in enumerate(members):
        for preference in (p for p in scenario.profile if p.attribute in seen):
            a = column[preference.attribute]
            answers[row, a], weights[row, a] = 1 + values[a].index(preference.value), preference.weight
    contexts = tuple(sorted({context(scenario) for scenario in members}))
    return Table(
        attributes=attributes,
        values=values,
        answers=answers,
        weights=weights,
        contexts=contexts,
        rows=np.array([contexts.index(context(scenario)) for scenario in members], dtype=np.int64),
        people=tuple(scenario.persona.id for scenario in members),
        pooled=_pooled([[seen[name][value] for value in sorted(seen[name])] for name in attributes], len(everybody)),
        typical=np.array([weight[name] / sum(seen[name].values()) for name in attributes]),
    )


def _candidates(members: Sequence[Scenario], everybody: Sequence[Scenario]) -> tuple[str, ...]:
    """The attributes of the highest expected weight in the group, backed off to that in all scenarios, by name."""
    mass: dict[str, float] = {}
    for scenarios, share in ((members, 1.0), (everybody, ROOT / len(everybody))):
        for preference in (p for scenario in scenarios for p in scenario.profile):
            mass[preference.attribute] = mass.get(preference.attribute, 0.0) + share * preference.weight
    ranked = sorted(mass, key=lambda name: (-mass[name], name))
    return tuple(sorted(ranked[:MOST]))


def _pooled(counts: Sequence[Sequence[int]], total: int) -> Floats:
    """(A, 1 + V): P(matters) with half a scenario added to each side, and one spread over the values."""
    rates = np.zeros((len(counts), 1 + max(map(len, counts))))
    for a, row in enumerate(counts):
        matters = (sum(row) + 0.5) / (total + 1)
        rates[a, 0] = 1 - matters
        rates[a, 1 : 1 + len(row)] = matters * (np.array(row) + 1 / len(row)) / (sum(row) + 1)
    return rates
