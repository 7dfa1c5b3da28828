"""Evaluation: resuming, sharing baselines, and errors that are never scores."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from prefdisco.config import ConfigError, EvaluateConfig, Mix, SFTRecipe, load
from prefdisco.evaluate import decisive, evaluate_scenarios, load_episodes, run_folder
from prefdisco.files import RunError, claim
from prefdisco.judges import Verdict
from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.protocol import format_final, format_question
from prefdisco.scenarios import by_problem, load_scenarios
from prefdisco.schema import DataError, Episode, Scenario, read_jsonl
from tests.hand_made import Agent, TruthfulUser, WordJudge, scenario

CONDITIONS = ("baseline", "discovery", "oracle")
WORLD = [
    scenario(f"p{n}", person, tone=tone, format="bullets")
    for n in range(3)
    for person, tone in (("ann", "formal"), ("bob", "playful"))
]


class Killed(BaseException):
    """Ends the evaluation from within, as a signal would; no `except Exception` catches it."""


def speak(talk: Conversation) -> str:
    """Formal at heart; asks for the tone where it may; answers with everything it was told."""
    told = " ".join(message.content for message in talk.messages if message.role != "assistant")
    if "questions" not in told:
        return f"42 formal {told}"
    if not any(message.role == "assistant" for message in talk.messages):
        return format_question("Which tone?")
    return format_final(f"42 {talk.messages[-1].content}")


def evaluate(agent: Agent, run_dir: Path | None = None, judge: Any = None, **options: Any) -> list[Episode]:
    settings = {"conditions": CONDITIONS, "seeds": [0, 1], "progress": False, **options}
    world = settings.pop("scenarios", WORLD)
    return asyncio.run(
        evaluate_scenarios(
            world, agent, TruthfulUser(), judge or WordJudge(), sampling=Sampling(), run_dir=run_dir, **settings
        )
    )


def summary_in(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_every_scenario_condition_and_seed_is_played_once_in_order() -> None:
    episodes = evaluate(Agent(speak))
    assert [e.key for e in episodes] == [(s.id, c, seed) for c in CONDITIONS for seed in (0, 1) for s in WORLD]
    assert all(e.correct for e in episodes)


def test_shared_baseline_is_generated_once_and_graded_for_each_persona() -> None:
    agent = Agent(speak)
    episodes = evaluate(agent, conditions=["baseline"], seeds=[0])
    assert len(agent.seen) == 3 and sum(e.usage.calls for e in episodes) == 3
    assert [(e.persona_id, e.alignment) for e in episodes[:2]] == [("ann", 4.0), ("bob", 3.0)]
    assert episodes[0].response == episodes[1].response
    assert [e.scenario_id for e in episodes] == [s.id for s in WORLD]


def test_killed_evaluation_continues_to_the_same_summary(tmp_path: Path) -> None:
    whole = evaluate(Agent(speak), tmp_path / "whole")
    calls = 0

    def dies(talk: Conversation) -> str:
        nonlocal calls
        calls += 1
        if calls > 36:  # in the second turns of discovery
            raise Killed
        return speak(talk)

    with pytest.raises(Killed):
        evaluate(Agent(dies), tmp_path / "killed")
    lines = tmp_path / "killed" / "episodes.jsonl"
    kept = len(list(read_jsonl(lines, Episode)))
    assert 0 < kept < len(whole) and not (tmp_path / "killed" / "summary.json").exists()
    with lines.open("a") as file:
        file.write('{"scenario_id": "half a li')
    again = Agent(speak)
    resumed = evaluate(again, tmp_path / "killed")
    assert [e.model_dump(exclude={"tokens"}) for e in resumed] == [e.model_dump(exclude={"tokens"}) for e in whole]
    assert summary_in(tmp_path / "killed" / "summary.json") == summary_in(tmp_path / "whole" / "summary.json")
    keys = [e.key for e in read_jsonl(lines, Episode)]
    assert len(keys) == len(set(keys)) == len(whole)
    third = Agent(speak)
    evaluate(third, tmp_path / "killed")
    assert third.seen == [] and len(again.seen) > 0


def test_failed_episodes_are_not_scored_and_played_again(tmp_path: Path) -> None:
    def fails_on_p1(talk: Conversation) -> str:
        if any("p1" in message.content for message in talk.messages):
            raise ModelError("no answer")
        return speak(talk)

    first = evaluate(Agent(fails_on_p1), tmp_path)
    failed = [e for e in first if e.error]
    assert {e.problem_id for e in failed} == {"p1"} and len(failed) == 12
    assert all(e.alignment is None and e.correct is None and e.grades == () for e in failed)
    summary = summary_in(tmp_path / "summary.json")
    assert summary["errors"] == 12 and summary["conditions"]["discovery"]["n"] == 8

    repaired = Agent(speak)
    second = evaluate(repaired, tmp_path)
    assert not any(e.error for e in second) and {m[0].content for m, _ in repaired.seen if len(m) == 1} == {
        "What is p1?"
    }
    assert load_episodes(tmp_path / "episodes.jsonl") == {e.key: e.model_copy(update={"tokens": None}) for e in second}


def test_failing_judge_makes_an_error_not_a_score() -> None:
    class Broken(WordJudge):
        async def grade(self, scenario: Scenario, response: str) -> Verdict:
            correct, grades, _ = await super().grade(scenario, response)
            return Verdict(correct, grades[:1])

    episodes = evaluate(Agent(speak), judge=Broken(), conditions=["oracle"])
    assert all(e.error and e.error.startswith("judge: ValueError") and e.alignment is None for e in episodes)


def test_token_ids_are_returned_but_not_written(tmp_path: Path) -> None:
    episodes = evaluate(Agent(speak), tmp_path, conditions=["oracle"])
    assert all(e.tokens for e in episodes)
    assert all(e.tokens is None for e in read_jsonl(tmp_path / "episodes.jsonl", Episode))


def test_new_persona_of_a_known_problem_is_graded_without_playing(tmp_path: Path) -> None:
    evaluate(Agent(speak), tmp_path, scenarios=WORLD[:1], conditions=["baseline"], seeds=[0])
    agent = Agent(speak)
    both = evaluate(agent, tmp_path, scenarios=WORLD[:2], conditions=["baseline"], seeds=[0])
    assert agent.seen == [] and both[1].persona_id == "bob" and both[1].alignment == 3.0


def test_adaptivity_is_measured_where_asked() -> None:
    def twice(talk: Conversation) -> str:
        said = [m.content for m in talk.messages if m.role == "user"][1:]
        return [format_question("Which tone?"), format_question("Which format?"), format_final("42")][len(said)]

    episodes = evaluate(Agent(twice), conditions=["discovery"], seeds=[0], adaptivity=True)
    assert [e.adaptive for e in episodes] == [(False,)] * 6


def test_scenarios_that_share_an_id_are_refused() -> None:
    with pytest.raises(DataError, match="p0/ann"):
        evaluate(Agent(speak), scenarios=[WORLD[0], WORLD[0]])


def test_different_problems_that_share_an_id_are_refused() -> None:
    other = WORLD[0].problem.model_copy(update={"question": "What else?"})
    with pytest.raises(DataError, match=r"p0/ann.*p0/else.*'p0'.*one by one"):
        evaluate(Agent(speak), scenarios=[WORLD[0], WORLD[0].model_copy(update={"id": "p0/else", "problem": other})])


def test_one_question_drawn_at_two_difficulties_is_one_problem() -> None:
    heldout = load_scenarios("pocket:heldout", limit=500)
    assert len({(s.problem.id, s.problem.difficulty) for s in heldout}) > len({s.problem.id for s in heldout})
    assert len(by_problem(heldout)) == len({s.problem.question for s in heldout})


def test_run_folder_takes_more_scenarios_but_no_other_settings(tmp_path: Path) -> None:
    config = EvaluateConfig(agent="some/model", run=str(tmp_path))

    def take(**changes: object) -> None:
        wanted = config.model_copy(update=changes)
        claim(tmp_path, wanted.to_yaml(), decisive(wanted))

    take()
    take(limit=500, seeds=[0, 1])
    take(conditions=["baseline", "swapped"])
    with pytest.raises(RunError, match=r"temperature=.*run=FOLDER"):
        take(temperature=0.1)
    unnamed = config.model_copy(update={"run": None})
    assert run_folder(unnamed) == run_folder(unnamed.model_copy(update={"limit": 500}))
    assert run_folder(unnamed) != run_folder(unnamed.model_copy(update={"temperature": 0.1}))


def test_a_run_folder_of_an_earlier_version_had_the_default_of_a_later_key(tmp_path: Path) -> None:
    recipe = load(SFTRecipe, ["recipe=selfdistill"])
    assert {"merge.share": 0.75, "data.mix.plain": Mix().plain}.items() <= recipe.defaults().items()
    (tmp_path / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    defaults = {"seed": 7, "later.share": 0.75}
    claim(tmp_path, "seed: 0\nlater: {share: 0.75}\n", {"seed": 0, "later": {"share": 0.75}}, defaults)
    (tmp_path / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"made with later.share=0.75, not 0.5"):
        claim(tmp_path, "", {"seed": 0, "later": {"share": 0.5}}, defaults)


@pytest.mark.parametrize(
    ("held", "now", "difference"),
    [
        ("{a: 1, b: 2}", {"a": 1}, "trainer.b=2, not None"),
        ("{a: 1}", {"a": 1, "b": 2}, "trainer.b=None, not 2"),
        ("{a: 1}", {}, "trainer=None, not {}"),
        ("{a: 1}", None, "trainer.a=1, not None"),
        ("{}", {"a": 1}, "trainer.a=None, not 1"),
        ("null", {"a": 1}, "trainer.a=None, not 1"),
    ],
)
def test_fields_of_another_library_are_all_compared(held: str, now: Any, difference: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"trainer: {held}\n", encoding="utf-8")
    with pytest.raises(RunError, match=f"made with {difference}"):
        claim(tmp_path, "", {"trainer": now}, {"trainer": {}, "mix": {"plain": 1}})
    (tmp_path / "config.yaml").write_text("trainer: {a: 1}\n", encoding="utf-8")
    claim(tmp_path, "", {"trainer": {"a": 1}, "mix": {"plain": 1}}, {"trainer": {}, "mix": {"plain": 1}})


@pytest.mark.parametrize(
    ("source", "message"),
    [("pocket:tset", "pocket:test"), ("nowhere.jsonl", "no such file"), ("broken.jsonl", "broken.jsonl:2: ")],
)
def test_scenarios_that_cannot_be_used_are_one_line(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.jsonl").write_text(WORLD[0].model_dump_json() + '\n{"id": 3}\n')
    with pytest.raises((ConfigError, DataError)) as caught:
        load_scenarios(source, limit=10)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught:
        evaluate(Agent(speak), tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)
