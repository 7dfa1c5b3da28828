"""Thought preference optimization: pairs by hand, final turns of one dialogue, the loss, and runs that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefdisco.conditions import parse_condition, prompt
from prefdisco.config import ConfigError, RLRecipe, load
from prefdisco.dialogue import play
from prefdisco.files import RunError
from prefdisco.judges import Verdict
from prefdisco.llm.base import ModelError, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.llm.local import load as load_model
from prefdisco.pocket.scenarios import scenarios
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import DataError, Episode, Message, Scenario, Tokens
from prefdisco.training import finals, references, rl, rounds, tpo
from prefdisco.training.finals import Final, Group
from prefdisco.training.preferences import Preference, choose, controlled, figures_of, pairs_of, standardized
from prefdisco.training.references import Reference
from prefdisco.users import Reply
from prefdisco.world import World, world_of

ROOT = Path(__file__).parent.parent
BASE = ROOT / "prefdisco" / "pocket" / "base" / "model.safetensors"
SMALL = [
    "recipe=tpo_small", "model=pocket-base", "scenarios.train_limit=6", "scenarios.seed=0", "scenarios.eval_limit=2",
    "eval.conditions=[baseline]", "eval.max_tokens=16", "rollout.max_tokens=96", "rollout.budget=1", "tpo.rounds=2",
    "tpo.episodes=24", "tpo.samples=4", "trainer.per_device_train_batch_size=2", "trainer.learning_rate=0.001",
    "trainer.save_steps=1", "trainer.warmup_steps=0",
]  # fmt: skip
SCENARIOS = scenarios("train", 8, 0)
KNOWN = {scenario.id: Reference(2.5, 4.0) for scenario in SCENARIOS}
WORLD = world_of(SCENARIOS)


def recipe(run: Path, *words: str) -> RLRecipe:
    return load(RLRecipe, [*SMALL, f"run={run}", *words])


# pairs by hand


def turn(score: float, length: int = 10, name: int = 0) -> Final:
    return Final(ids=[name], score=score, length=length, correct=score > 0, alignment=3.0)


def group(place: int, *finals: Final, **more: Any) -> Group:
    return Group(place=place, scenario_id="s", prompt_ids=[1, place], finals=list(finals), **more)


def test_scores_are_standardized_in_a_dialogue_and_length_is_taken_off() -> None:
    assert standardized([1.0, 2.0, 3.0, 6.0]) == pytest.approx([-2 / 3.5**0.5, -1 / 3.5**0.5, 0, 3 / 3.5**0.5])
    assert standardized([0.3, 0.3]) == [0, 0]
    group = [turn(1.0, 30), turn(3.0, 50), turn(2.0, 10)]  # z of scores -a 0 a for 1 2 3, of lengths for 10 30 50
    a = 1.5**0.5
    assert controlled(group, 0.0) == pytest.approx([-a, a, 0])
    assert controlled(group, 0.5) == pytest.approx([-a, a / 2, a / 2])


def test_the_best_and_the_worst_are_a_pair_and_length_can_choose_another() -> None:
    group = [turn(1.0, 30, name=1), turn(3.0, 50, name=2), turn(2.0, 10, name=3)]
    assert [each.ids for each in choose(group, 0.0)] == [[2], [1]]  # type: ignore[union-attr]
    assert [each.ids for each in choose(group, 0.8)] == [[3], [1]]  # type: ignore[union-attr]
    same = [turn(1.0, name=1), turn(2.0, name=2), turn(2.0, name=3), turn(1.0, name=4)]
    assert [each.ids for each in choose(same, 0.3)] == [[2], [1]]  # type: ignore[union-attr]


def test_without_a_difference_in_score_there_is_no_pair() -> None:
    assert choose([turn(0.5, 10), turn(0.5, 90)], 0.5) == "equal"
    assert choose([turn(1.0)], 0.5) == "few" == choose([], 0.5)
    assert choose([turn(1.0, 90), turn(0.9, 10)], 2.0) == "no_better"  # the shorter one is not taught for it
    groups = [
        group(0, turn(1.0, 20, 5), turn(0.0, 30, 6), asked=2, questions=3, revealed=1),
        group(1, turn(0.5), turn(0.5), questions=1),
        group(2, dropped="error", error="the line is dead"),
        group(3, dropped="empty"),
    ]
    (pair,), left_out = pairs_of(groups, 0.0)
    assert pair == Preference([1, 0], turn(1.0, 20, 5), turn(0.0, 30, 6))
    assert rounds.row(pair) == {"prompt_ids": [1, 0], "chosen_ids": [5], "rejected_ids": [6]}
    assert left_out == {"equal": 1, "error": 1, "empty": 1}
    figures = figures_of(groups, [pair], left_out)
    assert figures["dialogues"] == 4 and figures["pairs"] == 1 and figures["left_out"] == left_out
    assert figures["accuracy"] == 0.75 and figures["score"] == 0.5 and figures["asked"] == pytest.approx(2 / 6)
    assert figures["questions"] == 2 and figures["precision"] == 0.25
    assert (figures["chosen_score"], figures["rejected_length"]) == (1.0, 30)


# final turns of one dialogue


class Watched:
    """Pocket's judge, which notes all that it is shown, and fails for some scenarios."""

    name = "watched"

    def __init__(self, dead: Sequence[str] = ()) -> None:
        self.dead, self.shown, self.thinking = dead, list[str](), list[str]()

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        if scenario.id in self.dead:
            raise ModelError("the judge is asleep")
        self.shown.append(response)
        return await WORLD.judge.grade(scenario, response)

    async def consistent(self, scenario: Scenario, thinking: str, response: str) -> bool | None:
        self.thinking.append(thinking)
        return None


