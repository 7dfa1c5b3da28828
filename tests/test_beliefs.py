"""Claims about learned beliefs: they are probabilities, they learn what is there, and from training scenarios alone."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import numpy as np
import pytest
from planted import ATTRIBUTES, CARES, LOYAL, OFTEN, RARELY, people, scenario

from prefdisco.config import ConfigError
from prefdisco.elicitation import POLICIES, get_policy, interview, replay
from prefdisco.elicitation.beliefs import LEARNED, Learned, LearnedBelief, learn
from prefdisco.elicitation.classes import LatentTypes
from prefdisco.elicitation.grades import plain_grade
from prefdisco.elicitation.models import Hybrid
from prefdisco.elicitation.table import MOST, tables
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.pocket.scenarios import scenarios
from prefdisco.schema import DataError
from prefdisco.world import belief_of, grade_of, world_of

TRAIN, TEST = people(400), people(60, seed=1)
COHERENT = ("prior", "bayesian")  # their predictions agree with their updates
LEARNING = tuple(name for name in LEARNED if name != "prior")  # one answer says something about another attribute


@cache
def learned(name: str) -> Learned:
    return learn(name, TRAIN)


def stranger(name: str) -> LearnedBelief:
    return learned(name)(TEST[0])


def sampled(name: str, seed: int, count: int) -> LearnedBelief:
    """A belief after `count` answers, drawn from what it expects."""
    rng = random.Random(seed)
    belief = stranger(name)
    for attribute in rng.sample(belief.candidates, count):
        chances, values = zip(*belief.outcomes(attribute), strict=True)
        (value,) = rng.choices(values, weights=chances)
        belief = belief.answer(attribute, value)
    return belief


@pytest.mark.parametrize("name", LEARNED)
def test_probabilities_are_probabilities(name: str) -> None:
    for seed in range(20):
        belief = sampled(name, seed, count=seed % 5)
        for attribute in belief.candidates:
            outcomes = belief.outcomes(attribute)
            assert sum(chance for chance, _ in outcomes) == pytest.approx(1)
            assert all(-1e-12 <= chance <= 1 for chance, _ in outcomes)
            matters = sum(chance for chance, value in outcomes if value is not None)
            assert belief.matters()[attribute] == pytest.approx(matters)
        assert all(gain >= -1e-9 for gain in belief.gains().values())
        assert set(belief.gains()) == set(belief.candidates) - set(dict(belief.answered))


@pytest.mark.parametrize("name", LEARNED)
def test_rates_before_any_answer_are_those_of_the_training_scenarios(name: str) -> None:
    counts = Counter(p.attribute for s in TRAIN for p in s.profile)
    values = Counter(p.value for s in TRAIN for p in s.profile if p.attribute == "tone")
    belief = stranger(name)
    for attribute in ATTRIBUTES:
        assert belief.matters()[attribute] == pytest.approx(counts[attribute] / len(TRAIN), abs=0.02)
    chances = {value: chance for chance, value in belief.outcomes("tone")}
    assert chances["warm"] / chances["dry"] == pytest.approx(values["warm"] / values["dry"], rel=0.1)


@pytest.mark.parametrize("name", LEARNING)
def test_an_answer_moves_other_attributes_in_the_right_direction(name: str) -> None:
    before = stranger(name)
    cook = before.answer("pictures", "warm").answer("sources", None)
    assert cook.matters()["examples"] > before.matters()["examples"] + 0.1
    assert cook.matters()["tables"] < before.matters()["tables"] - 0.1
    assert cook.matters()["pictures"] == 1 and cook.matters()["sources"] == 0


@pytest.mark.parametrize("name", ["naive_bayes", "item_cf_value", "hybrid", "bayesian"])
def test_an_answer_moves_the_values_of_other_attributes(name: str) -> None:
    def warm(belief: LearnedBelief) -> float:
        chances = {value: chance for chance, value in belief.outcomes("tone")}
        return chances["warm"] / (chances["warm"] + chances["dry"])

    before = stranger(name)
    assert warm(before.answer("examples", "warm")) > warm(before) + 0.05
    assert warm(before.answer("examples", None)) < warm(before) - 0.05


def test_the_prior_learns_nothing_about_what_it_did_not_ask() -> None:
    before = stranger("prior")
    after = before.answer("pictures", "warm")
    assert {a: p for a, p in after.matters().items() if a != "pictures"} == pytest.approx(
        {a: p for a, p in before.matters().items() if a != "pictures"}
    )


def test_the_bayesian_model_finds_the_two_planted_types() -> None:
    (table,) = tables(people(1500)).values()
    model = LatentTypes(table)
    assert model.types.shares.shape[1] == 2
    assert model.types.shares[0] == pytest.approx([0.5, 0.5], abs=0.06)
    found = {}
    for k in range(2):
        kind = "cook" if model.types.matters[0, k, table.attributes.index("pictures")] > 0.5 else "clerk"
        found[kind] = k
        for a, name in enumerate(table.attributes):
            rate = OFTEN if name in CARES[kind] else RARELY
            assert model.types.matters[0, k, a] == pytest.approx(rate, abs=0.06)
        warm = model.types.values[0, k, table.attributes.index("tone"), table.values[0].index("warm")]
        assert warm == pytest.approx(LOYAL if kind == "cook" else 1 - LOYAL, abs=0.06)
    assert set(found) == {"cook", "clerk"}


@pytest.mark.parametrize("name", COHERENT)
def test_what_is_expected_before_an_answer_is_the_mean_of_what_is_expected_after(name: str) -> None:
    for seed in range(10):
        belief = sampled(name, seed, count=seed % 4)
        for attribute, gain in belief.gains().items():
            after = [(p, belief.answer(attribute, value)) for p, value in belief.outcomes(attribute)]
            for other in belief.candidates:
                mean = sum(p * state.matters()[other] for p, state in after)
                assert mean == pytest.approx(belief.matters()[other])
            reached = sum(p * state.expected_alignment() for p, state in after)
            assert gain == pytest.approx(reached - belief.expected_alignment())
            assert reached >= belief.expected_alignment() - 1e-9, "an answer never makes it worse in expectation"


@pytest.mark.parametrize("name", LEARNED)
def test_answers_commute_and_equal_answers_are_equal_beliefs(name: str) -> None:
    one = stranger(name).answer("tone", "warm").answer("tables", None)
    other = stranger(name).answer("tables", None).answer("tone", "warm")
    assert one.key == other.key and one.matters() == other.matters()
    assert one.answer("tone", "warm") is one
    with pytest.raises(ValueError, match="before"):
        one.answer("tone", "dry")


@pytest.mark.parametrize("name", LEARNED)
def test_a_belief_knows_the_problem_and_never_the_person(name: str) -> None:
    cook = next(s for s in TEST if s.persona.type == "cook")
    clerk = next(s for s in TEST if s.persona.type == "clerk")
    same = cook.model_copy(update={"persona": clerk.persona, "profile": clerk.profile, "rubric": clerk.rubric})
    assert learned(name)(cook).key == learned(name)(same).key
    assert learned(name)(cook).matters() == learned(name)(same).matters()


@pytest.mark.parametrize("name", LEARNED)
def test_attributes_and_values_that_training_never_saw_are_taken_note_of(name: str) -> None:
    belief = stranger(name)
    assert "humour" not in belief.candidates and belief.outcomes("humour") == [(1.0, None)]
    told = belief.answer("humour", "none").answer("tone", "sarcastic")
    assert told.outcomes("humour") == [(1.0, "none")] and told.outcomes("tone") == [(1.0, "sarcastic")]
    profile = scenario("x", "x", "cook", {"humour": "none", "tone": "sarcastic"}).profile
    assert told.plan_alignment(profile) == 5 > belief.plan_alignment(profile)
    assert told.matters()["tone"] == 1 and np.isfinite(told.expected_alignment())


@pytest.mark.parametrize("name", LEARNED)
def test_a_rare_attribute_is_kept_and_thought_rarer_than_a_common_one(name: str) -> None:
    rare = scenario("rare", "rare", "cook", {"tone": "warm", "humour": "dry"})
    belief = learn(name, [*TRAIN, rare])(TEST[0])
    assert 0 < belief.matters()["humour"] < 0.05 < min(belief.matters()[a] for a in ATTRIBUTES)


@pytest.mark.parametrize("name", LEARNED)
def test_an_attribute_that_a_family_never_saw_is_backed_off_to_its_group(name: str) -> None:
    other = [scenario(f"o{n}", f"o{n}", "cook", {"speed": "slow"}, family="b") for n in range(50)]
    factory = learn(name, [*people(100, family="a"), *other])
    here, there = (factory(scenario("t", "t", "cook", {"tone": "dry"}, family=family)) for family in "ab")
    nowhere = factory(scenario("t", "t", "cook", {"tone": "dry"}, family="c"))
    assert 0 < here.matters()["speed"] < nowhere.matters()["speed"] < there.matters()["speed"]


@pytest.mark.parametrize("name", LEARNED)
def test_a_task_that_training_never_saw_gets_the_rates_of_all_tasks(name: str) -> None:
    factory = learn(name, [*people(150), *people(150, task="other")])
    new = factory(scenario("n", "n", "cook", {"tone": "dry"}, task="new"))
    for attribute, chance in stranger(name).matters().items():
        assert new.matters()[attribute] == pytest.approx(chance, abs=0.1)


def test_a_large_vocabulary_is_cut_to_the_weightiest_candidates() -> None:
    many = [scenario(f"m{n}", f"m{n}", "cook", {f"a{n % 90}": "x", "tone": "warm"}) for n in range(180)]
    candidates = learn("prior", many)(many[0]).candidates
    assert len(candidates) == MOST and "tone" in candidates


def test_numbers_are_graded_by_distance_and_names_by_equality() -> None:
    grades = {
        ("4", "4"): 5, ("4", "3"): 4, ("1", "5"): 1, ("2.5", "2"): 4.5, (None, "2"): 3, ("warm", "dry"): 1,
        ("warm", "warm"): 5, ("7", "6"): 1, ("3", "dry"): 1,
    }  # fmt: skip
    assert {pair: plain_grade("any", *pair) for pair in grades} == grades


def worth_of(wanted: dict[tuple[str, str], float], plan: dict[str, str]) -> float:
    return 3 + sum(weight * (plain_grade(a, plan.get(a), value) - 3) for (a, value), weight in wanted.items())


@pytest.mark.parametrize("name", LEARNED)
def test_what_is_wanted_says_what_a_plan_is_worth(name: str) -> None:
    for seed in range(10):
        belief = sampled(name, seed, count=seed % 4)
        plan = {a: value for a, value in belief.best_plan().items() if value is not None}
        assert worth_of(belief.wanted(), plan) == pytest.approx(belief.expected_alignment())


@pytest.mark.parametrize("name", LEARNED)
def test_what_is_inferred_was_not_told_and_gains_what_it_has_to(name: str) -> None:
    found = 0
    for seed in range(10):
        belief = sampled(name, seed, count=seed % 4)
        told = {a: value for a, value in belief.answered if value is not None}
        rest, gains = dict(told), []
        for attribute, value in belief.inferred(0.0):
            assert attribute not in dict(belief.answered)
            before = worth_of(belief.wanted(), rest)
            rest[attribute] = value
            gains.append(worth_of(belief.wanted(), rest) - before)
        assert worth_of(belief.wanted(), rest) == pytest.approx(belief.expected_alignment())
        assert gains == sorted(gains, reverse=True) and all(gain > 0 for gain in gains)
        for least in (0.05, 0.2):
            assert belief.inferred(least) == belief.inferred(0.0)[: sum(gain >= least for gain in gains)]
        found += len(gains)
    assert found > 5


def test_a_plan_hedges_between_numbers() -> None:
    split = [scenario(f"n{n}", f"n{n}", "cook", {"depth": str(1 + n % 5)}) for n in range(100)]
    assert learn("prior", split)(split[0]).best_plan() == {"depth": "3"}


def test_the_hybrid_trusts_what_foretells_held_out_answers() -> None:
    (table,) = tables(TRAIN).values()
    shares = Hybrid(table).shares
    assert shares.sum() == pytest.approx(1) and shares[0] < 0.25, "the prior foretells worst where answers tell"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", LEARNED)
def test_every_policy_runs_on_every_belief_and_keeps_budget_and_cost(name: str, policy: str) -> None:
    factory = learned(name)
    for someone in TEST[:3]:
        asked = interview(get_policy(policy, factory, budget=3), someone, seed=5)
        assert len(asked) == len(dict(asked)) == 3 and set(dict(asked)) <= set(ATTRIBUTES)
    assert interview(get_policy(policy, factory, budget=0), TEST[0]) == []
    assert interview(get_policy(policy, factory, cost=2.0), TEST[0]) == [], "nothing is worth two points"
    few = interview(get_policy(policy, factory, cost=0.05), TEST[0])
    last = replay(factory(TEST[0]), few)
    assert len(few) == 5 or max(last.gains().values()) <= 0.05


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", LEARNED)
def test_one_scenario_is_enough_to_learn_from_and_asking_ends_with_the_candidates(name: str, policy: str) -> None:
    factory = learn(name, TRAIN[:1])
    asked = interview(get_policy(policy, factory, budget=50), TEST[0])
    assert set(dict(asked)) <= set(factory(TEST[0]).candidates) and len(asked) == len(dict(asked))
    everything = replay(factory(TEST[0]), [(attribute, None) for attribute in factory(TEST[0]).candidates])
    assert everything.gains() == {} and everything.expected_alignment() == 3


def test_uncertain_and_informative_questions_are_asked_first() -> None:
    half = [{"sure": "xy"[n % 2], **({"half": "xy"[n // 2 % 2]} if n % 3 else {})} for n in range(90)]
    training = [scenario(f"s{n}", f"s{n}", "cook", values) for n, values in enumerate(half)]
    first = {p: get_policy(p, learn("prior", training)).next_attribute(training[0], (), 0) for p in POLICIES}
    assert first["uncertainty"] == first["information_gain"] == "half", "two thirds care"
    assert first["expected_value"] == first["fixed"] == "sure", "all care, and half want the other"
    tell = get_policy("information_gain", learned("bayesian")).next_attribute(TEST[0], (), 0)
    assert tell in {"examples", "pictures", "sources", "tables"}, "everybody cares about the tone"


def test_a_world_asks_from_the_belief_it_is_told_to() -> None:
    training = scenarios("train", 150)
    world = world_of(training)
    exact = world.policies("expected_value", 5, [0.0])[0.0]
    prior = world.policies("expected_value", 5, [0.0], "prior")[0.0]
    asked = [
        [a for a, _ in interview(prior, s)] for s in training[:40] if s.problem.family == training[0].problem.family
    ]
    assert all(order == asked[0] for order in asked) and len(asked) > 1, "nothing is learned, so all are asked the same"
    assert any(interview(exact, s) != interview(prior, s) for s in training[:5])
    with pytest.raises(
        ConfigError, match=r"data\.belief=guess: unknown belief; choose one of exact, exact_train, exact_new, prior"
    ):
        world.policies("random", 5, [0.0], "guess")


def test_a_world_states_a_preference_as_its_scenarios_describe_it() -> None:
    model = lambda role, name: ScriptedModel([], name)  # noqa: E731
    elsewhere = world_of(TRAIN, "a/model", "a/model", model)
    known = TRAIN[0].profile[0]
    stated = elsewhere.preference(known.attribute, known.value, 0.25)
    assert stated.weight == 0.25 and stated.description == known.description and stated.kind == known.kind
    pocket = scenarios("train", 1)
    wanted = pocket[0].profile[0]
    stated = world_of(pocket).preference(wanted.attribute, wanted.value, wanted.weight)
    assert (stated.kind, stated.value, stated.weight) == (wanted.kind, wanted.value, wanted.weight)


def test_other_worlds_name_the_beliefs_that_can_be_learned() -> None:
    with pytest.raises(ConfigError, match=r"beliefs=exact: only Pocket's posterior .* prior, naive_bayes, item_cf"):
        belief_of("exact", TEST, TRAIN, "beliefs")
    assert grade_of(TEST) is plain_grade
    assert grade_of(scenarios("test", 1))("path", None, "forward") == 5, "a generic answer runs forward"


def test_nothing_to_learn_from_and_unknown_names_are_one_line_errors() -> None:
    with pytest.raises(DataError, match="no training scenarios"):
        learn("prior", [])
    with pytest.raises(ValueError, match="unknown belief 'psychic'; choose one of prior"):
        learn("psychic", TRAIN)
