"""Claims about exact beliefs and question policies: the posterior is Bayes' rule, and looking ahead pays."""

from __future__ import annotations

import random
from functools import partial
from itertools import product
from statistics import fmean

import numpy as np
import pytest

from prefdisco.elicitation import POLICIES, ceiling, get_policy, interview, replay
from prefdisco.pocket.attributes import ATTRIBUTES, GENERIC_PLAN, STRUCTURAL, plan_grade
from prefdisco.pocket.belief import Belief, belief, plan_alignment, prior
from prefdisco.pocket.families import HELD_OUT_FAMILIES
from prefdisco.pocket.people import HELD_OUT_TYPES, TYPES
from prefdisco.pocket.population import CANDIDATES, NOISE, process, profile, sample_persona
from prefdisco.schema import Criterion, Problem, Scenario
from prefdisco.world import belief_of

FAMILIES = [family for family in CANDIDATES if family not in HELD_OUT_FAMILIES]
Answers = tuple[tuple[str, str | None], ...]


def make_scenarios(count: int, seed: int = 0, held_out: bool = False) -> list[Scenario]:
    rng = random.Random(seed)
    made = []
    for number in range(count):
        persona, family = sample_persona(rng, held_out), rng.choice(FAMILIES)
        preferences = profile(persona, family)
        rubric = tuple(
            Criterion(attribute=p.attribute, description="", weight=p.weight, levels={}) for p in preferences
        )
        problem = Problem(id=family, task="pocket", domain="", question="", answer="", family=family)
        made.append(Scenario(id=str(number), problem=problem, persona=persona, profile=preferences, rubric=rubric))
    return made


def brute_force(family: str, answers: Answers) -> tuple[dict[str, float], dict[tuple[str, str | None], float], float]:
    """Plain enumeration over type, subset and importance noise: type posterior, P(outcome), expected alignment."""
    law, known = process(family), dict(answers)
    types: dict[str, float] = {}
    outcomes: dict[tuple[str, str | None], float] = {}
    scores: dict[tuple[str, str | None], float] = {}
    for k, kind in enumerate(TYPES[:-2]):
        for subset in product([0, 1], repeat=9):
            if not 4 <= sum(subset) <= 6:
                continue
            p = 1.0  # up to the constant of this type, divided out below
            for i, inside in enumerate(subset):
                p *= law.relevance[k, i] if inside else 1 - law.relevance[k, i]
            p /= normalizer(family, k)
            for i, name in enumerate(law.candidates):
                if name in known and (known[name] is None) == bool(subset[i]):
                    p = 0.0
                elif known.get(name) is not None:
                    p *= law.values[k, i, ATTRIBUTES[name].values.index(str(known[name]))]
            if p == 0:
                continue
            types[kind.name] = types.get(kind.name, 0) + p
            weights = mean_weights(tuple(int(law.importance[k, i]) for i in range(9) if subset[i]))
            for i, name in enumerate(law.candidates):
                if not subset[i]:
                    outcomes[name, None] = outcomes.get((name, None), 0) + p
                    continue
                weight = weights[sum(subset[:i])]
                for v, value in enumerate(ATTRIBUTES[name].values):
                    q = law.values[k, i, v] if name not in known else float(known[name] == value)
                    outcomes[name, value] = outcomes.get((name, value), 0) + p * q
                    for option in (*ATTRIBUTES[name].values, *(() if name in STRUCTURAL else (None,))):
                        gained = p * q * weight * plan_grade(option, value)
                        scores[name, option] = scores.get((name, option), 0) + gained
    total = sum(types.values())
    best = sum(max((s for (n, _), s in scores.items() if n == name), default=0) for name in law.candidates)
    return {k: p / total for k, p in types.items()}, {o: p / total for o, p in outcomes.items()}, best / total


NORMALIZERS: dict[tuple[str, int], float] = {}
MEANS: dict[tuple[int, ...], list[float]] = {}


def normalizer(family: str, k: int) -> float:
    if (family, k) not in NORMALIZERS:
        r = process(family).relevance[k]
        subsets = [s for s in product([0, 1], repeat=9) if 4 <= sum(s) <= 6]
        NORMALIZERS[family, k] = sum(float(np.prod([r[i] if s[i] else 1 - r[i] for i in range(9)])) for s in subsets)
    return NORMALIZERS[family, k]


def mean_weights(importances: tuple[int, ...]) -> list[float]:
    if importances not in MEANS:
        means = [0.0] * len(importances)
        for noises in product(NOISE, repeat=len(importances)):
            noisy = [m + step for m, (step, _) in zip(importances, noises, strict=True)]
            chance = float(np.prod([p for _, p in noises]))
            means = [mean + chance * m / sum(noisy) for mean, m in zip(means, noisy, strict=True)]
        MEANS[importances] = means
    return MEANS[importances]


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (("path", "backward"),),
        (("path", "backward"), ("analogy", None)),
        (("tone", "playful"), ("verification", None), ("granularity", "coarse")),
    ],
)
def test_posterior_equals_brute_force_enumeration(answers: Answers) -> None:
    types, outcomes, alignment = brute_force("change", answers)
    state = replay(prior("change"), answers)
    assert state.type_posterior() == pytest.approx(types)
    assert state.expected_alignment() == pytest.approx(alignment)
    for name in set(CANDIDATES["change"]) - set(dict(answers)):
        assert {v: p for p, v in state.outcomes(name)} == pytest.approx(
            {v: outcomes[name, v] for _, v in state.outcomes(name)}
        )


