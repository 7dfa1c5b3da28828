"""Dialogues for the data engine in which the model asks the best of several questions of its own."""

from __future__ import annotations

import asyncio
import math
from statistics import fmean
from typing import Any

import pytest

from prefdisco.config import ConfigError, DataConfig, SFTRecipe, load
from prefdisco.elicitation import DISCOUNT, lookahead
from prefdisco.engine.card import card
from prefdisco.engine.dialogues import Interview
from prefdisco.engine.drafts import BestQuestion, parsed
from prefdisco.engine.outcomes import lost_by_question, summary_of
from prefdisco.engine.selfdistill import SelfDistill, unmade
from prefdisco.llm.base import Completion, Conversation, Sampling, Usage
from prefdisco.llm.local import LocalModel
from prefdisco.llm.rows import Row
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.llm.tokens import Draft
from prefdisco.pocket.attributes import ATTRIBUTES, ask
from prefdisco.pocket.belief import belief
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import attribute_of
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Scenario
from prefdisco.training import sft
from prefdisco.users import Reply
from prefdisco.world import world_of

SCENARIOS = scenarios("train", 24, 0)
SCENARIO = SCENARIOS[0]
START = belief(SCENARIO)
VALUES = lookahead(START, 0.01, 5)
BEST = max(VALUES, key=lambda name: VALUES[name])
WORST = min(VALUES, key=lambda name: VALUES[name])


class Drafter:
    """An agent whose drafts are given."""

    name = "drafter"

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.samplings: list[Sampling] = []

    async def drafts(self, conversation: Conversation, samplings: list[Sampling]) -> list[Draft]:
        self.samplings += samplings
        return [Draft(Completion(text, "stop", Usage()), [], Row([], Sampling(), 1)) for text in self.texts]

    def adopt(self, conversation: Conversation, draft: Draft) -> Completion:
        return draft.completion


def thought(text: str) -> str:
    return f"<think>So.</think>{text}"


def question(name: str) -> str:
    return thought(format_question(ask(name, 0)))


def asker(*texts: str, **settings: Any) -> BestQuestion:
    cost = settings.pop("cost", 0.01)
    data = DataConfig(**{"policy": "self", "drafts": max(len(texts), 2), **settings})
    agent: Any = Drafter(*texts)
    return BestQuestion(agent, world_of([SCENARIO]), SCENARIO, START, data, cost)


def taken(*texts: str, **settings: Any) -> str:
    return asyncio.run(asker(*texts, **settings).complete(Conversation([]), Sampling())).text


def test_the_question_that_brings_most_is_asked() -> None:
    assert taken(question(WORST), question(BEST), thought(format_final("42"))) == question(BEST)
    assert taken(question(BEST), question(WORST)) == question(BEST)
    assert taken(question(BEST), thought(format_question(ask(BEST, 1)))) == question(BEST), "the first of equals"


def test_what_cannot_be_read_is_asked_last() -> None:
    broken, nothing = "<think>So." + format_question(ask(BEST, 0)), thought("no action")
    assert taken(broken, nothing, question(WORST)) == question(WORST)
    assert taken(broken, nothing) == broken, "there is nothing else"


def test_an_answer_is_taken_where_no_question_is_worth_its_price() -> None:
    answer = thought(format_final("42"))
    assert taken(question(WORST), answer) == question(WORST)
    assert taken(question(BEST), answer, cost=9) == answer


def test_what_cannot_matter_is_worth_the_question_after_it() -> None:
    weather = parsed(
        Draft(Completion(thought(format_question("Is it raining?")), "stop", Usage()), [], Row([], Sampling(), 1))
    )
    best = max(START.gains().values())
    for left, later in ((5, best - 0.01), (1, 0.0)):
        one = asker()
        one.left = left
        assert one.value(weather, lookahead(START, 0.01, left)) == pytest.approx(DISCOUNT * later - 0.01)


def test_what_was_answered_is_not_asked_again() -> None:
    both = asker(question(BEST), question(WORST))
    reply = asyncio.run(both.reply(SCENARIO, [], ask(BEST, 0), 0))
    assert isinstance(reply, Reply) and both.left == 4 and both.known(BEST)
    assert asyncio.run(both.complete(Conversation([]), Sampling())).text == question(WORST)
    asked_again = parsed(Draft(Completion(question(BEST), "stop", Usage()), [], Row([], Sampling(), 1)))
    assert both.value(asked_again, lookahead(both.belief, 0.01, 4)) == -math.inf


