"""What each recipe teaches of the same outcome: dialogue or none, thinking or none, whose answer."""

from __future__ import annotations

import asyncio

import pytest
from authoring import BUDGET, SCENARIOS, Author, engine, small, spans

from prefdisco.config import Mix, TeachConfig
from prefdisco.engine.outcomes import Outcome, Talk, summary_of
from prefdisco.engine.teaching import lessons
from prefdisco.llm.local import LocalModel
from prefdisco.protocol import join_thinking, parse_turn


@pytest.fixture(scope="module")
def local() -> LocalModel:
    return small()


@pytest.fixture(scope="module")
def outcome(local: LocalModel) -> Outcome:
    """One scenario's talks, with every kind of the mix."""
    made = engine(Author(local), mix=Mix(plain=0.25, oracle=0.25, no_think=0.25))
    return asyncio.run(made.run(SCENARIOS[0]))


def last(local: LocalModel, talk: Talk) -> str:
    """The agent's last turn, as its tokens say it."""
    start = spans(talk.mask)[-1][0]
    return str(local.tokenizer.decode(talk.ids[start:])).removesuffix("<|im_end|>")


def test_each_recipe_teaches_its_thinking_and_its_answer(local: LocalModel, outcome: Outcome) -> None:
    own, generic = outcome.talk("discovery"), outcome.talk("generic")
    assert own is not None and generic is not None
    answer, plain = own.messages[-1], generic.messages[-1]
    assert parse_turn(answer.content).text != plain.content
    expected = {
        ("own", "personalized"): join_thinking(answer.thinking, answer.content),
        ("generic", "personalized"): join_thinking(plain.thinking, answer.content),
        ("none", "personalized"): answer.content,
        ("generic", "generic"): join_thinking(plain.thinking, answer.content.partition(": ")[0]),
    }
    for (thinking, kind), text in expected.items():
        teach = TeachConfig(thinking=thinking, answer=kind)  # type: ignore[arg-type]
        said = last(local, lessons([outcome], teach, local.chat)[0])
        assert said.startswith(text)
        assert parse_turn(said).text == (plain.content if kind == "generic" else parse_turn(answer.content).text)


def test_without_dialogue_the_preferences_stand_in_the_prompt(local: LocalModel, outcome: Outcome) -> None:
    stated_talk = lessons([outcome], TeachConfig(dialogue=False), local.chat)[0]
    assert stated_talk.kind == "stated" and [m.role for m in stated_talk.messages] == ["system", "user", "assistant"]
    own = outcome.talk("discovery")
    assert own is not None and stated_talk.messages[-1].content == parse_turn(own.messages[-1].content).text


def test_no_thinking_is_left_anywhere_and_nothing_else_changes(local: LocalModel, outcome: Outcome) -> None:
    before = lessons([outcome], TeachConfig(), local.chat)
    after = lessons([outcome], TeachConfig(thinking="none"), local.chat)
    assert [talk.kind for talk in after] == [talk.kind for talk in before]
    for old, new in zip(before, after, strict=True):
        said = [(m.role, m.content) for m in old.messages]
        assert [(m.role, m.content) for m in new.messages] == said and not any(m.thinking for m in new.messages)
        assert read(old) == read(new)
        text = str(local.tokenizer.decode(new.ids))
        assert "<think>" not in text.replace("<think></think>", "")
        assert ("<think></think>" in text) == (new.kind == "no_think")


def read(talk: Talk) -> list[int]:
    """The tokens that are not the agent's."""
    return [token for token, own in zip(talk.ids, talk.mask, strict=True) if not own]


def test_what_a_recipe_keeps_keeps_its_recorded_tokens(local: LocalModel, outcome: Outcome) -> None:
    for talk in lessons([outcome], TeachConfig(), local.chat):
        assert talk is outcome.talk(talk.kind)
    own, changed = outcome.talk("discovery"), lessons([outcome], TeachConfig(thinking="generic"), local.chat)[0]
    assert own is not None
    start = spans(own.mask)[-1][0]
    assert changed.ids[:start] == own.ids[:start] and changed.ids != own.ids


def test_a_scenario_without_a_right_generic_answer_teaches_none(local: LocalModel, outcome: Outcome) -> None:
    bare = outcome.model_copy(update={"talks": tuple(t for t in outcome.talks if t.kind != "generic")})
    assert [t.kind for t in lessons([bare], TeachConfig(thinking="generic"), local.chat)] == [
        "plain",
        "oracle",
        "no_think",
    ]
    assert lessons([bare], TeachConfig(), local.chat)[0].kind == "discovery"


def test_further_scenarios_give_their_interview_alone(local: LocalModel) -> None:
    author = Author(local)
    found = asyncio.run(engine(author).interview(SCENARIOS[0]))
    assert author.seen == [] and found.verdicts == {} and found.questions == BUDGET
    (whole,) = found.talks
    text = str(local.tokenizer.decode(whole.ids))
    assert (
        text.count("ask_question'\n") == BUDGET and "final_answer'\n" not in text and whole.ids[-1] in local.chat.ends
    )
    assert lessons([found], TeachConfig(), local.chat) == [whole]
    assert lessons([found], TeachConfig(dialogue=False), local.chat) == []  # nobody asks there
    counts = summary_of([found])
    assert counts["scenarios"] == 0 and counts["interviews"] == 1
