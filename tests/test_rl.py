"""Reinforcement learning on dialogues: the loss by hand, rollouts that may fail, and runs that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefdisco.config import ConfigError, RLRecipe, load
from prefdisco.elicitation.beliefs import learn
from prefdisco.elicitation.hearing import nobody_knows
from prefdisco.engine.teaching import spans
from prefdisco.files import RunError
from prefdisco.llm.base import ModelError
from prefdisco.pocket.scenarios import scenarios
from prefdisco.schema import Message, Scenario, write_jsonl
from prefdisco.training import references, rewards, rl
from prefdisco.training.credit import information
from prefdisco.training.grpo import DialogueTrainer, cut
from prefdisco.training.references import Reference
from prefdisco.users import Reply
from prefdisco.world import world_of
from tests.small_rl import SMALL, recipe

ROOT = Path(__file__).parent.parent
SCENARIOS = scenarios("train", 8, 0)
KNOWN = {scenario.id: Reference(2.5, 4.0) for scenario in SCENARIOS}


class Failing:
    """Pocket's person, whose line is dead for some scenarios: in the episodes with these seeds, or in all."""

    def __init__(self, dead: Sequence[str], every: int = 2) -> None:
        self.user, self.dead, self.every, self.calls = world_of(SCENARIOS).user, dead, every, 0
        self.name = "failing"

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        if scenario.id in self.dead and seed % self.every == 0:
            raise ModelError("the line is dead")
        return await self.user.reply(scenario, messages, question, seed)


