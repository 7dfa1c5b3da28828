"""Talking with an agent in the terminal: through a pipe, through a terminal, and with somebody who leaves."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prefdisco.cli import main
from prefdisco.llm.base import Model
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.people import chat as chat_module
from prefdisco.people.chat import preference_of
from prefdisco.people.stated import Stated, Unstated
from prefdisco.protocol import format_final, format_question
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Episode, read_jsonl
from prefdisco.world import offers_of

ROOT = Path(__file__).parent.parent
ASKS = "<think>hm</think>" + format_question("Should the tone be formal, casual or playful?")
ANSWERS = "<think>I see\x1b[31m</think>" + format_final("Kindly note the following.\nAnswer: \x1b]0;gone\x07 42.")


def play(
    monkeypatch: pytest.MonkeyPatch, agent: Model, said: list[str | type[BaseException]], run: Path, *words: str
) -> None:
    """`prefdisco chat` with this agent and somebody who says these lines; an exception stands for a key."""
    lines = iter(said)

    def typed(prompt: str) -> str:
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(chat_module, "load_model", lambda *args, **more: agent)
    main(["chat", "agent=scripted", f"run={run}", *words])
    assert next(lines, None) is None, "it did not ask for all of it"


def test_own_preferences_stay_hidden_and_are_graded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = ScriptedModel([ASKS, ANSWERS])
    said: list[str | type[BaseException]] = ["9", "2", "", "tone loud", "tone formal 4", "order=answer_first", ""]
    play(monkeypatch, agent, [*said, "formal, please", ""], tmp_path, "role=self")
    shown = capsys.readouterr().out
    assert "A number from 1 to 5" in shown and "Please choose at least one." in shown
    assert "tone: choose one of formal, casual, playful" in shown
    assert "\x1b" not in shown and "I see" not in shown and "thinking are folded" in shown
    assert not any("formal" in message.content for message in agent.calls[0][0].messages[:2])
    (episode,) = read_jsonl(tmp_path / "episodes.jsonl", Episode)
    assert {a: round(w, 3) for a, w in episode.weights.items()} == {"tone": 0.571, "order": 0.429}
    assert [(q.answer, q.revealed) for q in episode.questions] == [("formal, please", "tone")]
    assert {g.attribute: g.score for g in episode.grades}["tone"] == 5 and episode.correct is False
    assert main(["validate", str(tmp_path / "episodes.jsonl")]) == 0


def test_somebody_who_leaves_goes_on_where_they_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, ScriptedModel([ASKS]), ["1", EOFError], tmp_path)
    assert "the same command goes on from here" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        play(monkeypatch, ScriptedModel([ASKS]), ["formal", "0", KeyboardInterrupt], tmp_path)
    assert exit.value.code == 130  # the recorded question came first, then the agent was asked once
    with pytest.raises(SystemExit):  # the agent fails: no episode, nothing lost
        play(monkeypatch, ScriptedModel([]), [""], tmp_path)
    assert "agent failed" in capsys.readouterr().err and not (tmp_path / "episodes.jsonl").exists()
    play(monkeypatch, ScriptedModel([ANSWERS]), [], tmp_path)
    (episode,) = read_jsonl(tmp_path / "episodes.jsonl", Episode)
    assert [question.answer for question in episode.questions] == ["formal", "No preference."]
    play(monkeypatch, ScriptedModel([ANSWERS]), [""], tmp_path, "thinking=true")  # a dialogue of its own
    assert "I see" in capsys.readouterr().out
    assert len({each.scenario_id for each in read_jsonl(tmp_path / "episodes.jsonl", Episode)}) == 2


def test_people_grade_where_nobody_can_compute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (known,) = load_scenarios("pocket", 1)
    other = known.model_copy(update={"problem": known.problem.model_copy(update={"task": "own", "checker": "exact"})})
    (tmp_path / "mine.jsonl").write_text(other.model_dump_json() + "\n")
    ratings = [str(1 + place) for place in range(len(other.profile))]
    right = ScriptedModel([format_final(f"Answer: {other.problem.answer}")])
    words = (f"scenarios={tmp_path / 'mine.jsonl'}", f"scenario={other.id}", "condition=oracle")
    play(monkeypatch, right, ["six", *ratings], tmp_path / "run", *words)
    (episode,) = read_jsonl(tmp_path / "run" / "episodes.jsonl", Episode)
    assert [grade.score for grade in episode.grades] == [*map(int, ratings)] and episode.correct is True


def test_a_line_states_a_preference() -> None:
    offers = next(iter(offers_of(load_scenarios("pocket", 1)).values()))
    assert preference_of("tone = formal 5", offers) == ("tone", Stated("formal", 5))
    assert preference_of("order answer_first", offers) == ("order", Stated("answer_first", 3))
    for wrong in ("mood formal", "tone", "tone formal 9", "5"):
        with pytest.raises(Unstated):
            preference_of(wrong, offers)


def command(run: Path) -> list[str]:
    """The shipped agent, made to ask: left to itself, it sometimes asks nothing."""
    words = ["agent=pocket-base", "condition=fixed(3)", f"run={run}"]
    return [sys.executable, "-m", "prefdisco.cli", "chat", *words]


def test_a_terminal_is_left_with_ctrl_c_and_a_pipe_goes_on(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(tmp_path), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, close_fds=True)
    os.close(theirs)
    try:
        shown = until(ours, "Which problem?")
        os.write(ours, b"2\n")
        until(ours, "The agent asks")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        shown = until(ours, "continues where it stopped")
        assert process.wait(60) == 130 and "Traceback" not in shown
    finally:
        process.kill()
        os.close(ours)
    done = subprocess.run(command(tmp_path), input="\n" * 12, text=True, capture_output=True, cwd=ROOT)
    assert done.returncode == 0 and "Going on with the dialogue" in done.stdout, done.stderr
    assert re.search(r"The answer is (right|wrong)", done.stdout)
    assert main(["validate", str(tmp_path / "episodes.jsonl")]) == 0


def until(terminal: int, words: str) -> str:
    """What is shown until these words are."""
    shown = b""
    while words.encode() not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            raise AssertionError(f"it ended without {words!r}: {shown.decode()}") from None
    return shown.decode()
