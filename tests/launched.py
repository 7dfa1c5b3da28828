"""What `accelerate launch` starts in tests/test_scale.py: the training alone, without data generation and evaluations.

python tests/launched.py DATA REPORT key=value ...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from prefdisco.config import SFTRecipe, load
from prefdisco.training import sft
from prefdisco.training.processes import is_main


class Watched(sft.TRAINER):  # type: ignore[misc, valid-type]
    """Notes which examples this process sees, and what its shards weigh."""

    seen: list[list[list[int]]] = []  # noqa: RUF012
    last: Any = None

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any) -> Any:
        self.seen.append(
            [[id for id in row if id != self.processing_class.pad_token_id] for row in inputs["input_ids"].tolist()]
        )
        type(self).last = self
        return super().training_step(model, inputs, *args)


def local(tensor: Any) -> int:
    """Bytes of the part of a tensor that this process holds."""
    return int(getattr(tensor, "_local_tensor", tensor).nbytes)


def main() -> None:
    data, report, *words = sys.argv[1:]
    recipe = load(SFTRecipe, words)
    sft.TRAINER = Watched
    sft.check_launch(recipe)
    sft.train(recipe, Path(data))
    trainer = Watched.last
    states = [
        value for state in trainer.optimizer.state.values() for value in state.values() if hasattr(value, "nbytes")
    ]
    found = {
        "type": str(trainer.accelerator.distributed_type),
        "seen": Watched.seen,
        "weights": sum(map(local, trainer.model.parameters())),
        "states": sum(map(local, states)),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }
    Path(f"{report}.{os.environ.get('RANK', '0')}").write_text(json.dumps(found))
    assert is_main() == trainer.is_world_process_zero()


if __name__ == "__main__":
    main()
