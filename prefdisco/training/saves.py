"""Where a training run goes on: the trainer's last save that is whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Over(Exception):
    """A training went on from the save of its last step."""


class NoStepBeyond(TrainerCallback):
    """Ends a training that has all of its steps behind it. The trainer itself looks after its next step only, so one
    that ends within an epoch would make a step too many."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= state.max_steps and not args.load_best_model_at_end:
            raise Over


def train(trainer: Trainer) -> None:
    """Train from the last save, if there is one.

    Of `load_best_model_at_end`, which the trainer does at its end, a save of the last step is not the end: it makes one
    step more, which is not kept.
    """
    trainer.add_callback(NoStepBeyond())
    with suppress(Over):
        trainer.train(resume_from_checkpoint=last_save(Path(str(trainer.args.output_dir))))


def last_save(folder: Path) -> str | None:
    """The last `checkpoint-N` below `folder`, None if there is none.

    One that a kill or a full disk left unfinished is passed over: `trainer_state.json` is what the trainer writes last.
    """
    whole = [
        state.parent for state in folder.glob("checkpoint-*/trainer_state.json") if state.read_bytes().endswith(b"}\n")
    ]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None
