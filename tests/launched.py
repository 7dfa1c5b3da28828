"""What `accelerate launch` starts in tests/test_scale.py: the training alone, without data generation and evaluations.

python tests/launched.py DATA REPORT STEPS key=value ...     # stops as if killed after so many steps; 0: not at all
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from prefdisco.config import SFTRecipe, load
from prefdisco.training import sft
from prefdisco.training.checks import check_launch

KILLED = 9


class Watched(sft.TRAINER):  # type: ignore[misc, valid-type]
    """Notes which examples this process sees."""

    made: list[Watched] = []  # noqa: RUF012
    steps = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[list[list[int]]] = []
        self.made.append(self)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any) -> Any:
        if self.steps and len(self.seen) == self.steps:
            os._exit(KILLED)
        pad = self.processing_class.pad_token_id
        self.seen.append([[token for token in row if token != pad] for row in inputs["input_ids"].tolist()])
        return super().training_step(model, inputs, *args)


def local(tensor: Any) -> int:
    """Bytes of the part of a tensor that this process holds."""
    return int(getattr(tensor, "_local_tensor", tensor).nbytes)


def main() -> None:
    data, report, steps, *words = sys.argv[1:]
    recipe = load(SFTRecipe, words)
    sft.TRAINER, Watched.steps = Watched, int(steps)  # type: ignore[misc]
    check_launch(recipe)
    sft.train(recipe, Path(data))
    (trainer,) = Watched.made
    states = [each for state in trainer.optimizer.state.values() for each in state.values() if hasattr(each, "nbytes")]
    found = {
        "distributed": str(trainer.accelerator.distributed_type),
        "seen": trainer.seen,
        "weights": sum(map(local, trainer.model.parameters())),
        "states": sum(map(local, states)),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }
    Path(f"{report}.{os.environ.get('RANK', '0')}").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