@pytest.fixture(scope="module")
def agent() -> LocalModel:
    torch.set_num_threads(1)
    return LocalModel("pocket-base")


def groups_of(agent: LocalModel, world: World = WORLD, temperature: float = 1.0) -> list[Group]:
    settings = load(RLRecipe, ["recipe=tpo"]).reward
    sampling = Sampling(temperature=temperature, max_tokens=96)

    async def all_of() -> list[Group]:
        return await asyncio.gather(
            *(
                finals.group_of(each, agent, world, KNOWN[each.id], settings, sampling, seed=7, budget=2, samples=4)
                for each in SCENARIOS
            )
        )

    return asyncio.run(all_of())


@pytest.fixture(scope="module")
def judge() -> Watched:
    return Watched()


@pytest.fixture(scope="module")
def groups(agent: LocalModel, judge: Watched) -> list[Group]:
    return groups_of(agent, replace(WORLD, judge=judge))


def test_all_final_turns_follow_the_recorded_tokens_of_one_dialogue(agent: LocalModel, groups: list[Group]) -> None:
    for group, scenario in list(zip(groups, SCENARIOS, strict=True))[:3]:
        played = asyncio.run(
            play(scenario, parse_condition("discovery"), agent, WORLD.user, Sampling(max_tokens=96), 7, 2)
        )
        assert played.tokens is not None
        assert played.tokens.ids == group.prompt_ids + group.finals[0].ids
        assert played.tokens.mask[-len(group.finals[0].ids) - 1 :] == [0] + [1] * len(group.finals[0].ids)
    assert all(len(group.finals) + group.asked == 4 for group in groups)
    assert sum(group.questions for group in groups) > 4
    assert any(len({tuple(each.ids) for each in group.finals}) > 1 for group in groups)
    pairs, left_out = pairs_of(groups, 0.0)
    assert pairs and len(pairs) + left_out.total() == 8
    by_prompt = {tuple(group.prompt_ids): group for group in groups}
    for pair in pairs:
        scores = [each.score for each in by_prompt[tuple(pair.prompt_ids)].finals]
        assert pair.chosen.score == max(scores) > min(scores) == pair.rejected.score


def test_sampled_again_without_chance_the_final_turn_is_the_same(agent: LocalModel) -> None:
    groups = groups_of(agent, temperature=0)
    assert sum(group.questions for group in groups) > 4
    for group in groups:
        assert [each.ids for each in group.finals] == [group.finals[0].ids] * 4
        assert choose(group.finals, 0.0) == "equal"


