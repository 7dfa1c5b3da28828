"""Which question to ask next: policies over a belief about the person, and the ceiling that agents are compared with.

A policy sees what was answered so far and names an attribute, or None to stop. The gain of a question is the expected
rise in PrefAlign of the best plan. Whatever a policy looks at, a question costs `cost` alignment points, and asking
stops at the budget or when no question gains more than it costs. Names follow PEP (arXiv 2602.15012).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from prefdisco.extensions import is_own, load_own
from prefdisco.schema import Preference, Scenario

Answered = Sequence[tuple[str, str | None]]
WORTHLESS = 1e-9  # alignment points; a gain below it is rounding
TINY = 1e-12  # no chance is nearer to 0 or 1 where its logarithm is taken
LOOK_AHEAD = 9  # questions that `exact` looks behind, those of the highest gain: all of them in Pocket
DISCOUNT = 0.9  # what a gain counts that comes a question later: people may leave, and of orders one is the best


class Belief(Protocol):
    """What is known about a person. Immutable; equal keys mean equal beliefs.

    `outcomes`: the possible answers to a question, (probability, value or None for no preference); the given answer
    where it was asked. `matters`: P(attribute matters to the person) of each candidate. `gains`: of each candidate not
    asked yet, in alignment points; `prospects`: of each answer to such a question, (probability, the highest of the
    gains after it, or 0). `expected_alignment`: of the best plan, on 1..5, as the belief has it; `plan_alignment`: the
    same plan, graded for somebody with this profile. `inferred`: what that plan follows without having been told, where
    it is expected to gain `least` alignment points; the highest gain first. `wanted`: E[weight x 1(value is wanted)] of
    each attribute and value.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def answered(self) -> Answered: ...
    @property
    def candidates(self) -> tuple[str, ...]: ...
    def outcomes(self, attribute: str) -> list[tuple[float, str | None]]: ...
    def answer(self, attribute: str, value: str | None) -> Self: ...
    def matters(self) -> dict[str, float]: ...
    def gains(self) -> dict[str, float]: ...
    def prospects(self, attribute: str) -> list[tuple[float, float]]: ...
    def expected_alignment(self) -> float: ...
    def plan_alignment(self, profile: Iterable[Preference]) -> float: ...
    def inferred(self, least: float) -> list[tuple[str, str]]: ...
    def wanted(self) -> dict[tuple[str, str], float]: ...


B = TypeVar("B", bound=Belief)
BeliefFactory = Callable[[Scenario], Belief]


class Policy(Protocol):
    """A way to choose questions."""

    name: str

    def next_attribute(self, scenario: Scenario, answered: Answered, seed: int) -> str | None:
        """The attribute to ask about after `answered` (attribute, value or None), or None to stop."""
        ...


class BudgetedPolicy:
    """Replays the answers, checks budget and cost, and leaves the choice to `choose`. The base of policies."""

    name = ""

    def __init__(self, factory: BeliefFactory, budget: int, cost: float) -> None:
        self.factory, self.budget, self.cost = factory, budget, cost

    def next_attribute(self, scenario: Scenario, answered: Answered, seed: int) -> str | None:
        left = self.budget - len(answered)
        if left <= 0:
            return None
        belief = replay(self.factory(scenario), answered)
        return self.choose(scenario, belief, left, seed)

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        """The attribute to ask about with `left` questions to go; overridden by each policy."""
        raise NotImplementedError

    def worth_asking(self, belief: Belief) -> dict[str, float]:
        """The gains of the questions not asked yet, empty if none is worth its cost."""
        gains = belief.gains()
        return gains if max(gains.values(), default=0.0) - self.cost > WORTHLESS else {}


class RandomPolicy(BudgetedPolicy):
    """Any candidate attribute that was not asked yet."""

    name = "random"

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        open_ = list(self.worth_asking(belief))
        return random.Random(f"{seed}/{scenario.id}/{left}").choice(open_) if open_ else None


class FixedPolicy(BudgetedPolicy):
    """The same list for everybody: candidates by their gain before any answer."""

    name = "fixed"

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        open_ = self.worth_asking(belief)
        first = self.factory(scenario).gains()
        return best(first, among=open_) if open_ else None


class UncertaintyPolicy(BudgetedPolicy):
    """The attribute of which it is least certain whether it matters."""

    name = "uncertainty"

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        open_, matters = self.worth_asking(belief), belief.matters()
        unsure = {name: -abs(matters[name] - 0.5) for name in open_}  # the entropy's order
        return best(unsure, among=open_) if open_ else None


class ExpectedValuePolicy(BudgetedPolicy):
    """The question of the highest gain, one step ahead."""

    name = "expected_value"

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        gains = self.worth_asking(belief)
        return best(gains, among=gains) if gains else None


class _SearchingPolicy(BudgetedPolicy):
    """A policy whose choice is costly and depends on the belief alone: made once for each belief."""

    def __init__(self, factory: BeliefFactory, budget: int, cost: float) -> None:
        super().__init__(factory, budget, cost)
        self._chosen: dict[tuple[Hashable, bool], str | None] = {}

    def choose(self, scenario: Scenario, belief: Belief, left: int, seed: int) -> str | None:
        place = (belief.key, left > 1)
        if place not in self._chosen:
            self._chosen[place] = self.search(belief, left)
        return self._chosen[place]

    def search(self, belief: Belief, left: int) -> str | None:
        """The choice for this belief; overridden by each policy."""
        raise NotImplementedError


