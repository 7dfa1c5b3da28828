"""A finished training run, small and real: pocket-base, its data, its evaluations; the training alone is a nudge."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from prefdisco.cli import main
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


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(run: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a release is refused with; nothing was written."""
    capsys.readouterr()
    before = contents(run.parent)
    with pytest.raises(SystemExit) as ended:
        main(["release", str(run), *words])
    after = contents(run.parent)
    new = after.keys() - before.keys()
    assert (
        ended.value.code == 2 and all(Path(name).name == ".lock" for name in new) and not before.keys() - after.keys()
    )
    line = capsys.readouterr().err
    assert line.startswith("prefdisco: error: ") and line.count("\n") == 1
    return line