def test_outcome_probabilities_sum_to_one_and_gains_are_expected_rises() -> None:
    state = prior("gifts").answer("tone", "formal").answer("heading", None)
    for name, gain in state.gains().items():
        outcomes = state.outcomes(name)
        assert sum(p for p, _ in outcomes) == pytest.approx(1)
        after = sum(p * state.answer(name, value).expected_alignment() for p, value in outcomes if p > 0)
        assert gain == pytest.approx(after - state.expected_alignment()) and gain >= -1e-12


def worth_of(wanted: dict[tuple[str, str], float], plan: dict[str, str | None]) -> float:
    return sum(weight * plan_grade(plan[name], value) for (name, value), weight in wanted.items())


def test_what_is_wanted_says_what_a_plan_is_worth() -> None:
    for state in (prior("gifts"), prior("change").answer("tone", "formal").answer("path", None)):
        wanted = state.wanted()
        assert sum(wanted.values()) == pytest.approx(1)
        worth = partial(worth_of, wanted)
        assert worth(state.best_plan()) == pytest.approx(state.expected_alignment())


def test_what_is_inferred_was_not_told_and_gains_what_it_has_to() -> None:
    for scenario in make_scenarios(12):
        state = replay(belief(scenario), [(p.attribute, p.value) for p in scenario.profile[:3]])
        plan = {**GENERIC_PLAN, **{name: value for name, value in state.answered if value is not None}}
        gains = []
        for name, value in state.inferred(0.0):
            assert name not in dict(state.answered) and value != GENERIC_PLAN[name]
            before = worth_of(state.wanted(), plan)
            plan[name] = value
            gains.append(worth_of(state.wanted(), plan) - before)
        assert plan == state.best_plan() and worth_of(state.wanted(), plan) == pytest.approx(state.expected_alignment())
        assert gains and gains == sorted(gains, reverse=True)
        assert state.inferred(0.1) == state.inferred(0.0)[: sum(gain >= 0.1 for gain in gains)]


def test_answers_commute_and_repeating_one_changes_nothing() -> None:
    one = prior("order").answer("path", "backward").answer("plan", None)
    other = prior("order").answer("plan", None).answer("path", "backward")
    assert one.key == other.key
    assert one.answer("plan", None) is one
    assert one.answer("tone", None) is one, "nobody has a preference outside the candidates"


@pytest.mark.parametrize("pair", [("path", "sideways"), ("tone", "formal"), ("mood", None)])
def test_impossible_answers_are_refused(pair: tuple[str, str | None]) -> None:
    with pytest.raises(ValueError, match="no possible preference"):
        prior("order").answer(*pair)


def test_contradictions_and_impossible_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        prior("order").answer("path", "backward").answer("path", "forward")
    with pytest.raises(ValueError, match="nobody"):
        replay(prior("order"), [(name, None) for name in CANDIDATES["order"][:6]])


def test_expected_alignment_is_what_sampled_people_get() -> None:
    scenarios = [s for s in make_scenarios(6000, seed=1) if s.problem.family == "gifts"]
    reached = [belief(s).plan_alignment(s.profile) for s in scenarios]
    error = np.std(reached) / np.sqrt(len(reached))
    assert abs(np.mean(reached) - prior("gifts").expected_alignment()) < 4 * error


def test_best_plan_is_complete_and_generic_outside_the_candidates() -> None:
    plan = prior("change").best_plan()
    assert set(plan) == set(ATTRIBUTES)
    assert all(plan[name] == GENERIC_PLAN[name] for name in set(ATTRIBUTES) - set(CANDIDATES["change"]))
    settled = replay(prior("change"), [("path", None), ("tone", "playful")]).best_plan()
    assert settled["path"] == GENERIC_PLAN["path"] and settled["tone"] == "playful"


def test_held_out_people_are_judged_by_the_prior_of_their_own_types() -> None:
    (scenario,) = make_scenarios(1, held_out=True)
    assert set(belief(scenario).type_posterior()) == set(HELD_OUT_TYPES)
    assert not set(belief(scenario, "train").type_posterior()) & set(HELD_OUT_TYPES)


def test_who_met_the_training_people_only_reads_strangers_worse() -> None:
    known, new = make_scenarios(60, seed=3), make_scenarios(60, seed=3, held_out=True)

    def reached(name: str, scenarios: list[Scenario]) -> float:
        factory = belief_of(name, scenarios, (), "beliefs")
        policy = get_policy("expected_value", factory)
        return fmean(replay(factory(s), interview(policy, s)).plan_alignment(s.profile) for s in scenarios)

    assert reached("exact_train", known) == reached("exact", known)
    assert reached("exact_train", new) < reached("exact_new", new) - 0.1 < reached("exact", new) - 0.3
    assert reached("exact", known) - 0.2 < reached("exact_new", known) < reached("exact", known)  # what doubt costs


