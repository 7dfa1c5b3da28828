"""The four failure signatures, one definition at a time, in Pocket and where less is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from prefdisco.analysis.runs import Run
from prefdisco.analysis.signatures import (
    any_of,
    by_episode,
    counts,
    over_correction,
    pathway_fixation,
    premature_termination,
    signatures,
    task_clarification_loop,
    verdicts,
)
from prefdisco.conditions import prompt
from prefdisco.metrics import preference_alignment
from prefdisco.schema import Episode, Grade, Message, Question

WEIGHTS = {"tone": 0.4, "order": 0.3, "path": 0.3}
ASK = {"tone": "Formal, casual or playful?", "order": "Answer first or last?", "path": "Forward or backward?"}


def made(
    grades: Sequence[int],
    condition: str = "discovery",
    questions: Sequence[tuple[str, str | None]] = (),
    asked_to_end: bool = False,
    task: str = "pocket",
    problem: str = "p1",
) -> Episode:
    """An episode with these grades for tone, order and path; `questions` are (text, what was revealed)."""
    found = tuple(Grade(attribute=name, score=score) for name, score in zip(WEIGHTS, grades, strict=True))
    last = f"Either is fine.\n{prompt('final_request')}" if asked_to_end else "Either is fine."
    return Episode(
        scenario_id=f"{problem}/ann",
        problem_id=problem,
        persona_id="ann",
        condition=condition,
        seed=0,
        messages=(Message(role="user", content="A task."), Message(role="user", content=last)),
        questions=tuple(Question(text=text, answer="!", revealed=name) for text, name in questions),
        correct=True,
        grades=found,
        alignment=preference_alignment(found, WEIGHTS),
        task=task,
        weights=WEIGHTS,
    )


def base(*grades: int, problem: str = "p1") -> Episode:
    return made(grades, "baseline", problem=problem)


@pytest.mark.parametrize(
    ("before", "after", "seen"),
    [
        ((5, 3, 3), (1, 3, 3), True),  # what was right is lost
        ((5, 3, 3), (4, 3, 3), True),  # a little of it is enough
        ((5, 3, 3), (3, 5, 5), False),  # lost, but the person is better served
        ((3, 3, 3), (1, 3, 3), False),  # worse, but nothing had been right
        ((5, 3, 3), (5, 1, 3), False),
        ((5, 3, 3), (5, 3, 3), False),
    ],
)
def test_over_correction_is_harm_that_spoils_what_was_right(
    before: tuple[int, ...], after: tuple[int, ...], seen: bool
) -> None:
    assert over_correction(made(after), base(*before)) is seen
    assert over_correction(made(after), None) is None


def test_two_questions_about_the_task_are_a_loop_and_one_is_not() -> None:
    about_task = ("Can you restate the problem?", None)
    assert task_clarification_loop(made((3, 3, 3), questions=[about_task] * 2)) is True
    assert task_clarification_loop(made((3, 3, 3), questions=[about_task, (ASK["tone"], "tone")])) is False
    in_vain = ("Bold or capitals for the answer?", None)  # about an attribute that does not matter to this person
    assert task_clarification_loop(made((3, 3, 3), questions=[in_vain] * 3)) is False


def test_outside_pocket_a_loop_is_excluded_or_not_known() -> None:
    vain, told = ("What do you mean?", None), ("Which tone?", "tone")
    assert task_clarification_loop(made((3, 3, 3), questions=[vain, told, told], task="math500")) is False
    assert task_clarification_loop(made((3, 3, 3), questions=[vain, vain], task="math500")) is None


def test_fixation_is_to_be_told_and_to_answer_as_before() -> None:
    told = [(ASK["tone"], "tone"), (ASK["path"], "path")]
    assert pathway_fixation(made((3, 5, 1), questions=told), base(3, 3, 3)) is True  # what it was told did not rise
    assert pathway_fixation(made((3, 3, 4), questions=told), base(3, 3, 3)) is False
    assert pathway_fixation(made((5, 3, 5), questions=told), base(5, 3, 5)) is False  # nothing was left to be done
    assert pathway_fixation(made((3, 3, 3), questions=[("?", None)]), None) is False  # nothing was told
    assert pathway_fixation(made((3, 3, 3), questions=told), None) is None


def test_termination_is_premature_where_the_agent_stops_itself_knowing_little_and_loses_by_it() -> None:
    one = [(ASK["path"], "path")]
    two = [*one, (ASK["tone"], "tone")]
    best = made((5, 5, 5), "oracle")
    assert premature_termination(made((3, 3, 5), questions=one), best) is True
    assert premature_termination(made((3, 3, 3)), best) is True  # no question at all
    assert premature_termination(made((5, 3, 5), questions=two), best) is False  # knows 70% of the weight
    assert premature_termination(made((3, 3, 5), questions=one, asked_to_end=True), best) is False
    assert premature_termination(made((3, 3, 5), questions=one), made((3, 3, 5), "oracle")) is False
    assert premature_termination(made((3, 3, 5), questions=one), None) is None
    assert premature_termination(made((3, 3, 3), "generic"), best) is False  # it may not ask
    silent = made((3, 3, 5), questions=one).model_copy(update={"messages": ()})
    assert premature_termination(silent, best) is None  # how it ended is not recorded


def test_an_episode_may_show_several() -> None:
    lost = made((1, 3, 3), questions=[("What do you mean?", None)] * 2)
    assert signatures(lost, base(5, 3, 3), made((5, 5, 5), "oracle")) == (
        "over-correction",
        "task-clarification loop",
        "premature termination",
    )
    assert set(verdicts(lost, None, None)) >= set(signatures(lost, base(5, 3, 3), None))


def test_counts_are_over_episodes_and_say_how_many_are_not_known() -> None:
    episodes = []
    for number in range(10):
        problem = f"p{number}"
        after = (1, 3, 3) if number < 4 else (5, 5, 5)
        episodes.append(base(5, 3, 3, problem=problem))
        episodes.append(made(after, questions=[("What?", None)] * 2, task="math500", problem=problem))
    run = Run("a", Path("a"), tuple(episodes))
    found = counts(run)
    assert found["over-correction"].episodes == 10
    assert found["over-correction"].share["mean"] == pytest.approx(0.4)
    low, high = found["over-correction"].share["ci"]
    assert 0 < low < 0.4 < high < 1
    assert found["task-clarification loop"].share["mean"] == 0
    assert found["task-clarification loop"].unknown["mean"] == 1
    assert found["any of them"].share["mean"] == pytest.approx(0.4)
    assert found["any of them"].unknown["mean"] == pytest.approx(0.6)  # of the six others it is not known
    assert by_episode(run)["p0/ann", "discovery", 0] == ("over-correction",)
    assert by_episode(run)["p9/ann", "discovery", 0] == ()
    assert counts(Run("b", Path("b"), ())) == {}


def test_one_seen_is_enough_and_one_unknown_keeps_it_open() -> None:
    assert any_of({"a": True, "b": None}) is True
    assert any_of({"a": False, "b": None}) is None
    assert any_of({"a": False, "b": False}) is False
