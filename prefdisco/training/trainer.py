"""TRL's trainer with what a run here needs: one order of examples for any number of processes, Muon, a cheaper loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import Sampler
from transformers import Trainer
from trl import SFTTrainer

from prefdisco.training.batches import LikeLengths, SameEpoch
from prefdisco.training.optimizer import MuonAdamW


class WithMuon(Trainer):
    """A trainer that `optimizer="muon"` makes use MuonAdamW, made from the model as TRL has prepared it."""

    def __init__(self, *args: Any, optimizer: str = "adamw", **kwargs: Any) -> None:
        self.muon = optimizer == "muon"
        super().__init__(*args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Not in advance: adapters do not exist then, and a sharded model wants its optimizer made here."""
        if self.muon and self.optimizer is None:
            whole: Any = self.model if model is None else model
            self.optimizer = MuonAdamW.from_arguments(whole, self.args)
        return super().create_optimizer(model)


class GPUTrainer(WithMuon, SFTTrainer):
    """TRL's trainer, whose order of examples is the same for any number of processes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(SameEpoch())

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        lengths = [len(ids) for ids in data["input_ids"]]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LikeLengths(lengths, batch, self.args.seed)


class CPUTrainer(GPUTrainer):
    """The same with the model's own loss.

    TRL's fused head saves memory by computing every logit twice, in float32, and adds two metrics. Without its GPU
    kernel that costs more than it saves (`bench/sft.py`).
    """

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # with a cache, transformers would not look for the borders of packed documents
        return Trainer.compute_loss(self, model, {**inputs, "use_cache": False}, *args, **kwargs)


TRAINER = GPUTrainer if torch.cuda.is_available() else CPUTrainer
