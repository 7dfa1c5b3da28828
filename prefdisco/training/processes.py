"""How a training is spread over processes: read from what `accelerate launch` sets, and undone when it is saved."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from transformers import Trainer
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from prefdisco.config import ConfigError
from prefdisco.files import RunError

Strategy = Literal["ddp", "fsdp2", "zero2", "zero3"]
T = TypeVar("T")


def strategy() -> Strategy:
    """What `accelerate launch` was asked for; ddp where it was asked for nothing. Raises ConfigError for others."""
    if _flag("ACCELERATE_USE_FSDP"):
        if os.environ.get("FSDP_VERSION") != "2":
            raise ConfigError("accelerate: FSDP 1 is not supported; use configs/accelerate/fsdp2.yaml")
        return "fsdp2"
    if _flag("ACCELERATE_USE_DEEPSPEED"):
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        if stage not in ("2", "3"):
            raise ConfigError(f"accelerate: ZeRO stage {stage} is not supported; use configs/accelerate/zero2.yaml")
        return "zero3" if stage == "3" else "zero2"
    return "ddp"


def processes() -> int:
    """How many processes were launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0; known before any process group is."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that prints."""
    return rank() == 0


def shared(value: T) -> T:
    """What the main process passes, in every process; the others wait for it here, and what they pass is ignored.

    Raises RunError, of one line, in those that wait for a main process that has ended.
    """
    message = [value]
    if processes() > 1:
        try:
            broadcast_object_list(message)
        except RuntimeError as error:  # the connection was closed
            if is_main():
                raise
            raise RunError(f"process {rank()}: the main process has ended; what it says is the reason") from error
    return message[0]


def collected(values: list[T]) -> list[T]:
    """The values of all processes, in every process, once all have come here."""
    return gather_object(values) if processes() > 1 else values


def device_arguments() -> dict[str, Any]:
    """The fields of TrainingArguments that choose the device, for the way this process was launched."""
    if torch.cuda.is_available():
        return {}
    if strategy() in ("zero2", "zero3"):  # accelerate leaves DeepSpeed out where it is told to use a CPU
        return {"ddp_backend": "gloo", "dataloader_pin_memory": False}
    return {"use_cpu": True}


def shard_on_cpu() -> None:
    """Let accelerate shard (FSDP2) on a CPU too, as torch can; to be called after TrainingArguments are made.

    accelerate shards for the types of its accelerators only, and would train with DDP instead without a word.
    """
    state = PartialState()
    if strategy() == "fsdp2" and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


def gathered(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The whole weights after training, under the names that they have in one process. All processes must call it.

    Only the main process may use the result: elsewhere it can be empty.
    """
    weights: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    load_whole()
    return weights


def load_whole() -> None:
    """From now on, models are loaded whole by the process that asks, not in shards by all (ZeRO-3)."""
    unset_hf_deepspeed_config()


def _flag(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")