def test_looking_ahead_beats_chance() -> None:
    scenarios = make_scenarios(400, seed=2)
    mean = {}
    for name in ("exact", "expected_value", "random"):
        policy = get_policy(name, belief)
        mean[name] = np.mean([replay(belief(s), interview(policy, s)).expected_alignment() for s in scenarios])
    assert mean["exact"] >= mean["expected_value"] - 0.01
    assert mean["expected_value"] > mean["random"] + 0.2


def test_two_steps_ahead_are_worth_at_least_one() -> None:
    for family in FAMILIES:
        start = prior(family)
        assert value(start, "exact", 2) >= value(start, "expected_value", 2) - 1e-9 > start.expected_alignment()


def value(state: Belief, name: str, budget: int) -> float:
    """Expected alignment after `budget` questions of a policy, over all possible answers."""
    scenario = make_scenarios(1)[0]
    attribute = get_policy(name, lambda _: state, budget).next_attribute(scenario, (), 0) if budget else None
    if attribute is None:
        return state.expected_alignment()
    return sum(p * value(state.answer(attribute, v), name, budget - 1) for p, v in state.outcomes(attribute) if p > 0)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_deterministic_never_repeat_and_keep_the_budget(name: str) -> None:
    for scenario in make_scenarios(20, seed=3):
        asked = [interview(get_policy(name, belief, budget=4), scenario, seed=7) for _ in range(2)]
        assert asked[0] == asked[1] and len(asked[0]) == len({a for a, _ in asked[0]}) == 4
        assert {a for a, _ in asked[0]} <= set(CANDIDATES[scenario.problem.family or ""])


def test_random_questions_follow_the_seed_and_fixed_ones_ignore_the_answers() -> None:
    (scenario,) = make_scenarios(1, seed=4)
    chance = get_policy("random", belief)
    assert len({chance.next_attribute(scenario, (), seed) for seed in range(30)}) > 4
    fixed = get_policy("fixed", belief)
    first = fixed.next_attribute(scenario, (), 0)
    assert first is not None
    nexts = {fixed.next_attribute(scenario, [(first, v)], 0) for v in (None, *ATTRIBUTES[first].values)}
    assert len(nexts) == 1


def test_exact_questions_react_to_answers() -> None:
    exact, changed = get_policy("exact", belief), 0
    scenarios = make_scenarios(40, seed=5)
    for scenario in scenarios:
        first = exact.next_attribute(scenario, (), 0)
        assert first is not None
        nexts = {exact.next_attribute(scenario, [(first, v)], 0) for v in (None, *ATTRIBUTES[first].values)}
        changed += len(nexts) > 1
    assert changed > len(scenarios) / 2


@pytest.mark.parametrize("name", POLICIES)
def test_a_question_that_is_not_worth_its_cost_is_not_asked(name: str) -> None:
    (scenario,) = make_scenarios(1)
    assert get_policy(name, belief, cost=4.0).next_attribute(scenario, (), 0) is None
    assert get_policy(name, belief, budget=0).next_attribute(scenario, (), 0) is None


def test_unknown_policies_are_one_line_errors() -> None:
    with pytest.raises(ValueError, match="unknown policy 'psychic'; choose one of random"):
        get_policy("psychic", belief)


def test_the_ceiling_rises_with_the_budget_and_needs_few_guesses() -> None:
    scenarios = make_scenarios(600, seed=6)
    generic = np.mean([plan_alignment(GENERIC_PLAN, s.profile) for s in scenarios])
    gains = []
    for budget in (0, 1, 2, 3, 5):
        reached = ceiling(scenarios, belief, budget=budget)
        assert all(r["questions"] <= budget for r in reached.values())
        gains.append(100 * (np.mean([r["alignment"] for r in reached.values()]) - generic) / (5 - generic))
    assert gains == sorted(gains)
    assert 20 < gains[0] < 34 and 38 < gains[1] < 54 and gains[4] > 87
    policy = get_policy("exact", belief)
    told = [{**GENERIC_PLAN, **{a: v for a, v in interview(policy, s) if v is not None}} for s in scenarios]
    revealed = np.mean([plan_alignment(plan, s.profile) for plan, s in zip(told, scenarios, strict=True)])
    assert (revealed - generic) / (5 - generic) * 100 > 0.92 * gains[4], "revealed preferences alone come close"


def test_acting_on_priors_alone_harms_many() -> None:
    scenarios = make_scenarios(1000, seed=7)
    harmed = [belief(s).plan_alignment(s.profile) < plan_alignment(GENERIC_PLAN, s.profile) - 1e-9 for s in scenarios]
    assert 0.22 < np.mean(harmed) < 0.38
