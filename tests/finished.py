"""A finished training run, small and real: pocket-base, its data, its evaluations; the training alone is a nudge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from prefdisco.config import SFTRecipe, load
from prefdisco.training.sft import make_data
from prefdisco.training.stages import conduct, save, start

SCENARIOS = 34  # x 3 conditions: more than 100 episodes


def finished_run(folder: Path, *words: str) -> dict[str, Any]:
    """Conduct a run in `folder`; greedy, so that every answer can be had again. Returns its summary."""
    small = [
        "scenarios.train_limit=16", f"scenarios.eval_limit={SCENARIOS}", "data.samples=1", "data.interviews=0",
        "eval.temperature=0", "eval.max_tokens=200",
    ]  # fmt: skip
    recipe = load(SFTRecipe, ["recipe=selfdistill", *small, f"run={folder}", *words])

    def train(data: Path) -> None:
        model, tokenizer = start(recipe)
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.02 * parameter.std() * torch.randn_like(parameter)
        save(recipe, model, tokenizer, steps=1, examples=16, history=[])

    summary = conduct(recipe, partial(make_data, recipe), train)
    assert summary is not None
    return summary
