"""Where a training reports to besides the run folder: Weights & Biases, if it is asked for and installed.

`trainer.report_to=wandb` reports under the run's name, with the whole recipe as its configuration. `WANDB_MODE=offline`
keeps everything in `wandb/` in the run folder; `wandb sync` sends it later.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from prefdisco.config import TrainRecipe

NOT_INSTALLED = "wandb is not installed, nothing is reported to it: pip install 'prefdisco[wandb]'"


def reporting(recipe: TrainRecipe) -> dict[str, Any]:
    """The fields of TrainingArguments on reporting: to nothing unless the recipe asks for it; wandb only if installed.

    Sets where wandb keeps its files and what the project is called, unless the environment does.
    """
    names = asked(recipe)
    if "wandb" in names:
        os.environ.setdefault("WANDB_DIR", recipe.run)
        os.environ.setdefault("WANDB_PROJECT", "prefdisco")
    present = [name for name in names if name != "wandb" or find_spec("wandb")]
    return {"report_to": present or "none", "run_name": recipe.trainer.get("run_name") or Path(recipe.run).name}


def notice(recipe: TrainRecipe) -> str | None:
    """One line where the recipe asks for wandb and it is not installed."""
    return NOT_INSTALLED if "wandb" in asked(recipe) and not find_spec("wandb") else None


def asked(recipe: TrainRecipe) -> list[str]:
    """What the recipe wants its training reported to."""
    names = recipe.trainer.get("report_to") or []
    return [name for name in ([names] if isinstance(names, str) else names) if name != "none"]


class RecipeInWandb(TrainerCallback):
    """Adds the recipe to the configuration of the run that the trainer has opened."""

    def __init__(self, recipe: TrainRecipe) -> None:
        self.recipe = recipe

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Comes after the trainer's own callback, which opens the run on the main process."""
        if state.is_world_process_zero and "wandb" in args.report_to:
            import wandb

            wandb.config.update({"recipe": self.recipe.model_dump(mode="json")}, allow_val_change=True)
