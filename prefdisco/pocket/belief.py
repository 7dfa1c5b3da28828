"""The exact posterior over a person's profile, given the answers to questions.

Hidden state: the type k and the subset s of candidates that matter, K x 336 states. Given (k, s), values are
independent of each other and of importances, so the answer "attribute a: value v" multiplies P(k, s) by
1[a in s] q[k, a, v], and "no preference" by 1[a not in s]. The expected weight W[k, s, b] = E[w_b | k, s] is exact: the
noise of importances is enumerated. P x W, summed over subsets with and without a, gives all one-step gains at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property, lru_cache
from itertools import product
from typing import Literal

import numpy as np

from prefdisco.pocket.attributes import ATTRIBUTES, GENERIC_PLAN, STRUCTURAL, plan_grade
from prefdisco.pocket.people import HELD_OUT_TYPES, TYPES
from prefdisco.pocket.population import NOISE, Floats, process
from prefdisco.schema import Preference, Scenario

TypeSplit = Literal["train", "heldout"]
Answers = tuple[tuple[str, str | None], ...]

MET = 5  # the grade of a preference that the plan follows
TIE = 1e-9  # options closer than this are ties, which go to the plainer option


def plan_alignment(plan: dict[str, str | None], profile: Iterable[Preference]) -> float:
    """PrefAlign of a perfectly written plan, on 1..5: sum of weight x grade."""
    return sum(p.weight * plan_grade(plan[p.attribute], p.value) for p in profile)


@cache
def expected_weights(importances: tuple[int, ...]) -> tuple[float, ...]:
    """E[w_i] for attributes of these importances before noise, over all 3^n noises."""
    steps = np.array(list(product([step for step, _ in NOISE], repeat=len(importances))))
    chances = np.array(list(product([p for _, p in NOISE], repeat=len(importances)))).prod(1)
    noisy = steps + np.array(importances)
    return tuple((chances @ (noisy / noisy.sum(1, keepdims=True))).tolist())


@cache
def _law(family: str, split: TypeSplit) -> Law:
    return Law(family, split)


class Law:
    """What answers do not change, for the types of one split: K types, N subsets, A candidates, V values, O options.

    `start` (K, N): prior of type and subset. `weights` (K, N, A): expected weights. `chance` (A, 1 + V, K): of an
    answer, given absence at index 0 and presence elsewhere. `grades` (K, A, O): expected grade of an option, given
    presence; option 0 is the generic one.
    """

    def __init__(self, family: str, split: TypeSplit) -> None:
        base = process(family)
        rows = [k for k, kind in enumerate(TYPES) if (kind.name in HELD_OUT_TYPES) == (split == "heldout")]
        self.candidates, self.subsets = base.candidates, base.subsets
        self.types = tuple(TYPES[k].name for k in rows)
        self.start = base.prior[rows] / len(rows)
        values = base.values[rows]
        self.weights = np.zeros((len(rows), *base.subsets.shape))
        for k, row in enumerate(rows):
            for n, subset in enumerate(base.subsets):
                present = np.flatnonzero(subset)
                order = present[np.argsort(base.importance[row, present], kind="stable")]
                self.weights[k, n, order] = expected_weights(tuple(base.importance[row, order].tolist()))
        self.options: list[tuple[str | None, ...]] = []
        for name in self.candidates:
            absent: tuple[str | None, ...] = () if name in STRUCTURAL else (None,)
            self.options.append(absent + ATTRIBUTES[name].values)
        self.chance = np.concatenate([np.ones((len(rows), len(self.candidates), 1)), values], axis=2).transpose(1, 2, 0)
        self.grades = np.zeros((len(rows), len(self.candidates), max(map(len, self.options))))
        for i, name in enumerate(self.candidates):
            for j, option in enumerate(self.options[i]):
                column = np.array([plan_grade(option, v) for v in ATTRIBUTES[name].values], dtype=float)
                self.grades[:, i, j] = values[:, i, : len(column)] @ column


class Belief:
    """What is known about one person's profile on one family. Immutable; `answer` returns the next belief."""

    def __init__(self, law: Law, answered: Answers, joint: Floats, key: tuple[str, TypeSplit, Answers]) -> None:
        self._law, self._joint = law, joint
        self.answered, self.key = answered, key

    @property
    def candidates(self) -> tuple[str, ...]:
        """The attributes that can matter; anything else is known to be of no concern."""
        return self._law.candidates

    @cached_property
    def _presence(self) -> Floats:
        return self._joint @ self._law.subsets  # (K, A): P(k, a matters)

    @cached_property
    def _mass(self) -> Floats:
        return self._joint[:, :, None] * self._law.weights  # (K, N, A): P(k, s) E[w_a | k, s]

    @cached_property
    def _scores(self) -> Floats:
        """(A, O): expected w x grade of each option."""
        law, known = self._law, dict(self.answered)
        grades = law.grades.copy()
        for i, name in enumerate(law.candidates):
            value = known.get(name)
            if value is not None:
                grades[:, i, : len(law.options[i])] = [plan_grade(option, value) for option in law.options[i]]
        scores: Floats = np.einsum("ka,kao->ao", self._mass.sum(1), grades)
        return scores

    def outcomes(self, attribute: str) -> list[tuple[float, str | None]]:
        """How the person may answer when asked about `attribute`: (probability, value, or None for no preference)."""
        known = dict(self.answered)
        if attribute not in self.candidates or attribute in known:
            return [(1.0, known.get(attribute))]
        i = self.candidates.index(attribute)
        presence = self._presence[:, i]
        chances = self._law.chance[i, 1:] @ presence
        values = ATTRIBUTES[attribute].values
        return [(1 - float(presence.sum()), None), *((float(p), v) for p, v in zip(chances, values, strict=False))]

    def answer(self, attribute: str, value: str | None) -> Belief:
        """The belief after asking about `attribute` and hearing `value` (None: no preference).

        Raises ValueError for an answer that is impossible under the population: an unknown value, a second answer that
        differs from the first, or more or fewer preferences than anybody has.
        """
        known = dict(self.answered)
        if attribute in known or (attribute not in self.candidates and attribute in ATTRIBUTES and value is None):
            if known.get(attribute) != value:
                raise ValueError(f"belief: {attribute} was answered {known[attribute]!r} before and {value!r} now")
            return self
        if attribute not in self.candidates or (value is not None and value not in ATTRIBUTES[attribute].values):
            raise ValueError(f"belief: {attribute}={value!r} is no possible preference of family {self.key[0]}")
        rank = self.candidates.index
        answered = tuple(sorted((*self.answered, (attribute, value)), key=lambda pair: rank(pair[0])))
        return _belief(self.key[0], self.key[1], answered)

    def matters(self) -> dict[str, float]:
        """P(attribute matters | answers) of every candidate."""
        return dict(zip(self.candidates, self._presence.sum(0).tolist(), strict=True))

    def expected_alignment(self) -> float:
        """Expected PrefAlign of `best_plan`, on 1..5."""
        return float(self._scores.max(1).sum())

    def gains(self) -> dict[str, float]:
        """For each candidate that was not asked yet, the expected rise of `expected_alignment` when it is asked."""
        law, known = self._law, dict(self.answered)
        present = np.matmul(law.subsets.T[None], self._mass)  # (K, A asked, A)
        absent = self._mass.sum(1)[:, None] - present
        branches = np.concatenate([absent[:, :, None], np.repeat(present[:, :, None], law.chance.shape[1] - 1, 2)], 2)
        branches = branches * law.chance.transpose(2, 0, 1)[..., None]  # (K, A asked, outcomes, A)
        grades = law.grades.copy()
        for i, name in enumerate(law.candidates):
            if known.get(name) is not None:
                grades[:, i] = MET  # every option scored alike: the plan follows the answer
        best = np.einsum("kaob,kbp->aobp", branches, grades).max(3)
        for i in range(len(law.candidates)):
            best[i, 1:, i] = MET * branches[:, i, 1:, i].sum(0)
        after = best.sum((1, 2))
        now = self.expected_alignment()
        return {name: float(after[i]) - now for i, name in enumerate(law.candidates) if name not in known}

    def best_plan(self) -> dict[str, str | None]:
        """The option of every attribute with the highest expected alignment; ties go to the generic option."""
        plan = dict(GENERIC_PLAN)
        for i, name in enumerate(self.candidates):
            scores = self._scores[i, : len(self._law.options[i])]
            plan[name] = self._law.options[i][int(np.flatnonzero(scores > scores.max() - TIE)[0])]
        return plan

    def wanted(self) -> dict[tuple[str, str], float]:
        """E[weight x 1(value is wanted)] of each attribute and value; they sum to 1."""
        found, known, mass = dict[tuple[str, str], float](), dict(self.answered), self._mass.sum(1)  # (K, A)
        for i, name in enumerate(self.candidates):
            for place, value in enumerate(ATTRIBUTES[name].values, 1):
                chance = float(known[name] == value) if name in known else self._law.chance[i, place]
                found[name, value] = float((mass[:, i] * chance).sum())
        return found

    def plan_alignment(self, profile: Iterable[Preference]) -> float:
        """PrefAlign of `best_plan` for somebody with this profile, on 1..5."""
        return plan_alignment(self.best_plan(), profile)

    def type_posterior(self) -> dict[str, float]:
        """P(type | answers) over the types of the split."""
        return dict(zip(self._law.types, self._joint.sum(1).tolist(), strict=True))


