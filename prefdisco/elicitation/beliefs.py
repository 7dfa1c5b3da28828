"""Beliefs learned from training scenarios: what the answers so far say about a person's other preferences.

    factory = learn("bayesian", training_scenarios)
    belief = factory(scenario).answer("tone", "formal")

A belief knows of the scenario which problem it is (task, domain, family), never who the person is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from prefdisco.elicitation.classes import LatentTypes
from prefdisco.elicitation.grades import MET, NEUTRAL, Grade, plain_grade
from prefdisco.elicitation.models import Hybrid, ItemCF, ItemCFValue, Model, NaiveBayes, Prior, Reading
from prefdisco.elicitation.policies import surest
from prefdisco.elicitation.table import Floats, Table, context_of, group_of, tables, whole_table
from prefdisco.schema import DataError, Preference, Scenario

KEPT = 4096  # beliefs that the model of a group remembers
TIE = 1e-9  # options closer than this are ties, which go to assuming nothing
ELSEWHERE = ("", "")
Pairs = tuple[tuple[str, str | None], ...]

LEARNED: Mapping[str, Callable[[Table], Model]] = {
    "prior": Prior,
    "naive_bayes": NaiveBayes,
    "item_cf": ItemCF,
    "item_cf_value": ItemCFValue,
    "hybrid": Hybrid,
    "bayesian": LatentTypes,
}


class Law:
    """What answers do not change: a group's model, and its candidates' options with their grades.

    `grades` (A, 1 + V, V): grade less NEUTRAL of assuming nothing (first) or a value, for somebody who wants a value.
    """

    def __init__(self, name: str, group: tuple[str, str], table: Table, grade: Grade) -> None:
        self.name, self.group, self.table, self.grade = name, group, table, grade
        self.model = LEARNED[name](table)
        self.index = {attribute: number for number, attribute in enumerate(table.attributes)}
        self.grades = np.zeros((len(table.attributes), 1 + table.possible.shape[1], table.possible.shape[1]))
        for a, (attribute, values) in enumerate(zip(table.attributes, table.values, strict=True)):
            options = (None, *values, *[None] * (table.possible.shape[1] - len(values)))  # padding adds no option
            for o, option in enumerate(options):
                self.grades[a, o, : len(values)] = [grade(attribute, option, value) - NEUTRAL for value in values]
        self._beliefs: OrderedDict[tuple[int, Pairs], LearnedBelief] = OrderedDict()

    def context(self, name: str) -> int:
        """The row of a context; that of an unseen one is the last."""
        contexts = self.table.contexts
        return contexts.index(name) if name in contexts else len(contexts)

    def belief(self, context: int, answered: Pairs) -> LearnedBelief:
        """The belief after these answers, sorted by attribute."""
        place = (context, answered)
        found = self._beliefs.setdefault(place, LearnedBelief(self, context, answered))
        self._beliefs.move_to_end(place)
        if len(self._beliefs) > KEPT:
            self._beliefs.popitem(last=False)
        return found


class LearnedBelief:
    """What a model expects of one person. Immutable; `answer` returns the next belief.

    Expected alignment is NEUTRAL + sum over attributes of E[weight x (grade - NEUTRAL)]: a weight that no candidate
    accounts for counts as neutral.
    """

    def __init__(self, law: Law, context: int, answered: Pairs) -> None:
        self._law, self._context, self.answered = law, context, answered
        self.key = (law.name, law.group, context, answered)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The attributes that it can ask about; of others, the training scenarios say nothing."""
        return self._law.table.attributes

    @cached_property
    def _known(self) -> dict[int, str | None]:
        index = self._law.index
        return {index[attribute]: value for attribute, value in self.answered if attribute in index}

    @cached_property
    def _stats(self) -> Floats:
        law = self._law
        stats = law.model.start[self._context]
        for a, value in self._known.items():
            values = law.table.values[a]
            outcome = 0 if value is None else 1 + values.index(value) if value in values else -1
            stats = stats + law.model.evidence[self._context, a, outcome]
        return stats

    @cached_property
    def _reading(self) -> Reading:
        return self._law.model.read(self._context, self._stats)

    @cached_property
    def _open(self) -> Floats:
        """(A,): 1 for candidates that were not asked yet."""
        mask = np.ones(len(self.candidates))
        mask[list(self._known)] = 0
        return mask

    @cached_property
    def _scores(self) -> Floats:
        """(A, 1 + V): expected weight x (grade - NEUTRAL) of each option, zero where the answer is known."""
        scores: Floats = (self._law.grades @ self._reading.mass[..., None])[..., 0]
        return scores * self._open[:, None]

    def matters(self) -> dict[str, float]:
        """P(attribute matters | answers) of every candidate."""
        chances = self._reading.chances.sum(1)
        for a, value in self._known.items():
            chances[a] = value is not None
        return dict(zip(self.candidates, chances.tolist(), strict=True))

    def outcomes(self, attribute: str) -> list[tuple[float, str | None]]:
        """How the person may answer when asked about `attribute`: (probability, value, or None for no preference)."""
        known = dict(self.answered)
        if attribute in known or attribute not in self._law.index:
            return [(1.0, known.get(attribute))]
        a = self._law.index[attribute]
        chances = self._reading.chances[a].tolist()
        return [(1 - sum(chances), None), *zip(chances, self._law.table.values[a], strict=False)]

    def answer(self, attribute: str, value: str | None) -> LearnedBelief:
        """The belief after asking about `attribute` and hearing `value` (None: no preference).

        A value or an attribute that training never saw is taken note of. Raises ValueError for a second answer that
        differs from the first.
        """
        known = dict(self.answered)
        if attribute in known:
            if known[attribute] != value:
                raise ValueError(f"belief: {attribute} was answered {known[attribute]!r} before and {value!r} now")
            return self
        return self._law.belief(self._context, tuple(sorted((*self.answered, (attribute, value)), key=lambda p: p[0])))

    def expected_alignment(self) -> float:
        """Expected PrefAlign of `best_plan`, on 1..5."""
        settled = sum(self._reading.weights[a] for a, value in self._known.items() if value is not None)
        return float(NEUTRAL + (MET - NEUTRAL) * settled + self._scores.max(1).sum())

    def gains(self) -> dict[str, float]:
        """For each candidate that was not asked yet, what its answer is expected to add to the best plan's alignment.

        gain(a) = E_o max_plan E[alignment | o] - max_plan E_o E[alignment | o]. For a coherent model the second term is
        `expected_alignment`; for the others it keeps a drift of their beliefs from passing for information.
        """
        return dict(self._gains)

    def prospects(self, attribute: str) -> list[tuple[float, float]]:
        """Of each answer to a question not asked yet: (probability, the highest of the gains after it, or 0)."""
        return [
            (chance, max(self.answer(attribute, value).gains().values(), default=0.0) if chance > TIE else 0.0)
            for chance, value in self.outcomes(attribute)
        ]

    @cached_property
    def _gains(self) -> dict[str, float]:
        law, open_ = self._law, np.flatnonzero(self._open)  # Q open questions
        if not len(open_):
            return {}
        asked, answers = np.arange(len(open_)), 1 + law.table.possible.shape[1]
        chances = self._reading.chances[open_]
        chances = np.concatenate([1 - chances.sum(1, keepdims=True), chances], 1)  # (Q, 1 + V)
        after = law.model.read(self._context, self._stats + law.model.evidence[self._context, open_, :answers])
        mass = after.mass[:, :, open_]  # (Q asked, 1 + V, Q other, V)
        mass[asked, :, asked] = 0  # what was asked is known
        mass[asked[:, None], np.arange(1, answers), asked[:, None], np.arange(answers - 1)] = after.weights[
            asked, 1:, open_
        ]
        flat = mass.transpose(2, 0, 1, 3).reshape(len(open_), -1, answers - 1)
        scores = (flat @ law.grades[open_].transpose(0, 2, 1)).reshape(len(open_), len(open_), answers, answers)
        informed = (chances * scores.max(3).sum(0)).sum(1)
        ignorant = np.matmul(chances[None, :, None], scores)[:, :, 0].max(2).sum(0)
        return dict(zip((self.candidates[a] for a in open_), (informed - ignorant).tolist(), strict=True))

    def best_plan(self) -> dict[str, str | None]:
        """The option of every candidate with the highest expected alignment, and all known values."""
        table, plan = self._law.table, dict[str, str | None]()
        for a, name in enumerate(self.candidates):
            scores = self._scores[a, : 1 + len(table.values[a])]
            plan[name] = (None, *table.values[a])[int(np.flatnonzero(scores > scores.max() - TIE)[0])]
        return plan | dict(self.answered)

    def inferred(self, least: float) -> list[tuple[str, str]]:
        """(attribute, value) that `best_plan` follows without having been told, and that is expected to gain `least`
        alignment points; the highest gain first."""
        plan, known, gains = self.best_plan(), dict(self.answered), dict[tuple[str, str], float]()
        for a, name in enumerate(self.candidates):
            value = plan[name]
            if value is not None and name not in known:
                gains[name, value] = float(self._scores[a].max())
        return surest(gains, least)

    def wanted(self) -> dict[tuple[str, str], float]:
        """E[weight x 1(value is wanted)] of each attribute and value, as learned: they need not sum to 1."""
        table, found = self._law.table, dict[tuple[str, str], float]()
        for a, name in enumerate(self.candidates):
            for v, value in enumerate(table.values[a]):
                if a in self._known:
                    found[name, value] = float(self._reading.weights[a] * (self._known[a] == value))
                else:
                    found[name, value] = float(self._reading.mass[a, v])
        return found

    def plan_alignment(self, profile: Iterable[Preference]) -> float:
        """PrefAlign of `best_plan` for somebody with this profile, on 1..5."""
        plan = self.best_plan()
        return sum(p.weight * self._law.grade(p.attribute, plan.get(p.attribute), p.value) for p in profile)


