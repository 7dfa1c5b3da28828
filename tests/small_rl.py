"""A recipe of reinforcement learning that tests can run."""

from __future__ import annotations

from pathlib import Path

from prefdisco.config import RLRecipe, load

SMALL = [
    "recipe=grpo_small", "model=pocket-base", "scenarios.train_limit=8", "scenarios.seed=0", "scenarios.eval_limit=2",
    "eval.conditions=[baseline]", "eval.max_tokens=16", "rollout.max_tokens=96", "rollout.budget=2",
    "trainer.max_steps=3", "trainer.num_generations=4", "trainer.per_device_train_batch_size=4",
    "trainer.gradient_accumulation_steps=2", "trainer.steps_per_generation=2", "trainer.num_iterations=1",
    "trainer.learning_rate=0.001", "optimizer=adamw", "trainer.save_steps=1", "watch.every=0",
    "reward.information=2", "anchor=0", "trainer.scale_rewards=none", "trainer.loss_type=dapo",
    "rollout.candidates=1", "replay.weight=0", "rollout.mix.plain=0", "rollout.mix.oracle=0",
]  # fmt: skip


def recipe(run: Path, *words: str) -> RLRecipe:
    return load(RLRecipe, [*SMALL, f"run={run}", *words])
