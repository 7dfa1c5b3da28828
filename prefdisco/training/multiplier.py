"""An accuracy that must not fall, as a constraint: a Lagrange multiplier is the weight of a right answer.

    maximize E[reward]  subject to  E[correct] >= floor
    reward + m * correct,   m <- min(most, max(0, m + rate * (floor - accuracy of the round's episodes)))

While the accuracy is below its floor the weight grows, above it falls back to nothing (dual ascent, as in RCPO, Tessler
et al., arXiv 1805.11074). A step is learned with the multiplier of the steps before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from prefdisco.config import ConstraintConfig
from prefdisco.training.references import Reference


class Multiplier(TrainerCallback, ExportableState):
    """The multiplier `value`, 0 at first. It is saved with the trainer's state, and goes on from there."""

    def __init__(self, floor: float, rate: float, most: float) -> None:
        self.floor, self.rate, self.most = floor, rate, most
        self.value = 0.0

    def update(self, accuracy: float) -> None:
        """Take note of the accuracy (0..1) of a step's episodes."""
        self.value = min(self.most, max(0.0, self.value + self.rate * (self.floor - accuracy)))

    def state(self) -> dict[str, Any]:
        """What the trainer saves."""
        settings = {"floor": self.floor, "rate": self.rate, "most": self.most}
        return {"args": settings, "attributes": {"value": self.value}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the save that the trainer goes on from."""
        saved: Any = state.stateful_callbacks  # a dict by now, whatever its annotation says
        self.value = float(saved[type(self).__name__]["attributes"]["value"])


def multiplier(constraint: ConstraintConfig, known: Iterable[Reference]) -> Multiplier | None:
    """The multiplier of a recipe, None without a constraint; its floor is the references' accuracy less the slack."""
    if not constraint.rate:
        return None
    floor = fmean(reference.accuracy for reference in known) - constraint.slack
    return Multiplier(floor, constraint.rate, constraint.most)