class InformationGainPolicy(_SearchingPolicy):
    """The question whose answer says most about which attributes matter.

    IG(a) = sum over b of I(answer to a; b matters), the expected fall in the entropy of "has this preference" over all
    candidates. The answers' own mean stands for the present belief, so IG is never negative, even of a belief whose
    predictions do not agree with its updates.
    """

    name = "information_gain"

    def search(self, belief: Belief, left: int) -> str | None:
        open_ = self.worth_asking(belief)
        return best({name: information(belief, name) for name in open_}, among=open_) if open_ else None


class TwoStepPolicy(_SearchingPolicy):
    """The question of the highest gain together with the best question after its answer, which counts DISCOUNT."""

    name = "exact"

    def search(self, belief: Belief, left: int) -> str | None:
        values = lookahead(belief, self.cost, left)
        if max(values.values(), default=0.0) <= WORTHLESS:
            return None
        return best(values, among=values)


POLICIES: dict[str, Callable[[BeliefFactory, int, float], BudgetedPolicy]] = {
    policy.name: policy
    for policy in (
        RandomPolicy,
        FixedPolicy,
        UncertaintyPolicy,
        ExpectedValuePolicy,
        InformationGainPolicy,
        TwoStepPolicy,
    )
}


def get_policy(name: str, belief_factory: BeliefFactory, budget: int = 5, cost: float = 0.0) -> Policy:
    """A policy by its name in POLICIES, or FILE.py:CLASS, a class that is called as those in POLICIES are.

    `exact` looks two steps ahead.

    `cost` is in alignment points a question. Raises ValueError for an unknown name or a negative number.
    """
    if name not in POLICIES and not is_own(name):
        raise ValueError(f"elicitation: unknown policy {name!r}; choose one of {', '.join(POLICIES)}")
    if budget < 0 or cost < 0:
        raise ValueError(f"elicitation: budget and cost must not be negative, got budget={budget}, cost={cost}")
    maker = load_own(name, "policy") if is_own(name) else POLICIES[name]
    policy: Policy = maker(belief_factory, budget, cost)
    return policy


def best(gains: Mapping[str, float], among: Iterable[str]) -> str:
    """The name of the highest gain; ties within rounding go to the first."""
    names = list(among)
    top = max(gains[name] for name in names)
    return next(name for name in names if gains[name] > top - WORTHLESS)


def surest(gains: Mapping[tuple[str, str], float], least: float) -> list[tuple[str, str]]:
    """Of (attribute, value) -> what following it is expected to gain: those of at least `least`, the highest first."""
    enough = [each for each, gain in gains.items() if gain > WORTHLESS and gain >= least]
    return sorted(enough, key=lambda each: -gains[each])


def lookahead(belief: Belief, cost: float, left: int) -> dict[str, float]:
    """Attribute -> what asking about it gains and, where `left` allows one, DISCOUNT x what the best question after its
    answer gains, each less its `cost`; of the LOOK_AHEAD attributes of the highest gain."""
    gains = belief.gains()
    ahead = sorted(gains, key=lambda name: -gains[name])[:LOOK_AHEAD] if len(gains) > LOOK_AHEAD else list(gains)
    values = {attribute: gains[attribute] - cost for attribute in ahead}
    if left > 1:
        for attribute in values:
            after = sum(chance * max(0.0, gain - cost) for chance, gain in belief.prospects(attribute))
            values[attribute] += DISCOUNT * after
    return values


def worth(gains: Mapping[str, float], cost: float, most: int) -> float:
    """What up to `most` questions are expected to bring beyond their cost, as if none told of another."""
    return sum(sorted((gain - cost for gain in gains.values() if gain > cost), reverse=True)[:most])


def entropy(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a yes or no with each of these chances, in nats."""
    inside = np.clip(chances, TINY, 1 - TINY)
    nats: NDArray[np.float64] = -inside * np.log(inside) - (1 - inside) * np.log1p(-inside)
    return nats


def information(belief: Belief, attribute: str) -> float:
    """Sum over b of the mutual information of the answer to `attribute` and "b matters", in nats."""
    outcomes = [(chance, value) for chance, value in belief.outcomes(attribute) if chance > WORTHLESS]
    chances = np.array([chance for chance, _ in outcomes]) / sum(chance for chance, _ in outcomes)
    after = np.array([list(belief.answer(attribute, value).matters().values()) for _, value in outcomes])
    return float((entropy(chances @ after) - chances @ entropy(after)).sum())


def replay(belief: B, answered: Answered) -> B:
    """The belief after all of these answers."""
    for attribute, value in answered:
        belief = belief.answer(attribute, value)
    return belief


def interview(policy: Policy, scenario: Scenario, seed: int = 0) -> list[tuple[str, str | None]]:
    """Let `policy` question the person of `scenario`, who answers truthfully: (attribute, value or None) in order."""
    answered: list[tuple[str, str | None]] = []
    while (attribute := policy.next_attribute(scenario, answered, seed)) is not None:
        preference = scenario.preference(attribute)
        answered.append((attribute, preference.value if preference else None))
    return answered


def ceiling(
    scenarios: Iterable[Scenario],
    belief_factory: BeliefFactory,
    budget: int = 5,
    cost: float = 0.0,
    policy: str = "exact",
) -> dict[str, dict[str, float]]:
    """What an exact questioner with a perfect writer reaches: scenario id -> {"alignment": 1..5, "questions": count}.

    The questioner knows the population but not the person; `policy="expected_value"` looks one step ahead, not two.
    """
    questioner = get_policy(policy, belief_factory, budget, cost)
    reached: dict[str, dict[str, float]] = {}
    for scenario in scenarios:
        answered = interview(questioner, scenario)
        final = replay(belief_factory(scenario), answered)
        reached[scenario.id] = {"alignment": final.plan_alignment(scenario.profile), "questions": float(len(answered))}
    return reached