def test_what_a_draft_loses_is_counted() -> None:
    both = asker(question(BEST), question(WORST))
    broken = asker("<think>So." + format_question(ask(BEST, 0)))
    for asked in (both, broken):
        asyncio.run(asked.complete(Conversation([]), Sampling()))
    nothing = DISCOUNT * (max(START.gains().values()) - 0.01) - 0.01  # a turn is wasted
    assert both.lost == [0.0] and broken.lost == pytest.approx([VALUES[BEST] - nothing])
    worst = asker(question(WORST))
    asyncio.run(worst.complete(Conversation([]), Sampling()))
    assert worst.lost == pytest.approx([VALUES[BEST] - VALUES[WORST]])


def test_the_card_says_what_drafts_lose() -> None:
    one = unmade(SCENARIO, "").model_copy(update={"error": None, "lost": (0.0, 0.2)})
    turns = lost_by_question([one, one.model_copy(update={"lost": (0.1,)}), unmade(SCENARIO, "x")])
    assert turns == [{"points": 0.05, "best": 0.5, "n": 2}, {"points": 0.2, "best": 0.0, "n": 1}]
    recipe = load(SFTRecipe, ["recipe=inferred_own", "model=pocket-base"])
    counts = summary_of([one])
    assert "lost against the best question, from the first on: 0.000, 0.200 (100%, 0% lose" in card(recipe, counts)
    assert "lost against" not in card(recipe, {**counts, "lost": []})


def test_drafts_have_their_own_temperature_and_seeds() -> None:
    both = asker(question(BEST), question(WORST), draft_temperature=0.7)
    asyncio.run(both.complete(Conversation([]), Sampling(temperature=0.1, seed=3)))
    found = both.agent.samplings  # type: ignore[attr-defined]
    assert [each.temperature for each in found] == [0.7, 0.7] and len({each.seed for each in found}) == 2
    both.left = 0
    assert asyncio.run(both.complete(Conversation([]), Sampling())).text == format_final("-")
    assert len(found) == 2, "the last turn is not for it to write"


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return LocalModel("pocket-base", device="cpu")


def dialogues(model: LocalModel, drafts: int) -> list[Interview]:
    data = DataConfig(policy="self", drafts=drafts, max_tokens=96)
    engine = SelfDistill(model, model.chat, world_of(SCENARIOS), data, seed=0)

    async def every() -> list[Interview]:
        return await asyncio.gather(*(engine.dialogue(scenario) for scenario in SCENARIOS))

    return asyncio.run(every())


def test_a_model_that_cannot_draft_is_refused_and_not_asked_for_one_question(base: LocalModel) -> None:
    with pytest.raises(ConfigError, match="only a model that writes here drafts, not scripted"):
        data = DataConfig(policy="self", drafts=2)
        SelfDistill(ScriptedModel([]), base.chat, world_of(SCENARIOS), data, seed=0)


def brought(scenario: Scenario, dialogue: Interview) -> float:
    """The rise of the expected alignment that the dialogue brought."""
    known = belief(scenario)
    for each in dialogue.questions:
        name = attribute_of(each.text)
        if name in ATTRIBUTES and name not in {one for one, _ in known.answered}:
            preference = scenario.preference(name)
            known = known.answer(name, preference.value if preference else None)
    return known.expected_alignment() - belief(scenario).expected_alignment()


def test_with_drafts_the_same_model_asks_better(base: LocalModel) -> None:
    alone, drafted = dialogues(base, 1), dialogues(base, 6)
    assert drafted == dialogues(base, 6), "the same seed, the same dialogues"
    gains = [fmean(map(brought, SCENARIOS, each)) for each in (alone, drafted)]
    assert gains[1] > gains[0] + 0.3, gains
    assert all(message.content for dialogue in drafted for message in dialogue.messages)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["data.drafts=4"],
            "data.drafts: policy exact asks, and drafts nothing; set data.policy=self, or data.drafts=1",
        ),
        (["data.drafts=4", "data.policy=self", "data.writer=server/http://a"], "only a model that writes here drafts"),
        (
            ["data.drafts=4", "data.policy=self", "eval.user=server/http://a"],
            "only Pocket's users tell what a question",
        ),
        (["data.drafts=0"], "data.drafts"),
    ],
)
def test_drafts_that_cannot_be_are_refused_in_one_line(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        sft.settings(load(SFTRecipe, ["recipe=selfdistill", *words]))
    assert complaint in str(refused.value) and "\n" not in str(refused.value)
