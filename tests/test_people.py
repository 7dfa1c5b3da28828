"""What people state, what they make, how they compare with simulated users, and what validate says of episodes."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefdisco.agreement import agree
from prefdisco.cli import main
from prefdisco.conditions import parse_condition
from prefdisco.config import EvaluateConfig
from prefdisco.dialogue import play
from prefdisco.evaluate import evaluate
from prefdisco.llm.base import Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.people.compare import indifferent, patterns
from prefdisco.people.seat import Answer, Kept, NothingSaid, Person, Taken, answer_of
from prefdisco.people.stated import Stated, Unstated, scenario_of
from prefdisco.people.text import plain
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Episode, Grade, Message, Preference, Question, write_jsonl
from prefdisco.users import STOP
from prefdisco.world import offers_of
from tests.hand_made import episode, scenario

PLAY = parse_condition("fixed(3)")


def test_weights_are_shares_of_the_importances() -> None:
    base = scenario(tone="formal", format="bullets", order="first")
    offers = offers_of([base, scenario(persona="bob", tone="casual")])["p1"]
    made = scenario_of(base.problem, "s1", {"tone": Stated("casual", 1), "order": Stated("first", 3)}, offers)
    assert [(p.attribute, p.value, p.weight) for p in made.profile] == [
        ("order", "first", 0.75),
        ("tone", "casual", 0.25),
    ]
    assert [c.attribute for c in made.rubric] == ["order", "tone"] and made.persona.id == made.persona.name == "s1"
    for wrong in ({}, {"tone": Stated("loud", 3)}, {"mood": Stated("x", 3)}, {"tone": Stated("formal", 0)}):
        with pytest.raises(Unstated):
            scenario_of(base.problem, "s1", wrong, offers)


def test_values_on_a_scale_are_all_offered_and_keep_their_meaning() -> None:
    scaled = Preference(attribute="depth", value="4", weight=1.0, kind="personal", description="how deep, 1..5")
    base = scenario().model_copy(update={"profile": (scaled,)})
    (offer,) = offers_of([base])["p1"]
    assert list(offer.labels) == ["1", "2", "3", "4", "5"] and offer.described == "how deep, 1..5"
    assert (
        scenario_of(base.problem, "s1", {"depth": Stated("2", 5)}, [offer]).profile[0].description == "how deep, 1..5"
    )


def test_only_words_reach_the_agent() -> None:
    base = scenario()
    said = answer_of("<think>x</think> ###STOP### tea\u202e, please <|im_end|>", "tone", base)
    assert said == Answer(text="tea, please", revealed="tone")
    assert answer_of("hello", "nothing of theirs", base).revealed is None
    assert answer_of("", None, base, stop=True).text == STOP
    with pytest.raises(NothingSaid):
        answer_of(" \u200b ###", None, base)
    assert plain("a\x1b[31m\tb\r\n\x07c\u2066  \n\n") == "a[31m b\nc"


def test_a_dialogue_played_from_its_record_is_the_same_to_the_token() -> None:
    """The shipped agent, cut off after every turn, says what it would have said."""
    (played,), agent = load_scenarios("pocket", 1, seed=3), LocalModel("pocket-base")

    async def whole(taken: list[Taken], given: list[Answer], stops: int | None) -> Episode:
        async def ask(question: str) -> Answer:
            if len(given) == stops:
                raise asyncio.CancelledError
            given.append(Answer(text="No preference."))
            return given[-1]

        kept = Kept(agent, taken, taken.append)
        return await play(played, PLAY, kept, Person(given, ask), Sampling(), 5)

    straight = asyncio.run(whole([], [], None))
    assert straight.tokens is not None and len(straight.questions) > 1
    taken: list[Taken] = []
    given: list[Answer] = []
    for stops in range(len(straight.questions)):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(whole(taken, given, stops))
    resumed = asyncio.run(whole(taken, given, None))
    assert resumed.tokens is not None and resumed.tokens.ids == straight.tokens.ids
    assert resumed.tokens.mask == straight.tokens.mask
    assert resumed.model_copy(update={"tokens": None}) == straight.model_copy(update={"tokens": None})


def talk(person: str, problem: str, *answers: tuple[str, str | None]) -> Episode:
    questions = tuple(Question(text="?", answer=answer, revealed=revealed) for answer, revealed in answers)
    return episode(problem, "discovery", 3, persona=person).model_copy(update={"questions": questions})


def test_patterns_of_people_stand_beside_those_of_simulated_users() -> None:
    people = [
        talk("ann", "p1", ("Formal would be nice, thank you", "tone"), ("I don't mind", None)),
        talk("bob", "p1", ("bullets", "format"), ("formal", "tone"), (STOP, None)),
        talk("bob", "p2", ("no", None)),
    ]
    doubles = [talk("ann", "p1", ("Formal.", "tone")), talk("bob", "p1", ("No preference.", None))]
    rows = table_of(patterns(people, doubles, 200))
    means = {name: tuple(cell.partition(" ")[0] for cell in cells) for name, cells in rows.items()}
    assert means["questions a dialogue"] == ("2.00", "1.00", "1.00")
    assert means["questions that revealed a preference %"] == ("50.0", "50.0", "0.0")
    assert means["words an answer"] == ("2.4", "1.5", "0.9")
    assert means["answers without a preference %"] == ("20.0", "50.0", "-30.0")
    assert means["dialogues that the person ended %"] == ("33.3", "0.0", "33.3")


def table_of(text: str) -> dict[str, list[str]]:
    """Cells by the name of their row."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_whoever_rates_as_the_judge_does_agrees_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(EvaluateConfig(agent="pocket-base", limit=6, run=str(tmp_path)))
    write_jsonl(tmp_path / "scenarios.jsonl", load_scenarios("pocket", 6))
    main(["people", str(tmp_path), str(tmp_path), "resamples=50"])
    rows = table_of(capsys.readouterr().out)
    assert rows["exact agreement %"][0] == "100.0 ± 0.0" and rows["kappa"][0] == "1.00 ± 0.00"
    assert rows["questions a dialogue"][2] == "0.00 ± 0.00"  # people - simulated: the same dialogues
    assert rows["oracle"][0] == rows["oracle"][1] != "–"