class Learned:
    """The beliefs of one model about strangers; a belief factory."""

    def __init__(self, name: str, scenarios: Sequence[Scenario], grade: Grade) -> None:
        self.name, self._scenarios, self._grade = name, scenarios, grade
        self.laws = {group: Law(name, group, table, grade) for group, table in tables(scenarios).items()}
        self._elsewhere: Law | None = None

    def __call__(self, scenario: Scenario) -> LearnedBelief:
        """The belief about the person of `scenario` before any question."""
        law = self.laws.get(group_of(scenario)) or self.elsewhere()
        return law.belief(law.context(context_of(scenario)), ())

    def elsewhere(self) -> Law:
        """The law of groups that no training scenario is of: all scenarios as one. Fitted when it is first needed."""
        if self._elsewhere is None:
            self._elsewhere = Law(self.name, ELSEWHERE, whole_table(self._scenarios), self._grade)
        return self._elsewhere


def learn(name: str, scenarios: Sequence[Scenario], grade: Grade = plain_grade) -> Learned:
    """Fit the belief model `name`, one of LEARNED, on training scenarios; `grade` is what plans are measured by.

    Raises ValueError for an unknown name, DataError where there are no scenarios.
    """
    if name not in LEARNED:
        raise ValueError(f"elicitation: unknown belief {name!r}; choose one of {', '.join(LEARNED)}")
    if not scenarios:
        raise DataError(f"belief {name}: there are no training scenarios to learn from")
    return Learned(name, scenarios, grade)
