"""The order of training examples: a function of the seed and the epoch, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback
from transformers.trainer_pt_utils import get_length_grouped_indices


class LikeLengths(Sampler[int]):
    """Examples of like length beside each other, in groups of the *global* batch.

    Args:
        lengths: tokens of every example.
        batch: examples of one step, all processes and accumulated micro-batches together. The sampler of transformers
            groups by one process's share, so that its order changes with the number of processes; it also draws from
            the global generator of each process, which they must then have used alike.
        seed: of the order; the same in every process.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths, self.batch, self.seed, self.epoch = list(lengths), batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch, and after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch + 1):
            # a data loader draws its base seed first: with one process, the order is the one that it always was
            torch.empty((), dtype=torch.int64).random_(generator=generator)
            indices = get_length_grouped_indices(self.lengths, self.batch, generator=generator)
        return iter(indices)


class SameEpoch(TrainerCallback):
    """Tells the sampler its epoch, however deep it is wrapped.

    The trainer and accelerate look for it two levels down. Resumed in a later epoch by several processes, it lies three
    levels down, and would give the order of the first epoch once more.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Comes before the trainer asks for the first batch."""
        level = kwargs["train_dataloader"].batch_sampler
        while hasattr(level, "batch_sampler"):
            level = level.batch_sampler
        if hasattr(level.sampler, "set_epoch"):
            level.sampler.set_epoch(int(state.epoch))