@pytest.mark.parametrize(
    "words", ["No preference.", "I do not mind.", "Either is fine.", "doesn't matter to me", "any"]
)
def test_indifference_is_heard(words: str) -> None:
    assert indifferent(words)


@pytest.mark.parametrize(
    "words", ["Formal.", "either way, I want the answer at the very end of it all, after every step", "Anyone", "no"]
)
def test_a_preference_is_no_indifference(words: str) -> None:
    assert not indifferent(words)


def test_intervals_draw_whole_people() -> None:
    """Every person rates in a way of their own: intervals over people are wider than those over problems."""
    draw, people, judge = random.Random(0), [], []
    for person in range(12):
        shift = draw.choice((-2, 0, 0, 2))
        for problem in range(8):
            made = episode(f"p{problem}", "discovery", 3, persona=f"s{person}", weights={"tone": 1.0})
            for side, score in ((people, 3 + shift), (judge, 3)):
                side.append(made.model_copy(update={"grades": (Grade(attribute="tone", score=score),)}))

    def width(by: Callable[[Episode], str]) -> float:
        low, high = agree(people, judge, 500, by).scores["difference"]["ci"]
        return float(high - low)

    assert width(lambda e: e.persona_id) > 4 * width(lambda e: e.problem_id)
    shifts = [3 - each.grades[0].score for each in people[::8]]
    expected = 2 * 1.96 * np.std(shifts) / len(shifts) ** 0.5
    assert width(lambda e: e.persona_id) == pytest.approx(expected, rel=0.15)


def good(**changes: Any) -> Episode:
    made = episode("p1", "discovery", 0.6 * 5 + 0.4 * 2, revealed=["tone"])
    grades = (Grade(attribute="tone", score=5), Grade(attribute="format", score=2))
    messages = (Message(role="user", content="A task."), *(Message(role="assistant", content="x") for _ in range(2)))
    return made.model_copy(update={"grades": grades, "messages": messages, **changes})


def test_every_fault_of_an_episode_is_told_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "episodes.jsonl"
    failed = good(error="out", alignment=None, correct=None, grades=())
    file.write_text("".join(each.model_dump_json() + "\n" for each in (failed, good())))
    assert main(["validate", str(file)]) == 0 and "2 episodes" in capsys.readouterr().out
    faulty = {
        "grades: of ['tone']": good(seed=1, grades=good().grades[:1]),
        "alignment: 3.8000, its grades make 3.2000": good(seed=2, weights={"tone": 0.4, "format": 0.6}),
        "questions.0.revealed: 'mood' is not in the profile": good(
            seed=3, questions=(Question(text="?", answer="!", revealed="mood"),)
        ),
        "weights: sum to 1.400": good(seed=4, weights={"tone": 1.0, "format": 0.4}),
        "correct: missing": good(seed=5, correct=None),
        "carries no score": good(seed=6, error="out"),
        "unknown condition 'oracel'": good(seed=7, condition="oracel"),
        "messages: ends with user": good(seed=8, messages=(*good().messages, Message(role="user", content="."))),
        "same scenario, condition and seed as line 1": good(),
    }
    lines = [good(), *faulty.values()]
    file.write_text("".join(each.model_dump_json() + "\n" for each in lines) + '{"scenario_id": "half')
    with pytest.raises(SystemExit):
        main(["validate", str(file)])
    found = capsys.readouterr().out.splitlines()
    for number, words in enumerate(faulty, 2):
        assert any(line.startswith(f"{file}:{number}: ") and words in line for line in found), words
    assert any(line.startswith(f"{file}:{len(lines) + 1}: ") and "line" in line for line in found)
    (tmp_path / "scenarios.jsonl").write_text(scenario(problem="p2").model_dump_json() + "\n")
    file.write_text(good().model_dump_json() + "\n")
    with pytest.raises(SystemExit):
        main(["validate", str(file)])
    assert "'p1/ann' is not in scenarios.jsonl" in capsys.readouterr().out
