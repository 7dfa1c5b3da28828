"""Muon for the weight matrices, AdamW for the rest, as one optimizer: for small models trained from little.

Muon (Jordan et al., 2024; torch.optim.Muon) orthogonalizes the momentum of each matrix. On Pocket text it needs about
two thirds of the steps of AdamW to the same loss (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments


def is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon takes the parameter: a matrix outside embeddings and output."""
    return parameter.ndim == 2 and "embed" not in name and "lm_head" not in name


class MuonAdamW(torch.optim.Optimizer):
    """Matrices outside the embeddings go to Muon, with its updates scaled to AdamW's size; all others to AdamW.

    To the outside it is one optimizer with the usual groups and state, so that it can be sharded and saved like any.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
        trainable = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
        matrices = [each for name, each in trainable if is_inner(name, each)]
        others = [each for name, each in trainable if not is_inner(name, each)]
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            *([torch.optim.Muon(matrices, lr, weight_decay, adjust_lr_fn="match_rms_adamw")] if matrices else []),
            *([torch.optim.AdamW(others, lr, betas, weight_decay=0.0)] if others else []),
        )
        super().__init__(matrices + others, {"lr": lr})
        self.param_groups = [group for part in self.parts for group in part.param_groups]
        self._share()

    @classmethod
    def from_arguments(cls, model: nn.Module, arguments: TrainingArguments) -> MuonAdamW:
        """The optimizer with the trainer's learning rate, weight decay and betas."""
        betas = (arguments.adam_beta1, arguments.adam_beta2)
        return cls(model, arguments.learning_rate, arguments.weight_decay, betas)

    def _share(self) -> None:
        """Groups and state are the parts' own."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # where load_state_dict ends
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss
