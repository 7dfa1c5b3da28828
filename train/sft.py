"""Fine-tune with a recipe, evaluated before and after.

accelerate launch train/sft.py recipe=selfdistill
accelerate launch train/sft.py recipe=selfdistill data.policy=random seed=1 run=runs/random-1
"""

import sys

from prefdisco.cli import configure, friendly
from prefdisco.config import SFTRecipe

USAGE = "usage: accelerate launch train/sft.py recipe=NAME [key=value ...] [--dry-run]"


@friendly("sft")
def main() -> None:
    recipe, dry_run = configure(SFTRecipe, sys.argv[1:], USAGE)
    from prefdisco.training import sft
    from prefdisco.training.processes import is_main

    if dry_run:
        if is_main():
            print(f"{recipe.to_yaml()}\n{sft.describe(recipe)}")
    else:
        sft.run(recipe)


if __name__ == "__main__":
    main()
