"""Forgetful and noisy people: how often they fail to say a preference, that the seed decides, what it reveals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from prefdisco.config import ConfigError
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.llm_users import LLMUser
from prefdisco.pocket.attributes import DIMENSIONS, ask
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import NO_PREFERENCE, PocketUser, understand
from prefdisco.schema import Message, Preference, Scenario
from prefdisco.user_variants import RATE, Lapsing, lapses
from prefdisco.users import LAPSING, STOP, Reply, User, load_user
from tests.hand_made import TruthfulUser, scenario

SCENARIOS = scenarios("test", 60)
SEEDS = range(12)


def answer(user: User, scenario: Scenario, question: str, seed: int, messages: tuple[Message, ...] = ()) -> Reply:
    return asyncio.run(user.reply(scenario, messages, question, seed))


def asked(user: User) -> Iterator[tuple[Preference, Reply]]:
    """Every preference asked about, with several seeds."""
    for made in SCENARIOS:
        for preference in made.profile:
            for seed in SEEDS:
                yield preference, answer(user, made, ask(preference.attribute, 0), stable_seed(made.id, seed))


@pytest.mark.parametrize("kind", LAPSING)
def test_a_lapse_comes_as_often_as_stated(kind: str) -> None:
    replies = [reply for _, reply in asked(load_user(kind, SCENARIOS))]
    share = sum(reply.revealed is None for reply in replies) / len(replies)
    assert abs(share - RATE) < 4 * (RATE * (1 - RATE) / len(replies)) ** 0.5


def test_the_forgetful_person_says_that_it_has_no_preference_and_else_the_truth() -> None:
    for preference, reply in asked(load_user("forgetful", SCENARIOS)):
        if reply.revealed is None:
            assert reply.text in NO_PREFERENCE
        else:
            assert understand(preference.attribute, reply.text) == preference.value


def test_the_noisy_person_names_another_value_and_that_reveals_nothing() -> None:
    wrong = set()
    for preference, reply in asked(load_user("noisy", SCENARIOS)):
        heard = understand(preference.attribute, reply.text)
        assert heard in DIMENSIONS[preference.attribute].values
        assert (heard == preference.value) == (reply.revealed == preference.attribute)
        wrong |= {(preference.attribute, heard)} if reply.revealed is None else set()
    assert {value for name, value in wrong if name == "analogy"} == {*DIMENSIONS["analogy"].values}


@pytest.mark.parametrize("kind", LAPSING)
def test_the_seed_decides_and_nothing_else_changes(kind: str) -> None:
    user, patient = load_user(kind, SCENARIOS), PocketUser("nostop")
    made = SCENARIOS[0]
    idle = next(name for name in DIMENSIONS if made.preference(name) is None)
    for seed in SEEDS:
        first = answer(user, made, ask(made.profile[0].attribute, 0), seed)
        assert first == answer(load_user(kind, SCENARIOS), made, ask(made.profile[0].attribute, 0), seed)
        for question in (ask(idle, 0), "What is the total?"):
            assert answer(user, made, question, seed) == patient.answer(made, [], question, seed)


@pytest.mark.parametrize("kind", LAPSING)
def test_asked_again_it_may_tell_and_never_stops(kind: str) -> None:
    user, made = load_user(kind, SCENARIOS), SCENARIOS[0]
    name = made.profile[0].attribute
    before = (Message(role="assistant", content=ask(name, 0)), Message(role="user", content="No preference."))
    again = [answer(user, made, ask(name, 1), seed, before) for seed in range(20)]
    assert {reply.revealed for reply in again} == {None, name}
    assert not any(STOP in reply.text for reply in again)


def test_it_wraps_any_user() -> None:
    user = Lapsing(TruthfulUser(), "noisy", lambda preference: ["formal", "playful"], rate=1.0)
    assert answer(user, scenario(), "Which tone?", 0) == Reply("playful", None)
    assert answer(Lapsing(TruthfulUser(), "forgetful", rate=1.0), scenario(), "Which tone?", 0).text == "No preference."
    assert answer(Lapsing(TruthfulUser(), "forgetful", rate=0.0), scenario(), "Which tone?", 0).revealed == "tone"
    with pytest.raises(ValueError, match="forgetful or noisy"):
        Lapsing(TruthfulUser(), "absent")


@pytest.mark.parametrize(("kind", "field"), [("forgetful", "forgotten"), ("noisy", "mistaken")])
def test_a_model_in_the_seat_is_told_its_lapses_and_what_it_then_says_reveals_nothing(kind: str, field: str) -> None:
    told: list[Any] = []

    def claims(conversation: Conversation, sampling: Sampling) -> str:
        told.append(json.loads(conversation.messages[1].content)[field])
        return json.dumps({"reveals": "tone", "text": "Playful, I think."})

    user = LLMUser(ScriptedModel(claims), kind)
    replies = [answer(user, scenario(), "Which tone?", seed) for seed in range(20)]
    drawn = [lapses(kind, scenario(), seed) for seed in range(20)]
    assert told == [sorted(each) for each in drawn]
    assert [reply.revealed is None for reply in replies] == ["tone" in each for each in drawn]
    assert {reply.revealed for reply in replies} == {None, "tone"}


def test_a_computed_one_is_pockets_only() -> None:
    with pytest.raises(ConfigError, match="only Pocket scenarios"):
        load_user("forgetful", [scenario()])
    with pytest.raises(ConfigError, match="forgetful, noisy"):
        load_user("forgetfull", SCENARIOS)