@lru_cache(maxsize=4096)
def _belief(family: str, split: TypeSplit, answered: Answers) -> Belief:
    law = _law(family, split)
    joint = law.start
    for attribute, value in answered:
        i = law.candidates.index(attribute)
        inside = law.subsets[:, i]
        if value is None:
            joint = joint * (1 - inside)
        else:
            chance = law.chance[i, 1 + ATTRIBUTES[attribute].values.index(value)]
            joint = joint * inside * chance[:, None]
    total = joint.sum()
    if total <= 0:
        raise ValueError(f"belief: nobody in family {family} gives all of these answers: {answered}")
    return Belief(law, answered, joint / total, (family, split, answered))


def prior(family: str, split: TypeSplit = "train") -> Belief:
    """The belief about a stranger, with a uniform prior over the types of the split."""
    return _belief(family, split, ())


def belief(scenario: Scenario, split: TypeSplit | None = None) -> Belief:
    """The belief about the person of a Pocket scenario before any question: nothing but a split of types is known, that
    of the person's own or the one given.

    `split="train"` is how those see a stranger who have met the training people only, however well.
    """
    if scenario.problem.family is None:
        raise ValueError(f"belief: scenario {scenario.id} has no family; exact beliefs exist for Pocket scenarios only")
    own: TypeSplit = "heldout" if scenario.persona.type in HELD_OUT_TYPES else "train"
    return prior(scenario.problem.family, split or own)
