"""What `accelerate launch` starts in tests/test_rl.py: the training alone, with references that are there already.

python tests/launched_rl.py key=value ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefdisco.config import RLRecipe, load
from prefdisco.training import references, rl
from prefdisco.training.stages import launched

if __name__ == "__main__":
    recipe = load(RLRecipe, sys.argv[1:])
    launched(recipe)
    rl.train(recipe, Path(recipe.run) / references.FOLDER)
