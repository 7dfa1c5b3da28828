"""What `accelerate launch` starts in tests/test_rl.py and tests/test_tpo.py: the training alone.

The references must be there already.

python tests/launched_rl.py key=value ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from prefdisco.config import RLRecipe, load
from prefdisco.training import references, rl, tpo
from prefdisco.training.stages import launched

if __name__ == "__main__":
    recipe = load(RLRecipe, sys.argv[1:])
    launched(recipe)
    {"grpo": rl, "tpo": tpo}[recipe.objective].train(recipe, Path(recipe.run) / references.FOLDER)