def test_the_judge_never_sees_thinking(agent: LocalModel, groups: list[Group], judge: Watched) -> None:
    written = [agent.chat.decode(each.ids) for group in groups for each in group.finals]
    assert len(judge.shown) == len(written) > 16
    assert all("<think>" in text for text in written)
    for shown in judge.shown:
        assert "think>" not in shown and "###" not in shown
    assert set(judge.thinking) == {""}
    responses = Counter(text.partition("</think>")[2].rpartition("###RESPONSE###:")[2].strip() for text in written)
    assert responses == Counter(judge.shown)


def test_a_question_is_a_final_turn_only_where_nothing_may_be_asked(agent: LocalModel) -> None:
    def read(text: str, may_ask: bool) -> Episode | None:
        return finals.final(EPISODE, agent.chat.turn(text), agent, may_ask)

    thought = "<think>Steps: 1 + 1.</think>"
    assert read(thought + format_question("Do you like tables?"), may_ask=True) is None
    late = read(thought + format_question("Do you like tables?"), may_ask=False)
    assert late is not None and late.response == "Do you like tables?" and late.malformed_turns == 1
    right = read(thought + format_final("Answer: 2"), may_ask=True)
    assert right is not None and right.response == "Answer: 2" and right.thinking == "" and right.malformed_turns == 0
    assert not right.truncated and right.messages[:-1] == EPISODE.messages[:-1]
    cut = finals.final(EPISODE, agent.chat.turn(thought + "Answer: 2")[:-1], agent, may_ask=True)
    assert cut is not None and cut.truncated and cut.malformed_turns == 1 and cut.response == "Answer: 2"


EPISODE = Episode(
    scenario_id="s", problem_id="p", persona_id="x", condition="discovery", seed=0, malformed_turns=3, truncated=True,
    messages=(Message(role="user", content=prompt("final_request")), Message(role="assistant", content="4")),
    tokens=Tokens(ids=[1], mask=[1], logprobs=[0.0]),
)  # fmt: skip


def test_a_final_turn_earns_what_an_episode_earns() -> None:
    reward = load(RLRecipe, ["recipe=tpo"]).reward  # correctness 0.5, alignment 1, overcorrection 0.5, format 0.5
    half = Reference(2.5, 4.5)
    graded = EPISODE.model_copy(update={"malformed_turns": 0, "truncated": False, "response": "4 cats"})
    right = graded.model_copy(update={"correct": True, "alignment": 4.0})
    wrong = graded.model_copy(update={"correct": False, "alignment": 4.0})
    harm = graded.model_copy(update={"correct": False, "alignment": 1.5, "truncated": True})
    found = [finals.scored([9], each, half, reward) for each in (right, wrong, harm)]
    assert [each.score for each in found] == pytest.approx([0.5 + 0.75, 0.0, -0.5 - 0.25 - 0.5])
    assert found[0] == Final(ids=[9], score=found[0].score, length=6, correct=True, alignment=4.0)


# failures


class DeadUser:
    name = "dead"

    def __init__(self, dead: Sequence[str]) -> None:
        self.dead = dead

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        if scenario.id in self.dead:
            raise ModelError("the line is dead")
        return await WORLD.user.reply(scenario, messages, question, seed)


def played(run: Path, world: World, agent: LocalModel, *words: str) -> dict[str, Any]:
    wanted = recipe(run, *words)
    players = rounds.Players(SCENARIOS, KNOWN, world)
    rounds.play_round(wanted, 0, players, agent.model, agent.tokenizer)
    figures: dict[str, Any] = json.loads((run / "rounds" / "1" / "played.json").read_text())
    return figures


