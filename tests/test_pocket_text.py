"""Writer and reader are inverses, and text that is not as it should be gets what it deserves."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefdisco.pocket.attributes import ATTRIBUTES, DIMENSIONS, GENERIC_PLAN, STRUCTURAL, plan_grade
from prefdisco.pocket.families import FAMILIES, derive, draw_problem
from prefdisco.pocket.reader import Reading, grade, is_correct, read
from prefdisco.pocket.writer import complete_plan, think, write
from prefdisco.schema import Preference, Problem

PLANS = st.fixed_dictionaries(
    {name: st.sampled_from([*d.values] if name in STRUCTURAL else [None, *d.values]) for name, d in DIMENSIONS.items()}
)
FAMILY = st.sampled_from(sorted(FAMILIES))
SEED = st.integers(0, 2**32)


def problem_of(family: str, seed: int) -> Problem:
    rng = random.Random(seed)
    return draw_problem(family, rng, rng.randint(1, 3))


def preference(attribute: str, value: str) -> Preference:
    return Preference(attribute=attribute, value=value, weight=1.0, kind=ATTRIBUTES[attribute].kind)


def points(problem: Problem, text: str, attribute: str, value: str) -> int:
    return grade(problem, text, [preference(attribute, value)])[0].score


@settings(max_examples=600, deadline=None)
@given(PLANS, FAMILY, SEED)
def test_reader_of_writer_is_the_plan(plan: dict[str, str | None], family: str, seed: int) -> None:
    problem = problem_of(family, seed)
    text = write(problem, plan, random.Random(seed))
    assert read(problem, text) == plan
    assert is_correct(problem, text)


@pytest.mark.parametrize("first", sorted(DIMENSIONS))
def test_every_pair_of_values_reads_back(first: str) -> None:
    """Exhaustive where the property test samples: each value of each attribute beside each value of every other."""
    rng = random.Random(first)
    for value in DIMENSIONS[first].values:
        for second, dimension in DIMENSIONS.items():
            for other in dimension.values:
                if second != first:
                    problem = problem_of(rng.choice(sorted(FAMILIES)), rng.randrange(2**32))
                    plan = complete_plan({first: value, second: other})
                    assert read(problem, write(problem, plan, rng)) == plan


@settings(max_examples=200, deadline=None)
@given(PLANS, FAMILY, SEED)
def test_grades_of_a_written_plan_are_plan_grades(plan: dict[str, str | None], family: str, seed: int) -> None:
    problem = problem_of(family, seed)
    text = write(problem, plan, random.Random(seed))
    wanted = [preference(name, value) for name, d in DIMENSIONS.items() for value in d.values]
    for p, graded in zip(wanted, grade(problem, text, wanted), strict=True):
        assert graded.score == plan_grade(plan[p.attribute], p.value)


@settings(max_examples=300, deadline=None)
@given(FAMILY, SEED)
def test_both_paths_lead_to_the_same_answer(family: str, seed: int) -> None:
    problem = problem_of(family, seed)
    forward, backward = derive(problem, "forward"), derive(problem, "backward")
    assert forward[0] == backward[0] == problem.answer
    assert [step.op for step in forward[1]] != [step.op for step in backward[1]]
    assert len(forward[1]) >= 2 and len(backward[1]) >= 2


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), FAMILY, SEED)
def test_any_text_is_read_without_an_exception(text: str, family: str, seed: int) -> None:
    problem = problem_of(family, seed)
    plan = read(problem, text)
    assert set(plan) == set(DIMENSIONS)
    is_correct(problem, text)


@settings(max_examples=200, deadline=None)
@given(PLANS, FAMILY, SEED, st.floats(0, 0.9))
def test_a_cut_off_text_never_scores_more(plan: dict[str, str | None], family: str, seed: int, share: float) -> None:
    problem = problem_of(family, seed)
    text = write(problem, plan, random.Random(seed))
    cut = text[: int(len(text) * share)]
    for name, value in plan.items():
        if value and name not in ("granularity", "format"):  # fewer steps may read as coarser, or as another layout
            assert points(problem, cut, name, value) <= points(problem, text, name, value)


def test_empty_text_is_absent_and_wrong() -> None:
    problem = problem_of("change", 1)
    assert points(problem, "", "tone", "casual") == 3
    assert points(problem, "", "representation", "table") == 1
    assert not is_correct(problem, "")


def test_both_values_at_once_earn_no_more_than_neither() -> None:
    problem = problem_of("change", 1)
    text = write(problem, complete_plan({"tone": "casual"}), random.Random(0)) + "\nKindly note the following."
    assert points(problem, text, "tone", "casual") == points(problem, text, "tone", "formal") == 3


def test_a_cut_off_sentence_is_partial() -> None:
    problem = problem_of("change", 1)
    text = write(problem, GENERIC_PLAN, random.Random(0)) + "\nKindly note"
    assert (points(problem, text, "tone", "formal"), points(problem, text, "tone", "casual")) == (4, 2)


def test_repetition_is_partial() -> None:
    problem = problem_of("change", 1)
    text = write(problem, GENERIC_PLAN, random.Random(0)) + "\nKindly note the following." * 5
    assert points(problem, text, "tone", "formal") == 4


def test_contradictory_answers_are_wrong() -> None:
    problem = problem_of("change", 1)
    text = write(problem, GENERIC_PLAN, random.Random(0))
    assert is_correct(problem, text) and not is_correct(problem, f"{text}\nAnswer: 0.")


def test_a_slip_makes_the_answer_wrong_nearly_always() -> None:
    rng = random.Random(0)
    wrong = 0
    for seed in range(600):
        problem = problem_of(sorted(FAMILIES)[seed % len(FAMILIES)], seed)
        wrong += not is_correct(problem, write(problem, GENERIC_PLAN, rng, random.Random(seed)))
    assert wrong >= 580  # halving an odd sum can hide a slip


def test_no_sentence_of_the_writer_looks_like_a_step() -> None:
    for seed, family in enumerate(sorted(FAMILIES)):
        problem = problem_of(family, seed)
        bare = len(Reading(problem, write(problem, GENERIC_PLAN, random.Random(0))).steps())
        for name, dimension in DIMENSIONS.items():
            for value in dimension.values if name not in STRUCTURAL else ():
                for draw in range(4):
                    text = write(problem, complete_plan({name: value}), random.Random(draw))
                    assert len(Reading(problem, text).steps()) == bare, (family, name, value)


def test_thinking_names_what_is_wanted() -> None:
    thinking = think(problem_of("change", 1), {"tone": "casual", "order": "answer_first"})
    assert thinking.startswith("Wanted: tone casual, order answer first. ")


def test_problems_are_unlimited_and_named_by_content() -> None:
    rng = random.Random(0)
    for family in FAMILIES:
        ids = {draw_problem(family, rng, rng.randint(1, 3)).id for _ in range(500)}
        assert len(ids) > 250, family