def batch_of(trainer: DialogueTrainer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The first batch of episodes: the rows of the dataset as TRL completed them, and what goes into the loss."""
    torch.set_num_threads(1)
    inputs = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.args.steps_per_generation = 1
    return inputs, trainer._generate_and_score_completions(inputs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DialogueTrainer, list[dict[str, Any]], dict[str, Any]]:
    wanted = recipe(tmp_path_factory.mktemp("rl"), "reward.information=0.5", "rollout.temperature=1.2")
    trainer = rl.trainer_of(wanted, KNOWN)
    return (trainer, *batch_of(trainer))


def test_what_is_learned_are_the_tokens_and_log_probabilities_of_the_dialogue(made: Any) -> None:
    trainer, inputs, batch = made
    assert sum(len(row["rollout"].episode.questions) for row in inputs) > 4
    with torch.no_grad():
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        width = batch["completion_ids"].shape[1]
        again = trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, width)[0]
    own = (batch["tool_mask"] * batch["completion_mask"]).bool()
    assert (again - batch["sampling_per_token_logps"])[own].abs().max() < 1e-3
    for row, line in enumerate(inputs):
        recorded = line["rollout"].episode.tokens
        assert ids[row][seen[row].bool()].tolist() == recorded.ids
        assert int(own[row].sum()) == sum(recorded.mask)


def test_the_loss_is_the_one_written_by_hand(made: Any) -> None:
    trainer, inputs, batch = made
    rollouts = [row["rollout"] for row in inputs]
    settings = trainer.rollout_func.recipe.reward
    total = [
        sum(w * part(each.episode, each.reference) for part, w in rewards.parts(settings).values()) for each in rollouts
    ]
    prompt, width = batch["prompt_ids"].shape[1], batch["completion_ids"].shape[1]
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    logits = trainer.model(input_ids=ids, attention_mask=seen, position_ids=positions).logits / 1.2
    logps = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0][:, prompt - 1 :]

    loss, count = torch.zeros(()), 0
    for row, each in enumerate(rollouts):
        mates = [other for other in range(len(rollouts)) if inputs[other]["prompt"] == inputs[row]["prompt"]]
        assert len(mates) == 4
        outcome = total[row] - sum(total[mate] for mate in mates) / 4
        mask = each.episode.tokens.mask[sum(batch["prompt_mask"][row].tolist()) :]
        turn = 0
        for place, mine in enumerate(mask):
            if mine:
                with_one = [rollouts[m].gains[turn] for m in mates if len(rollouts[m].gains) > turn]
                credit = each.gains[turn] - sum(with_one) / len(with_one) if turn < len(each.gains) else 0.0
                loss = loss - (outcome + 0.5 * credit) * logps[row, place]
                count += 1
            elif place and mask[place - 1]:
                turn += 1
    assert width > max(map(len, (each.episode.questions for each in rollouts)))
    model = trainer.model
    expected = torch.autograd.grad(loss / count, list(model.parameters()))
    found = torch.autograd.grad(trainer._compute_loss(model, batch), list(model.parameters()))
    for (name, _), ours, theirs in zip(model.named_parameters(), expected, found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=2e-6, msg=name)
    assert max(float(each.abs().max()) for each in expected) > 1e-3


def test_with_drafts_the_advantage_of_a_turn_is_its_credit(tmp_path: Path) -> None:
    words = ["rollout.candidates=3", "rollout.temperature=1.2", "reward.information=0.5"]
    trainer = rl.trainer_of(recipe(tmp_path, *words), KNOWN)
    inputs, batch = batch_of(trainer)
    for row, line in enumerate(inputs):
        each = line["rollout"]
        mask = each.episode.tokens.mask[sum(batch["prompt_mask"][row].tolist()) :]
        turns = [(start, end) for mine, start, end in spans(mask) if mine]
        assert len(turns) == len(each.credits) == len(each.episode.questions) + 1
        for credit, (start, end) in zip(each.credits, turns, strict=True):
            assert batch["advantages"][row, start:end].tolist() == pytest.approx([credit] * (end - start))
        assert batch["advantages"][row].count_nonzero() <= sum(mask)
    assert sum(credit > 0 for line in inputs for credit in line["rollout"].credits) > 8
    assert trainer._compute_loss(trainer.model, batch).isfinite()


def test_plain_and_told_problems_are_played_beside_the_dialogues(tmp_path: Path) -> None:
    words = ["rollout.mix.plain=0.4", "rollout.mix.oracle=0.2", "rollout.candidates=2", "reward.correctness=1"]
    trainer = rl.trainer_of(recipe(tmp_path, *words, "trainer.per_device_train_batch_size=16"), KNOWN)
    rows = [prompt["prompt"] for prompt in trainer.train_dataset]
    kinds = [row[0]["condition"] for row in rows]
    assert [kinds.count(kind) for kind in ("discovery", "baseline", "oracle")] == [8, 8, 4]
    assert len({(row[0]["scenario_id"], row[0]["condition"]) for row in rows}) == 20
    assert all((row[0]["role"] == "user") == (row[0]["condition"] == "baseline") for row in rows)
    inputs, _ = batch_of(trainer)
    played = {kind: [line["rollout"] for line in inputs if line["rollout"].episode.condition == kind] for kind in kinds}
    assert all(not each.episode.questions and len(each.credits) == 1 for each in played["baseline"] + played["oracle"])
    assert any(each.credits[0] > 0 for each in played["baseline"])
    assert sum(len(each.episode.questions) for each in played["discovery"]) > len(played["discovery"])
    logged = trainer._metrics["train"]
    assert 0 < logged["episodes/baseline_accuracy"][0] <= 1 and logged["episodes/questions"][0] > 1
    named = {each.__name__: each for each in rewards.reward_functions(trainer.reward)}
    rollouts = [line["rollout"] for line in inputs]
    for name, values in ((name, function(rollout=rollouts)) for name, function in named.items()):
        missing = {each.episode.condition for each, value in zip(rollouts, values, strict=True) if value is None}
        assert missing == ({"baseline"} if name in ("alignment", "overcorrection") else set())


def test_the_multiplier_is_the_weight_of_a_right_answer_in_the_next_step(tmp_path: Path) -> None:
    trainer = rl.trainer_of(recipe(tmp_path, "reward.information=0", "constraint.rate=1"), KNOWN)
    held = trainer.multiplier
    held.value = 3.0
    inputs, batch = batch_of(trainer)
    rollouts = [row["rollout"] for row in inputs]
    accuracy = sum(bool(each.episode.correct) for each in rollouts) / 8
    assert 0 < accuracy < 1 and held.value == pytest.approx(3.0 + 1.0 - accuracy)  # the floor is 1
    parts = rewards.parts(trainer.rollout_func.recipe.reward).values()
    total = [sum(w * part(each.episode, each.reference) for part, w in parts) for each in rollouts]
    total = [each + 3.0 * bool(rollout.episode.correct) for each, rollout in zip(total, rollouts, strict=True)]
    centre = [sum(total[start : start + 4]) / 4 for start in (0, 4) for _ in range(4)]
    expected = [each - mean for each, mean in zip(total, centre, strict=True)]
    assert batch["advantages"].tolist() == pytest.approx(expected, abs=1e-5)
    held.value = 2.0
    assert trainer.current_reward.correctness == trainer.reward.correctness + 2.0
    assert trainer._metrics["train"]["constraint/multiplier"] == [3.0]


def test_cutting_padding_off_changes_no_loss(made: Any) -> None:
    trainer, _, batch = made
    lengths = batch["completion_mask"].sum(1)
    short = {
        name: value[lengths.argsort()[:2]] if isinstance(value, torch.Tensor) and value.dim() else value
        for name, value in batch.items()
    }
    assert cut(short)["completion_ids"].shape[1] == lengths.sort()[0][1] < short["completion_ids"].shape[1]
    assert cut(short)["advantages"].shape == cut(short)["completion_ids"].shape
    with torch.no_grad():
        ours = trainer._compute_loss(trainer.model, short)
        theirs = super(DialogueTrainer, trainer)._compute_loss(trainer.model, short)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-7)


def test_the_same_seed_plays_the_same_episodes_and_a_group_differs(made: Any, tmp_path: Path) -> None:
    _, inputs, batch = made
    again = rl.trainer_of(recipe(tmp_path, "reward.information=0.5", "rollout.temperature=1.2"), KNOWN)
    _, same = batch_of(again)
    assert torch.equal(batch["completion_ids"], same["completion_ids"])
    assert torch.equal(batch["advantages"], same["advantages"])
    texts = [row["rollout"].episode.messages for row in inputs[:4]]
    assert len({str(text) for text in texts}) > 1


def test_a_failed_episode_teaches_nothing_and_leaves_its_group(tmp_path: Path) -> None:
    world = world_of(SCENARIOS)
    broken = replace(world, user=Failing([each.id for each in SCENARIOS]))
    trainer = rl.trainer_of(recipe(tmp_path, "rollout.temperature=1.5"), KNOWN, broken)
    inputs, batch = batch_of(trainer)
    rollouts = [row["rollout"] for row in inputs]
    failed = [row for row, each in enumerate(rollouts) if each.dropped == "error"]
    assert 0 < len(failed) <= 4 and all("the line is dead" in str(rollouts[row].episode.error) for row in failed)
    assert trainer._metrics["train"]["episodes/error"] == [len(failed) / 8]
    for row in failed:
        assert batch["tool_mask"][row][batch["completion_mask"][row].bool()].tolist() == [0]
        assert not batch["advantages"][row].any()
    settings = trainer.rollout_func.recipe.reward
    for start in (0, 4):
        alive = [row for row in range(start, start + 4) if row not in failed]
        total = [
            sum(
                w * part(rollouts[row].episode, rollouts[row].reference) for part, w in rewards.parts(settings).values()
            )
            for row in alive
        ]
        for row, reward in zip(alive, total, strict=True):
            final = int(batch["completion_mask"][row].sum()) - 1  # no question: the outcome alone
            expected = reward - sum(total) / len(total)
            assert batch["advantages"][row, final].item() == pytest.approx(expected, abs=1e-5)
    assert torch.isfinite(trainer._compute_loss(trainer.model, batch))


def test_a_dead_simulator_stops_the_run_in_one_line(tmp_path: Path) -> None:
    world = world_of(SCENARIOS)
    user = Failing([each.id for each in SCENARIOS], every=1)
    broken = replace(world, user=user)
    trainer = rl.trainer_of(recipe(tmp_path), KNOWN, broken)
    with pytest.raises(
        RunError, match=r"step 1: \d of 8 episodes failed, the first with: ModelError: the line is dead"
    ):
        batch_of(trainer)


class Telling:
    """A person of any world, who tells the next preference of the profile, whatever is asked."""

    name = "telling"

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        told = scenario.profile[sum(message.role == "assistant" for message in messages)]
        return Reply(f"{told.value}, please.", told.attribute)


def test_scenarios_of_a_file_are_learned_from_with_a_learned_belief(tmp_path: Path) -> None:
    elsewhere = [
        each.model_copy(update={"problem": each.problem.model_copy(update={"task": "elsewhere"})}) for each in SCENARIOS
    ]
    write_jsonl(tmp_path / "file.jsonl", elsewhere)
    file, server = tmp_path / "file.jsonl", "server/http://localhost:1/v1"
    words = [f"scenarios.source={file}", f"scenarios.eval_source={file}", f"eval.user={server}", f"eval.judge={server}"]
    world = replace(world_of(SCENARIOS), user=Telling(), scenarios=elsewhere)
    with pytest.raises(ConfigError, match=f"only Pocket's users tell what a question is about, not {server}"):
        rl.settings(recipe(tmp_path, "reward.belief=bayesian", "rollout.candidates=2", *words))
    trainer = rl.trainer_of(recipe(tmp_path, "reward.belief=bayesian", *words), KNOWN, world)
    inputs, batch = batch_of(trainer)
    known = learn("bayesian", elsewhere)
    by_id = {each.id: each for each in elsewhere}
    assert sum(len(row["rollout"].gains) for row in inputs) > 4
    for row in inputs:
        rollout, scenario = row["rollout"], by_id[row["rollout"].episode.scenario_id]
        gains = information(rollout.episode, scenario, known(scenario), nobody_knows)
        assert rollout.gains == [gain / rollout.reference.unit for gain in gains]
        assert not gains or gains[0] != 0
    assert batch["advantages"].dim() == 2


@pytest.mark.parametrize(
    "words", [["peft.r=2", "trainer.beta=0.01"], ["optimizer=muon", "trainer.beta=0.01", "anchor=1"]], ids=str
)
def test_adapters_muon_and_a_reference_model(tmp_path: Path, words: list[str]) -> None:
    torch.set_num_threads(1)
    references.write(tmp_path / "references", KNOWN)
    rl.train(recipe(tmp_path, "trainer.max_steps=2", "trainer.warmup_steps=0", *words), tmp_path / "references")
    history = json.loads((tmp_path / "trained.json").read_text())["history"]
    assert history[0]["kl"] == pytest.approx(0, abs=1e-6) and history[1]["kl"] > 0
    start = load_file(ROOT / "prefdisco" / "pocket" / "base" / "model.safetensors")
    changed = [name for name, weight in weights(tmp_path).items() if not torch.equal(weight, start[name])]
    assert start.keys() == weights(tmp_path).keys() and changed


# the run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint" / "model.safetensors")


def test_killed_it_goes_on_to_the_same_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    held = [
        "constraint.rate=2",
        "constraint.slack=-1",  # its multiplier has to be remembered, and so have the start's and the best reward
        "watch.every=2",
        "watch.limit=3",
        "watch.broken=1",
        "watch.collapse=9",
        "rollout.candidates=2",
        "trainer.gradient_accumulation_steps=1",  # two steps learn from a round
        "replay.weight=0.1",
        "trainer.max_steps=6",
        "trainer.save_steps=2",
    ]
    summary = rl.run(recipe(whole, *held))
    assert summary is not None and {"before", "after", "regression"} <= summary.keys()
    assert str(whole) in capsys.readouterr().out
    trained = json.loads((whole / "trained.json").read_text())
    assert trained["steps"] == 6 and trained["examples"] == 24 and trained["stopped"] == ""
    watched = [entry for entry in trained["history"] if "eval_reward" in entry]
    assert [entry["step"] for entry in watched] == [0, 2, 4, 6]
    best = max(watched[1:], key=lambda entry: entry["eval_reward"])
    assert trained["kept_step"] == summary["training"]["kept_step"] == best["step"]
    assert watched[0]["eval_kl"] == pytest.approx(0, abs=1e-6) and all(entry["eval_kl"] > 0 for entry in watched[1:])
    assert (whole / "figures" / "curves.svg").exists() and "curves.png" in (whole / "report.md").read_text()
    kept = load_file(whole / "trainer" / f"checkpoint-{best['step']}" / "model.safetensors")
    assert all(torch.equal(weight, kept[name]) for name, weight in weights(whole).items())
    steps = [entry for entry in trained["history"] if "reward" in entry]
    first = steps[0]
    assert len(steps) == 3 and steps[-1]["constraint/multiplier"] > 0
    names = {
        "replay",
        "rewards/alignment/mean",
        "rewards/format/mean",
        "episodes/precision",
        "episodes/recall",
        "entropy",
    }
    assert names <= first.keys() and first["episodes/error"] == 0
    assert "reinforcement learning on whole dialogues, GRPO; " in (whole / "checkpoint" / "README.md").read_text()

    command = [sys.executable, "train/rl.py", *SMALL, *held, f"run={killed}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not list((killed / "trainer").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0].decode()[-2000:]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "checkpoint").exists()
    played_before = (killed / "references" / "episodes.jsonl").read_bytes()
    again = rl.run(recipe(killed, *held))
    assert again is not None and again["after"] == summary["after"]
    assert (killed / "references" / "episodes.jsonl").read_bytes() == played_before
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(killed)[name], weight, rtol=0, atol=1e-6, msg=name)
    start = load_file(ROOT / "prefdisco" / "pocket" / "base" / "model.safetensors")
    assert any(not torch.equal(weight, start[name]) for name, weight in weights(whole).items())


def test_references_can_be_shared_by_runs_with_the_same_start_and_scenarios(tmp_path: Path) -> None:
    shared, words = tmp_path / "shared", [f"references={tmp_path / 'shared'}"]
    own = references.prepare(recipe(tmp_path / "own"), SCENARIOS, "weights")
    assert own == tmp_path / "own" / references.FOLDER
    for run in ("one", "two"):
        assert references.prepare(recipe(tmp_path / run, *words), SCENARIOS, "weights") == shared
        assert not (tmp_path / run / references.FOLDER).exists()
    assert references.read(shared, 1.0) == references.read(own, 1.0)
    assert len((shared / "episodes.jsonl").read_text().splitlines()) == 2 * len(SCENARIOS)
    for other, weights in ((SCENARIOS[:4], "weights"), (SCENARIOS, "others")):
        with pytest.raises(RunError, match=f"{shared}.*was made with"):
            references.prepare(recipe(tmp_path / "three", *words), other, weights)


def test_what_costs_too_much_is_unlearned(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    words = ["trainer.max_steps=6", "trainer.num_generations=8", "trainer.per_device_train_batch_size=16",
             "trainer.warmup_steps=0", "trainer.save_steps=6", "scenarios.train_limit=32", "rollout.budget=3",
             "reward.question=1", "reward.information=0"]  # fmt: skip
    wanted = recipe(tmp_path, *words)
    references.write(tmp_path / "references", {each.id: Reference(2.5, 4.5) for each in rl.drawn_scenarios(wanted)[0]})
    rl.train(wanted, tmp_path / "references")
    history = json.loads((tmp_path / "trained.json").read_text())["history"]
    asked = [entry["episodes/questions"] for entry in history]
    assert len(asked) == 6 and asked[0] > 0.8 and asked[-1] < 0.5 * asked[0]


def test_two_processes_play_and_learn_the_same(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    one, two = tmp_path / "one", tmp_path / "two"
    words = [*SMALL, "trainer.max_steps=1", "trainer.num_generations=8", "trainer.scale_rewards=group"]
    alone = load(RLRecipe, [*words, f"run={one}"])
    for run in (one, two):
        references.write(run / references.FOLDER, KNOWN)
    rl.train(alone, one / references.FOLDER)
    command = [
        *(str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--num_cpu_threads_per_process", "1", "--main_process_port", "29717", "tests/launched_rl.py"),
        *words,
        "trainer.per_device_train_batch_size=2",  # so that each process plays half of a group
        f"run={two}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=400, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (json.loads((run / "trained.json").read_text())["history"][0] for run in (one, two))
    names = [name for name in ours if name.startswith(("reward", "episodes/"))]
    assert len(names) > 15 and {name: theirs[name] for name in names} == pytest.approx({n: ours[n] for n in names})
    assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-2)


def test_killed_after_its_last_step_it_makes_none_more(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    summary = rl.run(recipe(tmp_path, "trainer.max_steps=1"))
    before, steps = weights(tmp_path), json.loads((tmp_path / "trained.json").read_text())["steps"]
    for made in ("checkpoint", "after"):
        shutil.rmtree(tmp_path / made)
    for made in ("trained.json", "summary.json"):
        (tmp_path / made).unlink()
    again = rl.run(recipe(tmp_path, "trainer.max_steps=1"))
    assert summary is not None and again is not None and again["after"] == summary["after"]
    assert json.loads((tmp_path / "trained.json").read_text())["steps"] == steps
    assert all(torch.equal(weight, before[name]) for name, weight in weights(tmp_path).items())
