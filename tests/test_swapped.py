"""The control `swapped`: discovery with somebody else's answers, as one more condition of the same run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError
from prefdisco.evaluate import evaluate_scenarios, load_episodes
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.metrics import summarize
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Episode, Scenario
from prefdisco.users import Shuffled
from tests.hand_made import Agent, TruthfulUser, WordJudge, scenario

CONDITIONS = ("baseline", "discovery", "oracle", "swapped")
TONES = {"ann": "formal", "bob": "playful", "cleo": "casual"}
WORLD = [scenario(f"p{n}", person, tone=tone) for n in range(3) for person, tone in TONES.items()]


def speak(talk: Conversation) -> str:
    """Asks for the tone where it may, and answers in the tone that it was told."""
    told = " ".join(message.content for message in talk.messages if message.role != "assistant")
    if "questions" not in told:
        return f"42 {told}"
    if not any(message.role == "assistant" for message in talk.messages):
        return format_question("Which tone?")
    return format_final(f"42 {talk.messages[-1].content}")


def evaluate(
    agent: Agent, folder: Path | None = None, world: Sequence[Scenario] = WORLD, conditions: Sequence[str] = CONDITIONS
) -> list[Episode]:
    return asyncio.run(
        evaluate_scenarios(
            world, agent, TruthfulUser(), WordJudge(), conditions, [0], Sampling(), run_dir=folder, progress=False
        )
    )


def test_an_agent_that_listens_loses_its_gain_to_other_peoples_answers() -> None:
    summary = summarize(evaluate(Agent(speak)))
    assert summary["conditions"]["discovery"]["alignment"]["mean"] == 5
    assert summary["conditions"]["swapped"]["alignment"]["mean"] == 3  # what was said is met, and is not wanted
    assert summary["discovery"]["swap_drop"]["mean"] == pytest.approx(100)


def test_an_agent_that_does_not_listen_keeps_what_it_has() -> None:
    def formal(talk: Conversation) -> str:
        asked = any(message.role == "assistant" for message in talk.messages)
        if talk.messages[0].role != "system" or "questions" not in talk.messages[0].content:
            return "42"
        return format_final("42 formal") if asked else format_question("Which tone?")

    summary = summarize(evaluate(Agent(formal), world=[made for made in WORLD if made.persona.id != "cleo"]))
    assert summary["conditions"]["discovery"]["alignment"]["mean"] == 4  # half of the people are formal
    assert summary["discovery"]["swap_drop"]["mean"] == pytest.approx(0)


def test_it_is_discovery_but_for_the_answers() -> None:
    agent = Agent(speak)
    episodes = {episode.key: episode for episode in evaluate(agent, conditions=("discovery", "swapped"))}
    for made in WORLD:
        own, other = episodes[made.id, "discovery", 0], episodes[made.id, "swapped", 0]
        assert own.messages[:3] == other.messages[:3]  # prompt, problem, first question
        assert own.messages[3] != other.messages[3]
    opening = [sampling.seed for messages, sampling in agent.seen if len(messages) == 2]
    assert len(opening) == 2 * len(WORLD) and len(set(opening)) == len(WORLD)  # the same draw on both sides
    assert parse_condition("swapped").opening(WORLD[0], 5) == parse_condition("discovery").opening(WORLD[0], 5)


def test_nothing_of_the_own_profile_is_said_and_grades_are_of_the_own_profile() -> None:
    for episode in evaluate(Agent(speak), conditions=("swapped",)):
        own = TONES[episode.persona_id]
        assert not any(own in message.content for message in episode.messages)
        assert [question.revealed for question in episode.questions] == [None]
        assert [grade.attribute for grade in episode.grades] == ["tone"] and episode.alignment == 3
        assert episode.values == {"tone": own}


def test_the_episode_notes_whose_answers_it_heard() -> None:
    partner = Shuffled(TruthfulUser(), WORLD).partner
    for episode in evaluate(Agent(speak)):
        heard = partner[episode.scenario_id].id if episode.condition == "swapped" else None
        assert episode.answered_by == heard
        if heard is not None:
            assert episode.questions[0].answer == TONES[heard.partition("/")[2]]


def test_a_finished_run_takes_it_as_one_more_condition(tmp_path: Path) -> None:
    evaluate(Agent(speak), tmp_path, conditions=CONDITIONS[:3])
    agent = Agent(speak)
    evaluate(agent, tmp_path)
    assert len(agent.seen) == 2 * len(WORLD)  # a question and an answer each; the other conditions are there
    again = Agent(speak)
    assert {e.key: e for e in evaluate(again, tmp_path)} == load_episodes(tmp_path / "episodes.jsonl")
    assert again.seen == []


def test_more_scenarios_change_who_answers_for_whom_and_those_are_played_again(tmp_path: Path) -> None:
    evaluate(Agent(speak), tmp_path, WORLD[:5])
    grown = evaluate(Agent(speak), tmp_path)
    whole = evaluate(Agent(speak))
    plain = [episode.model_copy(update={"tokens": None}) for episode in whole]
    assert [episode.model_copy(update={"tokens": None}) for episode in grown] == plain
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    before, now = (Shuffled(TruthfulUser(), world).partner for world in (WORLD[:5], WORLD))
    moved = [made for made in WORLD[:5] if before[made.id].id != now[made.id].id]
    assert moved and len(lines) == len(WORLD) * 4 + len(moved)


def test_one_person_alone_cannot_be_swapped() -> None:
    with pytest.raises(ConfigError, match="condition swapped"):
        evaluate(Agent(speak), world=WORLD[:1])
    assert len(evaluate(Agent(speak), world=WORLD[:1], conditions=CONDITIONS[:3])) == 3
