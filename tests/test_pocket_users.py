"""The computed person: passive, economical, and understanding questions from their text."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from prefdisco.pocket.attributes import DIMENSIONS, ask
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import NO_PREFERENCE, UNHELPFUL, PocketUser, attribute_of, say, understand
from prefdisco.schema import Message, Scenario
from prefdisco.users import STOP

SCENARIOS = scenarios("train", 60)


def values_in(text: str) -> list[tuple[str, str]]:
    """Every (attribute, value) whose words stand in `text`."""
    low = text.lower().rstrip(".")
    return [
        (name, value)
        for name, d in DIMENSIONS.items()
        for value, ways in d.values.items()
        if any(low.endswith(way) or f"{way}, please" in low for way in ways)
    ]


@pytest.mark.parametrize("name", sorted(DIMENSIONS))
def test_every_wording_of_a_question_is_understood(name: str) -> None:
    assert {attribute_of(question) for question in DIMENSIONS[name].questions} == {name}
    assert {attribute_of(question.upper()) for question in DIMENSIONS[name].questions} == {name}


def test_keywords_belong_to_one_attribute_each() -> None:
    counts = Counter(word for d in DIMENSIONS.values() for word in d.keywords)
    assert [word for word, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("variant", ["passive", "nostop"])
def test_user_never_volunteers(variant: str) -> None:
    user = PocketUser(variant)
    for scenario in SCENARIOS:
        for name in DIMENSIONS:
            reply = user.answer(scenario, [], ask(name, 0), seed=len(name))
            preference = scenario.preference(name)
            if preference is None:
                assert reply.text in NO_PREFERENCE and reply.revealed is None
            else:
                assert reply.revealed == name and understand(name, reply.text) == preference.value
                assert (name, preference.value) in values_in(reply.text)
            assert len(reply.text.split()) <= 9


def test_a_question_about_the_task_gets_an_unhelpful_reply() -> None:
    reply = PocketUser().answer(SCENARIOS[0], [], "What is the total of both?", 4)
    assert reply.text in UNHELPFUL and reply.revealed is None


def test_two_questions_in_one_turn_get_one_answer() -> None:
    scenario = next(s for s in SCENARIOS if len(s.profile) >= 2)
    first, second = scenario.profile[0].attribute, scenario.profile[1].attribute
    reply = PocketUser().answer(scenario, [], f"{ask(first, 0)} {ask(second, 0)}", 0)
    assert reply.revealed in (first, second)
    other = second if reply.revealed == first else first
    value = scenario.preference(other)
    assert value is not None and understand(other, reply.text) != value.value


def test_wording_does_not_leak_the_person() -> None:
    """The wording of an answer is a function of the answer and the seed: no other trait of the person shows in it."""
    user = PocketUser()
    told: dict[tuple[str, str | None, int], set[str]] = {}
    for scenario in SCENARIOS:
        for name in DIMENSIONS:
            for seed in range(6):
                p = scenario.preference(name)
                told.setdefault((name, p.value if p else None, seed), set()).add(
                    user.answer(scenario, [], ask(name, 0), seed).text
                )
    assert all(len(texts) == 1 for texts in told.values())


def test_passive_stops_when_asked_again_and_nostop_does_not() -> None:
    scenario = SCENARIOS[0]
    name = scenario.profile[0].attribute
    before = [Message(role="assistant", content=ask(name, 0)), Message(role="user", content="...")]
    assert PocketUser("passive").answer(scenario, before, ask(name, 1), 0).text == STOP
    assert PocketUser("nostop").answer(scenario, before, ask(name, 1), 0).revealed == name


def test_collaborative_names_what_matters_most_when_asked_an_idle_question() -> None:
    scenario = SCENARIOS[0]
    idle = next(name for name in DIMENSIONS if scenario.preference(name) is None)
    reply = PocketUser("collaborative").answer(scenario, [], ask(idle, 0), 0)
    assert reply.revealed == max(scenario.profile, key=lambda p: p.weight).attribute


def test_counterfactual_is_never_the_true_answer() -> None:
    user = PocketUser()
    for scenario in SCENARIOS[:20]:
        for name in DIMENSIONS:
            for seed in range(4):
                reply = user.counterfactual(scenario, ask(name, 0), seed)
                p = scenario.preference(name)
                assert reply is not None
                assert understand(name, reply.text) != (p.value if p else None)


def test_answers_read_back_in_every_wording() -> None:
    for name, dimension in DIMENSIONS.items():
        for value in (None, *dimension.values):
            assert {understand(name, say(name, value, seed)) for seed in range(60)} == {value}


def split_content(split: str) -> tuple[set[str], set[str], set[str], set[str]]:
    made: list[Scenario] = scenarios(split, 300)  # type: ignore[arg-type]
    return (
        {s.problem.question for s in made},
        {s.persona.id for s in made},
        {s.problem.family or "" for s in made},
        {s.persona.type or "" for s in made},
    )


def test_splits_share_no_problem_and_no_person() -> None:
    train, test, heldout = (split_content(split) for split in ("train", "test", "heldout"))
    for left, right in ((train, test), (train, heldout), (test, heldout)):
        assert not left[0] & right[0] and not left[1] & right[1]
    assert train[2] == test[2] and not train[2] & heldout[2]
    assert train[3] == test[3] and not train[3] & heldout[3]


def test_scenarios_are_the_same_every_time() -> None:
    assert scenarios("test", 40) == scenarios("test", 40)
    assert scenarios("test", 40) == scenarios("test", 80)[:40]
    assert scenarios("test", 40, seed=1) != scenarios("test", 40)


def test_a_slip_of_the_corpus_shows_in_thinking_and_response_alike() -> None:
    from prefdisco.pocket.corpus import Author

    author = Author(random.Random(0))
    for _ in range(300):
        document = author.document("plain")
        thinking = document.messages[-1].thinking
        answer = thinking.rsplit("So ", 1)[1].rstrip(".")
        assert f"Answer: {answer}." in document.messages[-1].content
