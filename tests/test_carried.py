"""What one problem revealed of a person, told on the next: nothing but that, and only where it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prefdisco.carried import fit, revealed_before
from prefdisco.cli import main
from prefdisco.conditions import parse_condition, prompt
from prefdisco.config import ConfigError
from prefdisco.evaluate import evaluate_scenarios
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.metrics import summarize
from prefdisco.protocol import format_final, format_question
from prefdisco.report.transcripts import dialogue
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import DataError, Episode, Grade, Scenario, write_jsonl
from prefdisco.sequences import PARTS, part, relation
from tests.hand_made import Agent, TruthfulUser, WordJudge, episode, scenario

TONES = {"ann": "formal", "bob": "playful"}
FIRST = [scenario("p0", person, tone=tone, format="bullets") for person, tone in TONES.items()]
LATER = [scenario("p1", "ann", tone="formal", depth="short"), scenario("p1", "bob", tone="casual", depth="long")]
CONDITIONS = ("baseline", "discovery", "carried", "carried_discovery")


def asks_tone(talk: Conversation) -> str:
    """Asks for the tone where it may, and answers with all that it was told."""
    told = " ".join(message.content for message in talk.messages if message.role != "assistant")
    if "questions" not in told:
        return f"42 {told}"
    if not any(message.role == "assistant" for message in talk.messages):
        return format_question("Which tone?")
    return format_final(f"42 {told}")


def silent(talk: Conversation) -> str:
    return format_final("42")


def play(
    agent: Agent, world: Sequence[Scenario], conditions: Sequence[str], folder: Path | None = None, **more: Any
) -> list[Episode]:
    return asyncio.run(
        evaluate_scenarios(
            world, agent, TruthfulUser(), WordJudge(), conditions, [0], Sampling(), run_dir=folder, progress=False,
            **more,
        )
    )  # fmt: skip


def carried(speak: Any = asks_tone) -> dict[Any, Any]:
    return revealed_before(play(Agent(speak), FIRST, ["discovery"]), LATER, [0])


def test_only_what_was_revealed_is_carried() -> None:
    told = carried()
    assert told == {("p1/ann", 0): (("tone", "formal"),), ("p1/bob", 0): (("tone", "playful"),)}
    for own in play(Agent(asks_tone), LATER, CONDITIONS, carried=told):
        opening = own.messages[0].content
        if own.condition.startswith("carried"):
            assert f"- tone: {TONES[own.persona_id]}" in opening and own.carried == {"tone": TONES[own.persona_id]}
        else:
            assert own.carried == {}
        assert ("found before: tone: " in dialogue("run", own)) == bool(own.carried)
        hidden = {"bullets", "short", "long", "casual", *(TONES.values() if own.condition == "discovery" else ())}
        assert not any(word in opening for word in hidden)  # neither profile, beyond what was told


def test_only_the_second_of_the_two_conditions_may_ask() -> None:
    played = play(Agent(asks_tone), LATER, CONDITIONS[2:], carried=carried())
    assert [len(own.questions) for own in played] == [0, 0, 1, 1]


def test_where_nothing_was_revealed_it_is_as_without_an_earlier_problem() -> None:
    agent = Agent(asks_tone)
    played = play(agent, LATER, CONDITIONS, carried=carried(silent))
    by_condition = {name: [own for own in played if own.condition == name] for name in CONDITIONS}
    for own, plain in zip(by_condition["carried_discovery"], by_condition["discovery"], strict=True):
        assert (own.messages, own.questions, own.alignment) == (plain.messages, plain.questions, plain.alignment)
    assert {own.messages[0].content for own in by_condition["carried"]} == {prompt("generic")}
    seeds = [sampling.seed for messages, sampling in agent.seen if messages[0].content.startswith("Learn")]
    assert len(set(seeds)) == len(seeds) / 2  # the same draws as discovery's


def test_people_of_one_problem_do_not_share_its_answer() -> None:
    assert not parse_condition("carried").shared
    first, second = play(Agent(asks_tone), LATER, ["carried"], carried=carried())
    assert first.response != second.response


def test_an_episode_that_was_told_something_else_is_played_again(tmp_path: Path) -> None:
    told = carried()
    play(Agent(asks_tone), LATER, CONDITIONS, tmp_path, carried=told)
    again = Agent(asks_tone)
    play(again, LATER, CONDITIONS, tmp_path, carried=told)
    assert again.seen == []
    other = Agent(asks_tone)
    played = play(other, LATER, CONDITIONS, tmp_path, carried={**told, ("p1/bob", 0): ()})
    assert len(other.seen) == 3  # one turn of bob's `carried`, two of his `carried_discovery`
    assert next(own for own in played if own.key == ("p1/bob", "carried", 0)).carried == {}


def test_what_cannot_be_carried_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"carried tells .* carried=RUN"):
        play(Agent(asks_tone), LATER, CONDITIONS)
    first = play(Agent(asks_tone), FIRST, ["discovery"])
    with pytest.raises(DataError, match=r"^carried=x: 1 of 2 scenarios .*such as p1/bob"):
        revealed_before(first[:1], LATER, [0], "carried=x")
    with pytest.raises(DataError, match=r"2 of 4 .*with seed 1"):
        revealed_before(first, LATER, [0, 1])
    with pytest.raises(DataError, match="ann has several dialogues"):
        revealed_before([*first, *play(Agent(asks_tone), LATER[:1], ["discovery"])], LATER, [0])


def test_the_command_refuses_before_it_owns_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "agent=pocket-base", "limit=2", "conditions=[carried]", f"run={tmp_path / 'run'}"]
    for more, message in (([], "carried=RUN"), ([f"carried={tmp_path}"], "not the run folder of an evaluation")):
        with pytest.raises(SystemExit):
            main([*words, *more])
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.yaml").exists()


def later(problem: str, alignment: float, carried: dict[str, str], tone: int) -> Episode:
    """An episode whose profile is a formal tone, whose grade is `tone`, and bullets."""
    grades = (Grade(attribute="tone", score=tone), Grade(attribute="format", score=3))
    made = episode(problem, "carried" if carried else "baseline", alignment, values={"tone": "formal", "format": "x"})
    return made.model_copy(update={"carried": carried, "grades": grades})


def test_figures_say_what_fits_and_what_does_harm() -> None:
    fitting, stale, idle = {"tone": "formal"}, {"tone": "playful"}, {"tone": "formal", "depth": "short"}
    own = [later("p0", 4, fitting, 5), later("p1", 2, stale, 1), later("p2", 2, idle, 5), later("p3", 4, stale, 3)]
    base = [later(f"p{n}", 3, {}, 3) for n in range(4)]
    assert [list(fit(each).values()) for each in own] == [["fits"], ["stale"], ["fits", "idle"], ["stale"]]
    found = {name: each["mean"] for name, each in summarize([*base, *own])["carried"]["carried"].items()}
    assert found == pytest.approx(
        {"told": 1.25, "fits": 0.4, "stale": 0.4, "idle": 0.2, "spoilt": 0.5, "harmed_fitting": 0.0,
         "harmed_misfit": 2 / 3}
    )  # fmt: skip
    assert "carried" not in summarize(base)


def test_pocket_has_four_problems_of_each_person_in_their_relations() -> None:
    parts = {name: load_scenarios(f"pocket:{name}", 12) for name in PARTS}
    assert [made.id for made in load_scenarios("pocket:first", 5)] == [made.id for made in parts["first"][:5]]
    for name, found in parts.items():
        assert [made.persona.id for made in found] == [made.persona.id for made in parts["first"]]
        for before, after in zip(parts["first"], found, strict=True):
            assert name == "first" or (relation(before.problem, after.problem), before.id != after.id) == (name, True)
    assert len({made.persona.id for made in parts["first"]}) == 12
    with pytest.raises(ConfigError, match=r"pocket:heldout: .* choose pocket:PART"):
        load_scenarios("pocket:heldout:first", 5)
    test = {made.persona.id for made in load_scenarios("pocket:train", 100)}
    assert not test & {made.persona.id for made in parts["first"]}


def test_a_file_has_the_sequences_that_it_has(tmp_path: Path) -> None:
    cleo = scenario("p3", "cleo")
    far = scenario("p2", "bob")
    far = far.model_copy(update={"problem": far.problem.model_copy(update={"domain": "law"})})
    path = tmp_path / "people.jsonl"
    write_jsonl(path, [cleo, *FIRST, *LATER, far])
    names = {name: [made.id for made in load_scenarios(f"{path}:{name}", 9)] for name in ("first", "same_domain")}
    assert names == {"first": ["p0/ann", "p0/bob"], "same_domain": ["p1/ann", "p1/bob"]}  # cleo has one problem
    assert [made.id for made in load_scenarios(f"{path}:other_domain", 9)] == ["p2/bob"]
    assert [made.id for made in load_scenarios(f"{path}:same_domain", 1)] == ["p1/ann"]  # the limit counts people
    with pytest.raises(ConfigError, match=r"people\.jsonl:same_family: of 2 people"):
        load_scenarios(f"{path}:same_family", 9)
    assert part([cleo, cleo, *FIRST[:1], *LATER[:1]], "first", 9)[0].id == "p0/ann"
