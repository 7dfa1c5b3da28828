"""Questions to choose from: what a draft loses against the best, which is taken, and what is recorded of it."""

from __future__ import annotations

import asyncio
from statistics import fmean
from typing import Any

import pytest

from prefdisco.conditions import parse_condition
from prefdisco.dialogue import play
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.pocket.belief import belief
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import PocketUser, attribute_of
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Message
from prefdisco.training.candidates import Deliberation

SCENARIO = scenarios("train", 8, 0)[0]
START = belief(SCENARIO)
GAINS = sorted(START.gains().values(), reverse=True)


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return LocalModel("pocket-base", device="cpu")


def deliberation(agent: Any, price: float = 0.0, budget: int = 3, count: int = 6) -> Deliberation:
    return Deliberation(agent, PocketUser(), START, lambda text: text, count, price, budget)


def test_a_question_loses_what_the_best_one_would_bring_beyond_it(base: LocalModel) -> None:
    for name, gain in START.gains().items():
        assert deliberation(base).loss(format_question(name)) == pytest.approx(gain - GAINS[0])
    nothing = deliberation(base, price=0.01).loss(format_question("weather"))
    assert nothing == pytest.approx(-0.01 - (GAINS[0] - 0.01))


def test_an_answer_loses_all_questions_that_were_left_and_worth_their_price(base: LocalModel) -> None:
    assert deliberation(base).loss(format_final("42")) == pytest.approx(-sum(GAINS[:3]))
    assert deliberation(base).loss("no action at all") == pytest.approx(-sum(GAINS[:3]))
    between = (GAINS[0] + GAINS[1]) / 2
    assert deliberation(base, price=between).loss(format_final("42")) == pytest.approx(between - GAINS[0])
    dear = deliberation(base, price=GAINS[0] + 0.5)
    assert dear.loss(format_final("42")) == 0 > dear.loss(format_question(max(START.gains())))


def test_the_best_draft_is_taken_and_earns_what_it_is_beyond_their_mean(base: LocalModel) -> None:
    class Spy(Deliberation):
        def loss(self, text: str) -> float:
            losses.append(super().loss(text))
            return losses[-1]

    losses: list[float] = []
    both = Spy(base, PocketUser(), START, attribute_of, 6, 0.0, 5)
    discovery, sampling = parse_condition("discovery"), Sampling(temperature=1.0, max_tokens=96)
    episode = asyncio.run(play(SCENARIO, discovery, both, both, sampling, 0))
    assert episode.error is None and episode.questions and len(losses) == 6 * len(both.credits)
    turns = [losses[start : start + 6] for start in range(0, len(losses), 6)]
    assert both.credits == [pytest.approx(max(turn) - fmean(turn)) for turn in turns]
    assert max(both.credits) > 0 and min(both.credits) >= 0
    known = START
    for question, turn in zip(episode.questions, turns, strict=False):
        name = attribute_of(question.text) or ""
        gains = known.gains()
        assert max(turn) == pytest.approx(gains.get(name, 0.0) - max(gains.values()))
        preference = SCENARIO.preference(name)
        if name in gains:
            known = known.answer(name, preference.value if preference else None)
    assert both.belief.key == known.key


def test_no_turn_is_drafted_where_nothing_may_be_asked(base: LocalModel) -> None:
    both = deliberation(base, budget=0)
    talk = Conversation([Message(role="user", content="2 + 2?")])
    asyncio.run(both.complete(talk, Sampling(max_tokens=8)))
    assert not both.credits and len(talk.ids) > 8


def test_an_adopted_draft_is_recorded_as_if_it_had_been_written_alone(base: LocalModel) -> None:
    def talk() -> Conversation:
        return Conversation([Message(role="user", content=SCENARIO.problem.question)])

    settings = [Sampling(temperature=2.0, max_tokens=24, seed=seed) for seed in (3, 4, 5)]
    drafted, alone = talk(), talk()
    drafts = asyncio.run(base.drafts(drafted, settings))
    assert not drafted.ids and len({draft.completion.text for draft in drafts}) > 1
    base.adopt(drafted, drafts[1])
    said = asyncio.run(base.complete(alone, settings[1]))
    assert drafts[1].completion.text == said.text and drafted.ids == alone.ids and drafted.mask == alone.mask
    assert drafted.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    for each in (drafted, alone):
        each.messages += [Message(role="assistant", content="So."), Message(role="user", content="Go on.")]
        each.ids, each.mask = each.ids[:], each.mask[:]
    texts = [asyncio.run(base.complete(each, Sampling(max_tokens=8, seed=1))).text for each in (drafted, alone)]
    assert texts[0] == texts[1]