def test_a_dialogue_of_which_anything_failed_is_dropped_and_counted(tmp_path: Path, agent: LocalModel) -> None:
    ids = [each.id for each in SCENARIOS]
    world = replace(WORLD, user=DeadUser(ids[:2]), judge=Watched(ids[2:3]))
    figures = played(tmp_path, world, agent, "tpo.episodes=16", "tpo.samples=2", "scenarios.train_limit=8")
    failed = figures["left_out"]["error"]
    assert 2 <= failed <= 3 and figures["dialogues"] == 8 and figures["episodes"] == 16
    assert figures["pairs"] + sum(figures["left_out"].values()) == 8
    kept = rounds.dialogues(tmp_path / "rounds" / "1")
    assert len(kept) == 8 - failed and ids[2] not in {each.scenario_id for each in kept}
    assert len(pairs_of(kept, 0.0)[0]) == figures["pairs"]


def test_a_dead_judge_stops_the_run_in_one_line(tmp_path: Path, agent: LocalModel) -> None:
    world = replace(WORLD, judge=Watched([each.id for each in SCENARIOS]))
    with pytest.raises(RunError, match=r"round 1: 2 of 2 dialogues failed, the first with: judge: .*asleep; repeat"):
        played(tmp_path, world, agent, "tpo.episodes=8")
    assert not (tmp_path / "rounds").exists()
    figures = played(tmp_path, WORLD, agent, "tpo.episodes=8")  # repeated, with a judge that is awake
    assert figures["dialogues"] == 2 and "error" not in figures["left_out"]


def test_what_was_played_before_a_kill_is_not_played_again(tmp_path: Path, agent: LocalModel) -> None:
    words = ["tpo.episodes=8", "tpo.samples=2"]
    figures, folder = played(tmp_path, WORLD, agent, *words), tmp_path / "rounds" / "1"
    whole = rounds.dialogues(folder)
    path = folder / "dialogues-0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:50])
    (folder / "played.json").unlink()
    judge = Watched()
    world = replace(WORLD, judge=judge)
    assert played(tmp_path, world, agent, *words) == figures
    assert rounds.dialogues(folder) == whole and 0 < len(judge.shown) <= 4


def test_a_round_without_a_pair_is_one_line(tmp_path: Path, agent: LocalModel) -> None:
    with pytest.raises(RunError, match=r"round 1 left no pair to learn from: of 2 dialogues .*'equal'"):
        played(tmp_path, WORLD, agent, "tpo.episodes=8", "rollout.temperature=0.001")


def test_what_trl_refuses_of_a_trainer_is_one_line(tmp_path: Path, agent: LocalModel, groups: list[Group]) -> None:
    wanted, pairs = recipe(tmp_path, "trainer.loss_type=[exo_pair]"), pairs_of(groups, 0.0)[0]
    with pytest.raises(ConfigError, match=r"command line: trainer: Label smoothing must be greater than 0\.0"):
        rounds.trainer_of(wanted, agent.model, agent.tokenizer, pairs, tpo.settings(wanted))


def test_a_broken_dialogue_is_one_line_that_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "rounds" / "1"
    folder.mkdir(parents=True)
    (folder / "played.json").write_text("{}\n")
    (folder / "dialogues-0.jsonl").write_text('{"scenario_id": "a"}\n')
    wanted = recipe(tmp_path)
    with pytest.raises(DataError, match=r"rounds/1/dialogues-0.jsonl:1: place: Field required"):
        rounds.play_and_learn(wanted, 0, rounds.Players(SCENARIOS, KNOWN, WORLD), tpo.settings(wanted), [])


# the loss


