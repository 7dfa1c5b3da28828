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


class MuonAdamW(torch.optim.Optimizer):
    """Matrices outside the embeddings go to Muon, with its updates scaled to AdamW's size; all others to AdamW."""

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            inner = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
            (matrices if inner else others).append(parameter)
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, weight_decay=0.0, betas=betas),
        )
        super().__init__(matrices + others, {"lr": lr})
        self._share()

    @classmethod
    def from_arguments(cls, model: nn.Module, arguments: TrainingArguments) -> MuonAdamW:
        """The optimizer with the trainer's learning rate, weight decay and betas."""
        betas = (arguments.adam_beta1, arguments.adam_beta2)
        return cls(model, arguments.learning_rate, arguments.weight_decay, betas)

    def _share(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share()
