"""Train pocket-base, the embedded world's base model, from nothing.

python train/pretrain.py recipe=pocket
"""

import sys

from prefdisco.cli import configure, friendly
from prefdisco.config import PretrainRecipe

USAGE = "usage: python train/pretrain.py recipe=NAME [key=value ...] [--dry-run]"


@friendly("pretrain")
def main() -> None:
    recipe, dry_run = configure(PretrainRecipe, sys.argv[1:], USAGE)
    if dry_run:
        print(recipe.to_yaml())
        return
    from prefdisco.training.pretrain import pretrain

    print(f"saved {pretrain(recipe)}")


if __name__ == "__main__":
    main()
