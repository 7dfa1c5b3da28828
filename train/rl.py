"""Reinforcement learning with a recipe, evaluated before and after.

accelerate launch train/rl.py recipe=grpo
accelerate launch train/rl.py recipe=grpo_small reward.information=0 seed=1 run=runs/outcome-only-1
accelerate launch train/rl.py recipe=tpo
"""

import sys

from prefdisco.cli import configure, friendly
from prefdisco.config import RLRecipe

USAGE = "usage: accelerate launch train/rl.py recipe=NAME [key=value ...] [--dry-run]"


@friendly("rl")
def main() -> None:
    recipe, dry_run = configure(RLRecipe, sys.argv[1:], USAGE)
    from prefdisco.training import rl, tpo
    from prefdisco.training.processes import is_main

    training = {"grpo": rl, "tpo": tpo}[recipe.objective]
    if dry_run:
        if is_main():
            print(f"{recipe.to_yaml()}\n{training.describe(recipe)}")
    else:
        training.run(recipe)


if __name__ == "__main__":
    main()
