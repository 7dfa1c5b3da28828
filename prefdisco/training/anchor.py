"""Forgetting less: after every step the weights go a little back to where fine-tuning started.

    w <- w - lr * strength * (w - w_start)

It is weight decay with the start in place of zero (L2-SP, arXiv 1802.01483), decoupled from the gradient as AdamW's, so
that it means the same for every optimizer. What many examples ask for stays; what single batches left behind fades.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from prefdisco.config import ConfigError


class Anchor(TrainerCallback):
    """Holds a model to the weights that it has now. Raises ConfigError where training splits them over processes."""

    def __init__(self, model: PreTrainedModel, strength: float) -> None:
        self.strength = strength
        self.start = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step back."""
        optimizer, model = kwargs["optimizer"], kwargs["model"]
        back = optimizer.param_groups[0]["lr"] * self.strength
        for name, weight in model.named_parameters():
            start = self.start.get(name.removeprefix("module."))
            if start is None or start.shape != weight.shape:
                raise ConfigError("anchor: the weights are split or wrapped; use anchor=0 with FSDP, ZeRO-3 and LoRA")
            weight.lerp_(start.to(weight.device, weight.dtype), back)