@pytest.mark.parametrize("words", [[], ["trainer.precompute_ref_log_probs=true"], ["peft.r=2"]], ids=str)
def test_the_loss_is_dpo_on_the_recorded_tokens(
    tmp_path: Path, agent: LocalModel, groups: list[Group], words: list[str]
) -> None:
    pairs = pairs_of(groups, 0.0)[0][:2]
    wanted = recipe(tmp_path, *words)
    model, tokenizer = load_model("pocket-base")
    trainer = rounds.trainer_of(wanted, model, tokenizer, pairs, tpo.settings(wanted))
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(2)])
    sides = [pair.prompt_ids + pair.chosen.ids for pair in pairs] + [p.prompt_ids + p.rejected.ids for p in pairs]
    seen = batch["attention_mask"].bool()
    assert [row[mask].tolist() for row, mask in zip(batch["input_ids"], seen, strict=True)] == sides
    own = batch["completion_mask"].sum(1).tolist()
    assert own == [len(pair.chosen.ids) for pair in pairs] + [len(pair.rejected.ids) for pair in pairs]
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(0.6931472, abs=1e-5)

    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_((0.1 if wanted.peft else 0.02) * torch.randn_like(weight) * weight.requires_grad)

    def total(policy: Any, ids: list[int], count: int) -> torch.Tensor:
        logits = policy(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0, -count - 1 : -1]
        return logits.gather(-1, torch.tensor(ids[-count:])[:, None]).sum()

    with torch.no_grad():
        ratios = [
            total(trainer.model, ids, count) - total(agent.model, ids, count)
            for ids, count in zip(sides, own, strict=True)
        ]
    margins = [0.1 * (ratios[index] - ratios[index + 2]) for index in range(2)]
    expected = -sum(torch.nn.functional.logsigmoid(margin) for margin in margins) / 2
    assert abs(expected - 0.6931472) > 5e-3
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected.item(), rel=1e-3)


# the run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "model.safetensors")


