"""Whole evaluations and builds against a server: nothing is lost, nothing is scored that failed, and calls are few."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from schema_writer import instance

from prefdisco.cli import main
from prefdisco.config import EvaluateConfig, load
from prefdisco.evaluate import evaluate, load_episodes
from prefdisco.files import RunError
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Criterion, Episode, Persona, Preference, Problem, Scenario, read_jsonl
from tests.faulty import Body, Faulty, serving

ROOT = Path(__file__).parent.parent
CONDITIONS = ("baseline", "discovery", "oracle")
QUESTIONS = 5  # that the agent asks, if nobody stops it
QUICK = ("remote.backoff_s=0.01", "remote.timeout_s=1", "remote.retries=2")


def cast(body: Body) -> str:
    """Everybody at once: valid content for a schema, and for no schema an agent that asks, then answers."""
    rng = random.Random(body["seed"])
    if "response_format" not in body:
        talk = body["messages"]
        asked = sum(message["role"] == "assistant" for message in talk)
        if "###ACTION###" not in talk[0]["content"]:
            return f"Answer: {rng.randrange(10**6)}."
        return format_question(f"Shall I use form {asked}?") if asked < QUESTIONS else format_final("Answer: B.")
    schema = body["response_format"]["json_schema"]["schema"]
    if schema["title"] != "Grades":
        return json.dumps({**instance(schema, rng), **({"stop": False} if "stop" in schema["properties"] else {})})
    criterion = schema["$defs"]["Score"]["properties"]["criterion"]
    names = criterion.get("enum") or [criterion["const"]]
    return json.dumps({"grades": [{"criterion": n, "reason": "as it is", "score": rng.randint(1, 5)} for n in names]})


def roles(server: Faulty) -> list[str]:
    model = f"server/{server.url}#test"
    return [f"agent={model}", f"user={model}", f"judge={model}"]


def configured(server: Faulty, folder: Path, *words: str) -> EvaluateConfig:
    return load(EvaluateConfig, [*roles(server), f"run={folder}", f"remote.cache={folder}-cache", *words])


def lines(folder: Path) -> list[Episode]:
    return list(read_jsonl(folder / "episodes.jsonl", Episode))


def panel(personas: int, criteria: int) -> list[Scenario]:
    """One multiple-choice problem and so many people, each with so many preferences."""
    problem = Problem(
        id="p", task="file", domain="d", question="Which?", options=("one", "two"), answer="B", checker="choice"
    )
    names = [f"wish{i}" for i in range(criteria)]
    profile = tuple(Preference(attribute=n, value="yes", weight=1 / criteria, kind="presentation") for n in names)
    rubric = tuple(
        Criterion(attribute=n, description=f"has {n}", levels={1: "no", 3: "some", 5: "yes"}, weight=1 / criteria)
        for n in names
    )
    return [
        Scenario(
            id=f"p/{i}", problem=problem, profile=profile, rubric=rubric,
            persona=Persona(id=f"person{i}", name=f"Ann {i}", description=f"Ann {i}, 3{i}"),
        )
        for i in range(personas)
    ]  # fmt: skip


def test_500_scenarios_end_where_a_third_of_the_calls_fail_and_are_made_whole_later(tmp_path: Path) -> None:
    with serving(rate=0.3, reply=cast) as server:
        first = evaluate(configured(server, tmp_path / "run", "limit=500", *QUICK))
        assert min(server.met[fault] for fault in server.faults) > 100, server.met
        assert 0 < first["errors"] < 1500
        after = lines(tmp_path / "run")
        assert Counter(e.key for e in after).most_common(1)[0][1] == 1 and len(after) == 1500
        for episode in after:
            whole = episode.correct is not None and episode.alignment is not None and len(episode.grades) > 0
            assert whole == (episode.error is None)
        scored = sum(condition["n"] for condition in first["conditions"].values())
        assert scored == 1500 - first["errors"]

        server.rate = 0
        second = evaluate(configured(server, tmp_path / "run", "limit=500", *QUICK))
    assert second["errors"] == 0 and len(load_episodes(tmp_path / "run" / "episodes.jsonl")) == 1500
    good = Counter(episode.key for episode in lines(tmp_path / "run") if episode.error is None)
    assert len(good) == 1500 and set(good.values()) == {1}


def test_ten_kills_lose_nothing_and_pay_for_nothing_twice(tmp_path: Path) -> None:
    rng, in_flight, kills = random.Random(0), 8, 0
    with serving(latency=0.005, reply=cast) as server:
        words = [*roles(server), "limit=100", f"run={tmp_path / 'run'}", f"remote.cache={tmp_path / 'cache'}"]
        command = [sys.executable, "-m", "prefdisco.cli", "evaluate", *words, f"remote.concurrency={in_flight}"]
        for _ in range(10):
            process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
            until, calls = time.monotonic() + 60, server.calls + rng.randint(1, 150)
            while server.calls < calls and process.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        assert kills == 10
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
        assert done.returncode == 0
        again = sum(server.answered.values()) - len(server.answered)
    assert again <= kills * 2 * in_flight  # only what was on its way, or had just arrived, when the process died
    good = Counter(episode.key for episode in lines(tmp_path / "run"))
    assert len(good) == 300 and set(good.values()) == {1}


def test_calls_are_at_most_a_fifth_of_the_published_evaluators(tmp_path: Path) -> None:
    scenarios = tmp_path / "scenarios.jsonl"
    scenarios.write_text("".join(s.model_dump_json() + "\n" for s in panel(personas=10, criteria=20)))
    with serving(reply=cast) as server:
        summary = evaluate(configured(server, tmp_path / "run", f"scenarios={scenarios}"))
        ours = server.calls
    # arXiv 2510.00177's code, for each persona: every turn of agent and user, a call a criterion, correctness twice.
    turns = {"baseline": 1, "discovery": QUESTIONS + 1 + QUESTIONS, "oracle": 1}
    published = 10 * sum(turns[condition] + 20 + 2 for condition in CONDITIONS)
    assert summary["conditions"]["discovery"]["questions"]["mean"] == QUESTIONS
    assert (ours, published) == (151, 790) and ours <= published / 5
    assert summary["usage"]["calls"] == ours
    assert {role: part["calls"] for role, part in summary["usage"]["roles"].items()} == {
        "agent": 1 + 10 * 6 + 10, "user": 50, "judge": 30,
    }  # fmt: skip


def test_a_cap_stops_the_run_on_one_line_and_a_higher_one_ends_it(tmp_path: Path) -> None:
    words = ("limit=20", "remote.price_in=10", "remote.concurrency=4")  # a tenth of a cent a call
    with serving(reply=cast) as server:
        with pytest.raises(RunError, match=r"spending cap of \$0.1 reached .* episodes are done and kept"):
            evaluate(configured(server, tmp_path / "run", *words, "remote.max_usd=0.1"))
        assert 100 <= server.calls <= 104 + 4
        kept = len(lines(tmp_path / "run"))
        summary = evaluate(configured(server, tmp_path / "run", *words, "remote.max_usd=10"))
    assert 0 < kept < 60 and summary["errors"] == 0
    assert len(lines(tmp_path / "run")) == 60


def test_build_evaluate_judge_anew_agree_and_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = [
        {"problem": f"How much is {i} + 1?", "answer": str(i + 1), "solution": "count", "level": 1} for i in range(3)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(reply=cast) as server:
        model = f"server/{server.url}#test"
        plan = ["task=math500", "path=rows.jsonl", f"model={model}", "personas=2", "per_problem=2", "run=built"]
        main(["build", *plan, "--dry-run"])
        assert "calls" in capsys.readouterr().out and server.calls == 0
        main(["build", *plan])
        assert "6 scenarios" in capsys.readouterr().out
        main(["validate", "built/published.jsonl"])
        main(["validate", "built/scenarios.jsonl"])
        assert capsys.readouterr().out.count("6 scenarios") == 2

        calls = server.calls
        main(["build", *plan])  # nothing is left to do
        assert server.calls == calls and "6 scenarios" in capsys.readouterr().out

        main(["evaluate", *roles(server), "scenarios=built/published.jsonl", "run=first"])
        shown = capsys.readouterr().out
        assert "discovery" in shown and "calls" in shown
        calls = server.calls
        again = ["scenarios=built/published.jsonl", "episodes=first", "judge_mode=separate", "run=second"]
        main(["evaluate", *roles(server), *again])
        asked = server.bodies[calls:]
        assert asked and all("response_format" in body for body in asked)  # the judge alone was asked
        bill = capsys.readouterr().out
        assert "judge: " in bill and "agent: " not in bill  # nor anybody else paid
        main(["agree", "first", "second"])
        assert "kappa" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["build", "task=math500", "model=pocket-base", "run=refused"])
    assert "cannot follow a JSON schema" in capsys.readouterr().err and not Path("refused").exists()
