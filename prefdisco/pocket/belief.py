"""The exact posterior over a person's profile, given the answers to questions.

Hidden state: the type k and the subset s of candidates that matter, K x 336 states. Given (k, s), values are
independent of each other and of importances, so the answer "attribute a: value v" multiplies P(k, s) by
1[a in s] q[k, a, v], and "no preference" by 1[a not in s]. The expected weight W[k, s, b] = E[w_b | k, s] is exact: the
noise of importances is enumerated. P x W, summed over subsets with and without a, gives all one-step gains at once;
summed over those with and without a and a', all gains after the answer to a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property, lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prefdisco.elicitation.policies import surest
from prefdisco.pocket.attributes import ATTRIBUTES, GENERIC_PLAN, STRUCTURAL, plan_grade
from prefdisco.pocket.people import HELD_OUT_TYPES, TYPES, PersonType
from prefdisco.pocket.population import KNOWN_TYPES, NOISE, Floats, invented, process
from prefdisco.schema import Preference, Scenario

TypeSplit = Literal["train", "heldout", "any"]
REMEMBERED: dict[TypeSplit, int] = {"train": 4096, "heldout": 4096, "any": 256}  # beliefs, of 3 KB a type
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


def types_of(split: TypeSplit) -> tuple[tuple[PersonType, ...], Floats]:
    """The types of people that there are in a split, and how likely each is. A person of `any` type is, in half of the
    cases, of one that could be, and else of one of training."""
    if split == "any":
        made = invented()
        return (*KNOWN_TYPES, *made), np.repeat(
            [0.5 / len(KNOWN_TYPES), 0.5 / len(made)], [len(KNOWN_TYPES), len(made)]
        )
    kinds = KNOWN_TYPES if split == "train" else tuple(kind for kind in TYPES if kind.name in HELD_OUT_TYPES)
    return kinds, np.full(len(kinds), 1 / len(kinds))


@cache
def _law(family: str, split: TypeSplit) -> Law:
    return Law(family, split)


class Law:
    """What answers do not change, for the types of one split: K types, N subsets, A candidates, V values, O options.

    `start` (K, N): prior of type and subset. `weights` (K, N, A): expected weights. `chance` (A, 1 + V, K): of an
    answer, given absence at index 0 and presence elsewhere. `grades` (K, A, O): expected grade of an option, given
    presence; option 0 is the generic one. `with_met` (K, A, O + 1): the same, and last an option that meets the
    preference. `both` (N, A, A): whether two candidates matter. `graded` (A, B, K, V (O + 1)): chance of a value of A x
    grade of an option of B.
    """

    def __init__(self, family: str, split: TypeSplit) -> None:
        kinds, shares = types_of(split)
        base, count = process(family, kinds), len(kinds)
        self.candidates, self.subsets = base.candidates, base.subsets
        self.types = tuple(kind.name for kind in kinds)
        self.start, values = base.prior * shares[:, None], base.values
        self.weights = np.zeros((count, *base.subsets.shape))
        for k, n in np.ndindex(count, len(base.subsets)):
            present = np.flatnonzero(base.subsets[n])
            order = present[np.argsort(base.importance[k, present], kind="stable")]
            self.weights[k, n, order] = expected_weights(tuple(base.importance[k, order].tolist()))
        self.options: list[tuple[str | None, ...]] = []
        for name in self.candidates:
            absent: tuple[str | None, ...] = () if name in STRUCTURAL else (None,)
            self.options.append(absent + ATTRIBUTES[name].values)
        self.chance = np.concatenate([np.ones((count, len(self.candidates), 1)), values], axis=2).transpose(1, 2, 0)
        self.grades = np.zeros((count, len(self.candidates), max(map(len, self.options))))
        for i, name in enumerate(self.candidates):
            for j, option in enumerate(self.options[i]):
                column = np.array([plan_grade(option, v) for v in ATTRIBUTES[name].values], dtype=float)
                self.grades[:, i, j] = values[:, i, : len(column)] @ column
        self.both = base.subsets[:, :, None] * base.subsets[:, None]
        self.with_met = np.concatenate([self.grades, np.full((*self.grades.shape[:2], 1), float(MET))], 2)
        pairs = np.einsum("avk,kbo->abkvo", self.chance[:, 1:], self.with_met)
        self.graded = pairs.reshape(*pairs.shape[:3], -1)

    def after_asking(self, mass: Floats, present: Floats, known: NDArray[np.bool_]) -> Floats:
        """(X, A): expected alignment of the best plan once A is answered, under each of X beliefs.

        `mass` (X, K, B): P(k) E[w_b | k]. `present` (X, K, A, B): the part of it where A matters. `known` (X, B):
        whether it is known what is wanted of B.
        """
        count, _, size, _ = present.shape
        grades = self.with_met.transpose(1, 0, 2)  # (B, K, O + 1)
        absent = (mass[:, :, None] - present).transpose(2, 3, 0, 1) @ grades  # (A, B, X, O + 1)
        inside = present.transpose(2, 3, 0, 1) @ self.graded
        scores = np.concatenate([absent[..., None, :], inside.reshape(size, size, count, -1, absent.shape[-1])], 3)
        met = np.broadcast_to(known.T[None, :, :, None], scores.shape[:-1]).copy()
        met[range(size), range(size), :, 1:] = True  # the plan follows the answer
        total: Floats = best(scores, met).sum((1, 3)).T
        return total


def best(scores: Floats, met: NDArray[np.bool_]) -> Floats:
    """The highest of the scores (..., O + 1) but the last, which stands for what meets the preference; that one where
    `met` (...)."""
    return np.where(met, scores[..., -1], scores[..., :-1].max(-1))


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

    @property
    def _mass(self) -> Floats:
        return self._joint[:, :, None] * self._law.weights  # (K, N, A): P(k, s) E[w_a | k, s]

    @cached_property
    def _weight(self) -> Floats:
        return self._mass.sum(1)  # (K, A)

    @property
    def _known(self) -> NDArray[np.bool_]:
        known = dict(self.answered)
        return np.array([known.get(name) is not None for name in self.candidates])

    @cached_property
    def _scores(self) -> Floats:
        """(A, O): expected w x grade of each option."""
        law, known = self._law, dict(self.answered)
        grades = law.grades.copy()
        for i, name in enumerate(law.candidates):
            value = known.get(name)
            if value is not None:
                grades[:, i, : len(law.options[i])] = [plan_grade(option, value) for option in law.options[i]]
        scores: Floats = np.einsum("ka,kao->ao", self._weight, grades)
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
        return dict(self._gains)

    @cached_property
    def _gains(self) -> dict[str, float]:
        present = np.matmul(self._law.subsets.T[None], self._mass)  # (K, A asked, A)
        after = self._law.after_asking(self._weight[None], present[None], self._known[None])[0]
        now, asked = self.expected_alignment(), dict(self.answered)
        return {name: float(after[i]) - now for i, name in enumerate(self.candidates) if name not in asked}

    def prospects(self, attribute: str) -> list[tuple[float, float]]:
        """Of each answer to a question not asked yet: (probability, the highest of the gains after it, or 0)."""
        return self._prospects[attribute]

    @cached_property
    def _prospects(self) -> dict[str, list[tuple[float, float]]]:
        law, size = self._law, len(self.candidates)
        asked = {name for name, _ in self.answered}
        open_ = [i for i, name in enumerate(self.candidates) if name not in asked]
        pairs = np.matmul(law.both.reshape(len(law.both), -1).T[None], self._mass).reshape(-1, size, size, size)
        single = np.diagonal(pairs, axis1=1, axis2=2).transpose(0, 2, 1)  # (K, A, B): the mass of B where A matters
        found = {}
        for i in open_:
            outcomes = self.outcomes(self.candidates[i])
            values = law.chance[i, 1 : len(outcomes)]  # (V, K)
            mass = np.concatenate([(self._weight - single[:, i])[None], values[:, :, None] * single[:, i]])
            present = np.concatenate([(single - pairs[:, i])[None], values[:, :, None, None] * pairs[:, i]])
            known = np.repeat(self._known[None], len(mass), 0)
            known[1:, i] = True
            now = best(np.einsum("xkb,kbo->xbo", mass, law.with_met), known).sum(1)
            gains = law.after_asking(mass, present, known) - now[:, None]  # (X, A), times the chance of the answer
            highest = gains[:, [j for j in open_ if j != i]].max(1, initial=0.0).tolist()
            found[self.candidates[i]] = [
                (chance, gain / chance if chance > TIE else 0.0)
                for (chance, _), gain in zip(outcomes, highest, strict=True)
            ]
        return found

    def best_plan(self) -> dict[str, str | None]:
        """The option of every attribute with the highest expected alignment; ties go to the generic option."""
        plan = dict(GENERIC_PLAN)
        for i, name in enumerate(self.candidates):
            scores = self._scores[i, : len(self._law.options[i])]
            plan[name] = self._law.options[i][int(np.flatnonzero(scores > scores.max() - TIE)[0])]
        return plan

    def inferred(self, least: float) -> list[tuple[str, str]]:
        """(attribute, value) that `best_plan` follows without having been told, and that is expected to gain `least`
        alignment points over what a generic answer does; the highest gain first."""
        plan, known, gains = self.best_plan(), dict(self.answered), dict[tuple[str, str], float]()
        for i, name in enumerate(self.candidates):
            value = plan[name]
            if value is not None and name not in known:
                gains[name, value] = float(self._scores[i].max() - self._scores[i, 0])  # option 0 is the generic one
        return surest(gains, least)

    def wanted(self) -> dict[tuple[str, str], float]:
        """E[weight x 1(value is wanted)] of each attribute and value; they sum to 1."""
        found, known, mass = dict[tuple[str, str], float](), dict(self.answered), self._weight
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


def _belief(family: str, split: TypeSplit, answered: Answers) -> Belief:
    return _remembering(split)(family, split, answered)


@cache
def _remembering(split: TypeSplit) -> Callable[[str, TypeSplit, Answers], Belief]:
    return lru_cache(maxsize=REMEMBERED[split])(_posterior)


def _posterior(family: str, split: TypeSplit, answered: Answers) -> Belief:
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

    `split="train"` is how those see a stranger who have met the training people only, however well; "any" how
    those do who know how types are made too, and that a stranger may be of another.
    """
    if scenario.problem.family is None:
        raise ValueError(f"belief: scenario {scenario.id} has no family; exact beliefs exist for Pocket scenarios only")
    own: TypeSplit = "heldout" if scenario.persona.type in HELD_OUT_TYPES else "train"
    return prior(scenario.problem.family, split or own)