def test_killed_it_goes_on_to_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["tpo.episodes=16", "scenarios.train_limit=4", "rollout.max_tokens=64", "trainer.num_train_epochs=2"]
    summary = tpo.run(recipe(whole, *words))
    assert summary is not None and {"before", "after", "regression"} <= summary.keys()
    printed = capsys.readouterr().out
    assert "round 2: score" in printed and str(whole) in printed
    trained = json.loads((whole / "trained.json").read_text())
    first, second = trained["history"]
    assert trained["examples"] == 32 and first["episodes"] == 16 and (first["round"], second["round"]) == (1, 2)
    assert trained["steps"] == first["steps"] + second["steps"] >= 2
    assert first["pairs"] + sum(first["left_out"].values()) == 4 and first["steps"] == 2 * -(-first["pairs"] // 2)
    for entry in trained["history"]:  # each round's reference is where it started
        assert entry["log"][0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
        assert entry["log"][0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
        assert entry["chosen_score"] > entry["rejected_score"] and "rewards/accuracies" in entry["log"][-1]
        assert entry["log"][-1]["rewards/margins"] > 0  # seen a second time, the chosen turn has become likelier
    assert "thought preference optimization, 2 rounds; " in (whole / "checkpoint" / "README.md").read_text()
    assert not list((whole / "trainer").glob("*")) and not list((whole / "rounds").glob("*/checkpoint"))

    command = [sys.executable, "train/rl.py", *SMALL, *words, f"run={killed}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not list((killed / "trainer").glob("round-2/checkpoint-*/trainer_state.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0].decode()[-2000:]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (killed / "rounds" / "1" / "round.json").exists() and not (killed / "checkpoint").exists()
    again = tpo.run(recipe(killed, *words))
    assert again is not None and again["after"] == summary["after"]
    for place in ("1", "2"):
        assert rounds.dialogues(whole / "rounds" / place) == rounds.dialogues(killed / "rounds" / place)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(killed)[name], weight, rtol=0, atol=1e-6, msg=name)
    start = load_file(BASE)
    assert start.keys() == weights(whole).keys()
    assert any(not torch.equal(weight, start[name]) for name, weight in weights(whole).items())


@pytest.mark.parametrize("words", [["peft.r=2"], ["optimizer=muon", "anchor=1"]], ids=str)
def test_adapters_muon_and_an_anchor_learn_over_rounds(tmp_path: Path, words: list[str]) -> None:
    torch.set_num_threads(1)
    references.write(tmp_path / "references", KNOWN)
    tpo.train(recipe(tmp_path, "tpo.episodes=8", "rollout.max_tokens=64", *words), tmp_path / "references")
    history = json.loads((tmp_path / "trained.json").read_text())["history"]
    assert history[1]["log"][0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    start = load_file(BASE)
    changed = [name for name, weight in weights(tmp_path).items() if not torch.equal(weight, start[name])]
    assert start.keys() == weights(tmp_path).keys() and changed


def test_two_processes_play_and_learn_the_same(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    one, two = tmp_path / "one", tmp_path / "two"
    words = [*SMALL, "tpo.rounds=1", "tpo.episodes=16", "trainer.per_device_train_batch_size=4"]
    for run in (one, two):
        references.write(run / references.FOLDER, KNOWN)
    tpo.train(load(RLRecipe, [*words, f"run={one}"]), one / references.FOLDER)
    command = [
        *(str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--num_cpu_threads_per_process", "1", "--main_process_port", "29723", "tests/launched_rl.py"),
        *(*words, "trainer.per_device_train_batch_size=2", f"run={two}"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=400, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (json.loads((run / "trained.json").read_text())["history"][0] for run in (one, two))
    assert {file.name for file in (two / "rounds" / "1").glob("*.jsonl")} == {"dialogues-0.jsonl", "dialogues-1.jsonl"}
    assert rounds.dialogues(one / "rounds" / "1") == rounds.dialogues(two / "rounds" / "1")
    (ours_log,), (theirs_log,) = ours.pop("log"), theirs.pop("log")
    assert theirs == ours and ours["pairs"] % 2 == 0
    assert theirs_log["grad_norm"] == pytest.approx(ours_log["grad_norm"], rel=1e-2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tpo.episodes=26"], "tpo.episodes=26: expected a multiple of tpo.samples=4, the final turns of a dialogue"),
        (["tpo.episodes=64"], "are 16 dialogues, and there are only scenarios.train_limit=6 scenarios to play"),
        (["trainer.max_length=512"], "trainer.max_length has no meaning: pairs are learned from whole"),
        (["trainer.num_generations=4"], "unknown key trainer.num_generations (DPOConfig); did you mean"),
        (["trainer.loss_type=[exo]"], "trainer.loss_type=exo: expected some of sigmoid, hinge, "),
        (["reward.information=1"], "reward.information has no meaning with objective=tpo; remove it"),
        (["reward.guess=1", "eval.judge=server/http://a"], "reward.guess: server/http://a grades the criteria of a"),
        (["replay.weight=1"], "replay.weight has no meaning with objective=tpo; remove it"),
        (["constraint.rate=1"], "constraint.rate has no meaning with objective=tpo; remove it"),
        (["model=runs/nowhere/checkpoint"], "no such checkpoint; train it first with recipe=nowhere"),
        (["scenarios.source=file.jsonl"], "eval.user=passive: only Pocket's is computed, not that of file.jsonl"),
        (["dtype=bfloat16"], "dtype=bfloat16: would round small updates of the weights away"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path: Path, words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tpo.settings(recipe(tmp_path, *words))
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith(("command line: ", "recipes/tpo_small.yaml: "))


def test_grpo_takes_no_keys_of_tpo(tmp_path: Path) -> None:
    wanted = load(RLRecipe, ["recipe=grpo_small", "model=pocket-base", "tpo.rho=0.5", f"run={tmp_path}"])
    with pytest.raises(ConfigError, match=r"command line: tpo.rho has no meaning with objective=grpo; remove it"):
        rl.settings(wanted)


def test_a_dry_run_says_what_a_round_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = load(RLRecipe, ["recipe=tpo", "model=pocket-base", "scenarios.train_limit=1024", f"run={tmp_path}"])
    costs = shipped.tpo.episodes
    assert f"{costs // 8} dialogues x 8 final turns" in tpo.describe(shipped)
    assert f"{costs} a round, {shipped.tpo.rounds * costs} in all" in tpo.describe(shipped)
    words = [
        "recipe=tpo_small",
        "model=pocket-base",
        "tpo.episodes=64",
        "scenarios.train_limit=8",
        f"run={tmp_path}",
        "--dry-run",
    ]
    monkeypatch.setattr(sys, "argv", ["train/rl.py", *words])
    runpy.run_path(str(ROOT / "train" / "rl.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "64 a round, 256 in all" in printed and "objective: tpo" in printed
