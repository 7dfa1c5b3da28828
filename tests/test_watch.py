"""A model watched while it trains: other scenarios, by-hand figures, and an end where it collapses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from prefdisco.config import ConfigError, RLRecipe, WatchConfig, load
from prefdisco.llm.local import load as load_checkpoint
from prefdisco.pocket.scenarios import scenarios
from prefdisco.report.curves import PANELS, save_curves, series
from prefdisco.schema import write_jsonl
from prefdisco.training import rl
from prefdisco.training.references import Reference
from prefdisco.training.watch import Collapse, Watch, logprobs
from prefdisco.world import world_of
from tests.hand_made import episode

WORDS = ["recipe=grpo_small", "model=pocket-base", "scenarios.train_limit=6", "watch.limit=3"]


def recipe(run: Path, *words: str) -> RLRecipe:
    return load(RLRecipe, [*WORDS, f"run={run}", *words])


def test_watched_scenarios_are_drawn_after_those_trained_on(tmp_path: Path) -> None:
    training, watched = rl.drawn_scenarios(recipe(tmp_path))
    assert [len(training), len(watched)] == [6, 3]
    unwatched, none = rl.drawn_scenarios(recipe(tmp_path, "watch.every=0"))
    assert unwatched == training and not none, "watching changes nothing of what is learned from"


def test_the_last_scenarios_of_a_file_are_watched(tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    write_jsonl(file, drawn := scenarios("train", 5, 0))
    words = [f"scenarios.source={file}", f"scenarios.eval_source={file}"]
    training, watched = rl.drawn_scenarios(recipe(tmp_path, *words))
    assert (training, watched) == (drawn[:2], drawn[2:])
    with pytest.raises(ConfigError, match="all 5 scenarios would be watched, none is left to learn from"):
        rl.drawn_scenarios(recipe(tmp_path, *words, "watch.limit=5"))


# what is logged


def watch(tmp_path: Path, *words: str, floor: float | None = None) -> Watch:
    known = {name: Reference(2.0, 4.0) for name in ("a/ann", "b/ann")}
    drawn = scenarios("train", 2, 0)
    return Watch(recipe(tmp_path, *words), drawn, known, world_of(drawn), floor)


def test_the_reward_is_the_mean_of_the_discovery_episodes(tmp_path: Path) -> None:
    watched = watch(tmp_path, "reward.correctness=0.5", "reward.question=0.1", "reward.format=0")
    played = [
        episode("a", "discovery", 4, revealed=["tone"]),  # right, one question: 0.5 + 1 - 0.1
        episode("b", "discovery", 1, correct=False),  # wrong, a half below: -0.5, and as much again for the harm
        episode("a", "baseline", 1),
    ]
    assert watched.reward(played) == pytest.approx((1.4 + (-0.5 - 0.25)) / 2)
    assert watched.reward(played[2:]) == 0


def test_a_missed_floor_costs_what_the_largest_multiplier_takes(tmp_path: Path) -> None:
    played = [episode("a", "discovery", 4), episode("b", "discovery", 4, correct=False)]
    free = watch(tmp_path).reward(played)
    held = watch(tmp_path, "constraint.most=3", floor=0.7).reward(played)
    assert held == pytest.approx(free - 3 * (0.7 - 0.5))
    assert watch(tmp_path, floor=0.5).reward(played) == pytest.approx(free)


def test_log_probabilities_do_not_depend_on_the_batch_and_make_an_estimate_of_the_divergence(tmp_path: Path) -> None:
    model, _ = load_checkpoint("pocket-base", device="cpu")
    rows = [[1, 5, 9, 40, 17, 3], [1, 7, 300]]
    together = logprobs(model, rows, temperature=1.5)
    for row, scores in zip(rows, together, strict=True):
        logits = model(input_ids=torch.tensor([row])).logits[0, :-1] / 1.5
        alone = logits.log_softmax(-1).gather(-1, torch.tensor(row[1:])[:, None])[:, 0]
        torch.testing.assert_close(scores, alone.detach(), rtol=0, atol=1e-4)

    watched = watch(tmp_path, "rollout.temperature=1.5")
    tokens = SimpleNamespace(ids=rows[0], mask=[0, 0, 1, 1, 0, 1], logprobs=[0.0, *together[0].tolist()])
    trainer = SimpleNamespace(accelerator=SimpleNamespace(device=torch.device("cpu")))
    same: Any = SimpleNamespace(tokens=tokens)
    [(total, count)] = watched.divergences(trainer, [same])
    assert total == pytest.approx(0, abs=1e-4) and count == 3
    tokens.logprobs[2] += 0.7  # now twice as likely as at the start
    [(total, _)] = watched.divergences(trainer, [same])
    assert total == pytest.approx(0.5 - 1 + 0.7, abs=0.01)


# where it ends


def told(collapse: Collapse, step: int, **logs: float) -> bool:
    """Whether training goes on after these logs."""
    control, state = TrainerControl(), TrainerState(global_step=step)
    arguments = TrainingArguments(output_dir="unused", report_to="none")
    collapse.on_log(arguments, state, control, logs=logs)
    if "eval_reward" in logs:
        collapse.on_evaluate(arguments, state, control, metrics=logs)
    return not control.should_training_stop


def test_a_reward_far_below_the_start_ends_the_training() -> None:
    collapse = Collapse(WatchConfig(collapse=0.3))
    assert told(collapse, 0, eval_reward=0.5) and told(collapse, 10, eval_reward=0.21) and collapse.reason == ""
    assert not told(collapse, 20, eval_reward=0.19)
    assert collapse.reason == "stopped at step 20: the reward on watched scenarios is 0.19, at the start it was 0.50"


def test_episodes_that_cannot_be_read_end_the_training() -> None:
    collapse = Collapse(WatchConfig(broken=0.5))
    assert told(collapse, 1, **{"episodes/malformed": 0.5, "episodes/truncated": 0.1})
    assert not told(collapse, 2, **{"episodes/malformed": 0.1, "episodes/truncated": 0.62})
    assert collapse.reason == "stopped at step 2: 62% of the episodes were truncated"


def test_the_start_is_remembered_over_a_kill() -> None:
    first, again = Collapse(WatchConfig()), Collapse(WatchConfig())
    told(first, 0, eval_reward=0.9)
    arguments = TrainingArguments(output_dir="unused", report_to="none")
    again.on_train_begin(arguments, TrainerState(stateful_callbacks={"Collapse": first.state()}), TrainerControl())
    assert not told(again, 10, eval_reward=0.5)


# how it looks


def test_curves_show_what_was_logged_and_leave_out_what_was_not(tmp_path: Path) -> None:
    history = [
        {"step": 0, "eval_reward": 0.1, "eval_questions": 1.0},
        {"step": 1, "reward": 0.2, "episodes/questions": 1.5},
        {"step": 2, "reward": 0.3, "episodes/questions": 2.5, "entropy": None},
    ]
    assert series(history, "reward") == [(1, 0.2), (2, 0.3)] and series(history, "entropy") == []
    page = save_curves(tmp_path, history).with_suffix(".svg").read_text()
    assert all(title.split("(")[0] in page for title in PANELS)
    assert "reward, watched" in page and "questions asked, watched" in page and "adaptivity" not in page
    first = (tmp_path / "curves.svg").read_bytes()
    save_curves(tmp_path, history)
    assert (tmp_path / "curves.svg").read_bytes() == first
