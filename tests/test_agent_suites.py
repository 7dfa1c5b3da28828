"""Suites that train nothing: the evaluations that they name, made once for each agent, and tables that are true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest

from prefdisco.cli import main
from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, EvaluateConfig, load
from prefdisco.evaluate import load_episodes
from prefdisco.files import RunError
from prefdisco.llm.base import ModelError
from prefdisco.report.suites import parse_difference
from prefdisco.suites import Suite, run_suite, steps
from prefdisco.suites.agents import differences

EVAL = Path(__file__).parent.parent / "eval"
CONTROLS = ["baseline", "discovery", "oracle", "generic", "oracle_preferences", "attributes", "swapped"]
THREE = ["baseline", "discovery", "oracle"]
LATER = ("same_family", "same_domain", "other_domain")
SHIPPED = {  # suite -> evaluation -> what it must be
    "conditions": {"all": {"conditions": CONTROLS}},
    "question_budget": {
        "five": {"conditions": [*THREE, "fixed(2)", "fixed(4)", "fixed(8)"], "budget": 5},
        "eight": {"conditions": THREE, "budget": 8},
    },
    "attributes": {"all": {"conditions": [*THREE, "attributes"]}},
    "users": {
        name: {"user": name, "variant": name, "conditions": THREE}
        for name in ("passive", "nostop", "collaborative", "forgetful", "noisy")
    },
    "transfer": {
        "first": {"scenarios": "pocket:first", "conditions": ["discovery"]},
        **{
            name: {
                "scenarios": f"pocket:{name}",
                "conditions": [*THREE, "carried", "carried_discovery"],
                "carried": "runs/transfer/pocket-base/first",
            }
            for name in LATER
        },
    },
}


def shipped(name: str, *words: str) -> Suite:
    return load(Suite, [f"suite={name}", *words], EVAL)


def configs(suite: Suite) -> dict[str, EvaluateConfig]:
    """Folder -> the configuration of the evaluation that fills it."""
    return {str(folder): load(EvaluateConfig, command[4:]) for folder, command in steps(suite)}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_suite_is_the_evaluations_that_it_names(name: str) -> None:
    found = configs(shipped(name, "agent=pocket-base", "limit=7", "seeds=[0,3]"))
    assert list(found) == [f"runs/{name}/pocket-base/{each}" for each in SHIPPED[name]]
    for (folder, config), wanted in zip(found.items(), SHIPPED[name].values(), strict=True):
        assert config.model_dump(include=set(wanted)) == wanted
        assert (config.agent, config.limit, config.seeds, config.run) == ("pocket-base", 7, [0, 3], folder)
    played = {f"{each}:{name}" for each, config in zip(SHIPPED[name], found.values(), strict=True)
              for name in config.conditions}  # fmt: skip
    for each in differences(shipped(name, "agent=pocket-base")).values():
        assert {":".join(each.more), ":".join(each.less)} <= played


def test_every_agent_plays_and_is_named_by_what_tells_it_apart(tmp_path: Path) -> None:
    for place in ("a/exact/checkpoint", "a/rl/checkpoint", "b/rl/checkpoint"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text("{}")
    agents = [str(tmp_path / place / "checkpoint") for place in ("a/exact", "a/rl")]
    found = configs(shipped("attributes", f"agents=[pocket-base,{','.join(agents)}]", "models.mine=pocket-base"))
    assert [folder.split("/")[-2] for folder in found] == ["mine", "pocket-base", "exact", "rl"]
    assert [config.agent for config in found.values()][2:] == agents
    agents.append(str(tmp_path / "b/rl/checkpoint"))
    found = configs(shipped("attributes", f"agents=[{','.join(agents)}]", "only=[a-rl,b-rl]"))
    assert [folder.split("/")[-2] for folder in found] == ["a-rl", "b-rl"]


def test_words_of_play_stand_over_the_evaluations_own() -> None:
    words = ["agent=pocket-base", "scenarios=pocket:heldout", "play=[user=server/http://h/v1,temperature=0]"]
    for name, config in configs(shipped("users", *words)).items():
        assert (config.user, config.variant) == ("server/http://h/v1", Path(name).name)
        assert (config.scenarios, config.temperature) == ("pocket:heldout", 0)
    parts = configs(shipped("transfer", "agent=pocket-base", "scenarios=mine.jsonl", "parts=[first,same_domain]"))
    assert [config.scenarios for config in parts.values()] == ["mine.jsonl:first", "mine.jsonl:same_domain"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("users", [], r"eval/users.yaml: .*name who plays: agent=PATH"),
        ("usres", ["agent=pocket-base"], "did you mean users"),
        ("users", ["agent=runs/nowhere/checkpoint"], "runs/nowhere/checkpoint: no such folder"),
        ("users", ["agent=docs"], "docs: not a checkpoint"),
        ("users", ["agent=pocket-base", "parts=[loud]"], "evaluations are passive, nostop"),
        ("users", ["agent=pocket-base", "only=[base]"], "agents are pocket-base"),
        ("users", ["agent=pocket-base", "play=[usr=passive]"], "did you mean user"),
        ("users", ["agent=pocket-base", "words=[user=passive]"], r"play=\[..\]"),
        ("recipes", ["limit=9"], "limit has no meaning with suite=recipes"),
        ("users", ["agent=pocket-base", "differences=[fit of a - b]"], "expected MEASURE of A - B"),
    ],
)
def test_what_cannot_be_played_is_one_line_before_anything_is(name: str, words: list[str], message: str) -> None:
    with pytest.raises((ConfigError, ModelError), match=message) as caught:
        steps(shipped(name, *words))
    assert "\n" not in str(caught.value)


def test_a_difference_reads_as_it_is_written() -> None:
    line = "alignment of fixed(8) - same:discovery"
    assert parse_difference(line, ["all", "same"], "here") == ("alignment", ("all", "fixed(8)"), ("same", "discovery"))
    with pytest.raises(ConfigError, match=r"here: .* no evaluation other; there are all"):
        parse_difference("questions of other:a - b", ["all"], "here")


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the transfer suite with stand-ins for the evaluations; returns the parts that were played."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "config.json").write_text("{}")
    (tmp_path / "agent" / "model.safetensors").write_text("")

    def run(*words: str, fails: str = "", errors: int = 0) -> list[str]:
        seen: list[str] = []

        def evaluate(command: list[str], **options: Any) -> Any:
            folder = Path(command[-1].removeprefix("run="))
            seen.append(folder.name)
            if folder.name == fails:
                return SimpleNamespace(returncode=2)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "summary.json").write_text(json.dumps({"errors": errors, "conditions": {}}))
            return SimpleNamespace(returncode=0)

        monkeypatch.setattr(subprocess, "run", evaluate)
        try:
            run_suite(shipped("transfer", "agent=agent", *words))
        except RunError as error:
            assert "repeat this one to go on" in str(error)
        return seen

    return run


def test_what_has_ended_is_not_played_again(played: Callable[..., list[str]]) -> None:
    assert played(fails="same_domain") == ["first", "same_family", "same_domain"]
    assert played() == ["same_domain", "other_domain"]
    assert played() == []


def test_other_words_other_weights_and_failed_episodes_are(played: Callable[..., list[str]], tmp_path: Path) -> None:
    everything = ["first", *LATER]
    assert played(errors=1) == played(errors=1) == played() == everything
    assert played("limit=9") == everything and played("limit=9") == []
    later = (tmp_path / "runs/transfer/agent/first/command.txt").stat().st_mtime + 5
    os.utime(tmp_path / "agent" / "model.safetensors", (later, later))
    assert played("limit=9") == everything


def test_a_suite_plays_for_real_and_its_tables_can_be_recomputed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def here(command: list[str], **options: Any) -> Any:
        assert command[:3] == [sys.executable, "-m", "prefdisco.cli"]
        return SimpleNamespace(returncode=main(command[3:]))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", here)
    words = ["agent=pocket-base", "limit=4", "parts=[first,same_domain]", "play=[max_tokens=48,budget=2]"]
    folder = run_suite(shipped("transfer", *words))
    episodes = load_episodes(folder / "pocket-base" / "same_domain" / "episodes.jsonl")
    assert len(episodes) == 4 * 5
    numbers = json.loads((folder / "table.json").read_text())

    def alignments(condition: str) -> list[float]:
        return [own.graded_alignment for key, own in sorted(episodes.items()) if key[1] == condition]

    found = numbers["figures"]["alignment of same_domain:carried - same_domain:baseline"]["pocket-base"]
    gaps = [own - base for own, base in zip(alignments("carried"), alignments("baseline"), strict=True)]
    assert found["mean"] == pytest.approx(fmean(gaps)) and found["ci"][0] <= found["mean"] <= found["ci"][1]
    shown = numbers["conditions"]["pocket-base"]["same_domain"]["oracle"]["alignment"]["mean"]
    assert shown == pytest.approx(fmean(alignments("oracle")))
    page = (folder / "table.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| pocket-base | same_domain | oracle |"))
    assert f"{shown:.2f} ±" in row and row in capsys.readouterr().out and "same_family" not in page
    first = {own.persona_id: own for own in load_episodes(folder / "pocket-base/first/episodes.jsonl").values()}
    for own in episodes.values():
        earlier = first[own.persona_id]
        revealed = {q.revealed: earlier.values[q.revealed] for q in earlier.questions if q.revealed}
        assert own.carried == (revealed if parse_condition(own.condition).carries else {})
