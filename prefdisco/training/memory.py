"""Memory of a training, from the model's configuration alone: no weights are read and nothing of their size is made.

    P    bytes of the weights             T   of the trained ones (all, or the adapters)
    t    number of the trained ones       N   processes
    c    bytes of a number as computed: 2 under bf16, else 4

               weights    gradients       AdamW    buffers
    ddp        P          T               2T       T (reduction, N > 1), bf16 copies of the trained matrices
    fsdp2      P/N        T/N             2T/N     in c: what stays gathered, two layers, the gradients of a unit
    zero2      cp         (c+4)t/N        12t/N    a reduction bucket of 5e8 numbers in c
    zero3      cp/N       (c+4)t/N        12t/N    the same, and up to 1e9 gathered numbers in c

Muon keeps one number for each of its matrices' where AdamW keeps two. Activations are counted (activations.py). The
sum is an upper bound of what is alive at once; not in it: temporaries of kernels, fragmentation, CUDA's own, NCCL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from trl import SFTConfig

from prefdisco.config import SFTRecipe
from prefdisco.llm.base import ModelError
from prefdisco.llm.local import located
from prefdisco.training.activations import Work, activations, body, copied
from prefdisco.training.checks import is_flat
from prefdisco.training.optimizer import is_inner
from prefdisco.training.processes import Strategy, processes, strategy

GIB = 2**30
STRATEGIES: tuple[Strategy, ...] = ("ddp", "fsdp2", "zero2", "zero3")
BUCKET, LIVE = 500_000_000, 1_000_000_000  # DeepSpeed's defaults: reduce_bucket_size, stage3_max_live_parameters
TILE = (4096, 32768)  # tokens x vocabulary that TRL's fused head computes at a time


@dataclass(frozen=True)
class Memory:
    """Bytes on one process, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int
    recomputed: int
    logits: int

    @property
    def total(self) -> int:
        """What is alive at once: the logits are gone when the first layer is computed again."""
        always = self.weights + self.gradients + self.optimizer + self.buffers + self.activations
        return always + max(self.recomputed, self.logits)


def configuration(name: str) -> PreTrainedConfig:
    """The configuration of a model by its folder, which need hold config.json only, or its Hub id, from the cache.

    Raises ModelError.
    """
    path = located(name)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        if "/" in path and not path.startswith(("/", ".")):
            raise ModelError(
                f"model {name}: no such folder, and not in the hub's local cache; `hf download {name}` fetches it "
                "(config.json alone is enough for --dry-run)"
            ) from error
        raise ModelError(f"model {name}: no configuration: {str(error).strip().splitlines()[0]}") from error
    return config


def skeleton(recipe: SFTRecipe, config: PreTrainedConfig, half: bool = False) -> nn.Module:
    """The model as it is trained, adapters included, without its weights; `half`: all of it in bfloat16.

    Call it where tensors take no memory: on the meta device, or with fake tensors.
    """
    dtype = torch.bfloat16 if half else getattr(torch, recipe.dtype)
    model: nn.Module = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if recipe.peft:
        model = get_peft_model(model, LoraConfig(**recipe.peft), autocast_adapter_dtype=not half)
    return model


def estimate(
    recipe: SFTRecipe, config: PreTrainedConfig, work: Work, kind: Strategy, count: int, fused: bool = True
) -> Memory:
    """What one of `count` processes needs; `fused`: with TRL's output layer for GPUs, which keeps no logits.

    Of `work.compute`, only whether it is "as loaded" counts; else it is what the strategy computes in.
    """
    with torch.device("meta"):
        model = skeleton(recipe, config)
    half = work.compute != "as loaded"
    if half:
        work = replace(work, compute="autocast" if kind == "ddp" else "bfloat16")
    weights, gradients, states = held(model, kind, count, recipe.optimizer, half)
    return Memory(
        weights,
        gradients,
        states,
        buffers(model, kind, count, work),
        *activations(config, work, partial(skeleton, recipe)),
        output(model, config, work, fused),
    )


def held(model: nn.Module, kind: Strategy, count: int, optimizer: str, half: bool) -> tuple[int, int, int]:
    """Bytes of (weights, gradients, optimizer states) on the first of `count` processes; no other holds more."""
    named = list(model.named_parameters())
    trained = [each for _, each in named if each.requires_grad]
    if kind in ("zero2", "zero3"):
        size, part = 2 if half else 4, -(-numel(trained) // count)
        total = numel(each for _, each in named)
        return (
            size * (total if kind == "zero2" else -(-total // count)),
            part * (size + 4 if half else size),
            part * (12 if half or kind == "zero2" else 8),
        )
    share = count if kind == "fsdp2" else 1
    states = 0
    for name, each in named:
        if each.requires_grad:
            muon = optimizer == "muon" and is_inner(name, each)
            states += shard(each, share) * (1 if muon else 2) + (0 if muon else 4)  # AdamW counts its steps
    return sum(shard(each, share) for _, each in named), sum(shard(each, share) for each in trained), states


def shard(tensor: torch.Tensor, count: int) -> int:
    """Bytes of the first of `count` pieces; FSDP2 cuts along the first dimension."""
    return -(-tensor.shape[0] // count) * (tensor.numel() // tensor.shape[0]) * tensor.element_size()


def buffers(model: nn.Module, kind: Strategy, count: int, work: Work) -> int:
    """Bytes of second copies: for reduction, of other types, or gathered from the other processes."""
    trained = [each for each in model.parameters() if each.requires_grad]
    if kind == "ddp":
        reduction = sum(each.nbytes for each in trained) if count > 1 else 0
        return reduction + (copied(model) if work.compute == "autocast" else 0)
    size = 2 if work.compute == "bfloat16" else 4
    if kind == "fsdp2":
        layers, kept = units(model)
        gathered = numel(kept) + 2 * max(map(numel, layers))
        gradients = max(numel(each for each in unit if each.requires_grad) for unit in (*layers, kept))
        return size * (gathered + gradients)
    live = min(LIVE, numel(model.parameters())) if kind == "zero3" else 0
    return size * (BUCKET + live)


def units(model: nn.Module) -> tuple[list[list[nn.Parameter]], list[nn.Parameter]]:
    """(parameters of each layer, all others): FSDP2 gathers layers as they come, and keeps the others gathered."""
    layers = [list(layer.parameters()) for layer in body(model).base_model.layers]
    inside = {id(each) for layer in layers for each in layer}
    return layers, [each for each in model.parameters() if id(each) not in inside]


def output(model: nn.Module, config: PreTrainedConfig, work: Work, fused: bool) -> int:
    """Bytes of logits and their gradient: whole and in float32, or with TRL's fused head (GPU) a tile of them.

    Whole: the log-probabilities, the gradient with respect to them, and that with respect to the logits.
    """
    text = config.get_text_config()
    if not fused:
        return 3 * 4 * work.tokens * int(text.vocab_size)
    head: nn.Parameter = body(model).get_output_embeddings().weight
    size = 2 if work.compute != "as loaded" else head.element_size()
    tile = min(work.tokens, TILE[0]) * TILE[1] * size
    return tile + 4 * work.tokens * int(text.hidden_size) + (4 * head.numel() if head.requires_grad else 0)


def numel(parameters: Iterable[torch.Tensor]) -> int:
    """How many numbers these tensors hold."""
    return sum(each.numel() for each in parameters)


def report(recipe: SFTRecipe, arguments: SFTConfig, longest: int | None = None) -> str:
    """The lines of --dry-run on parameters and memory; `longest`: tokens of the longest dialogue, if it is known.

    The first row is what the command would do here, the others are what it would take on GPUs: as many as it was
    launched for, or 1 and 8. Raises ModelError where there is no configuration.
    """
    config = configuration(recipe.model)
    context = int(config.get_text_config().max_position_embeddings)
    length = (arguments.max_length if arguments.packing else longest) or arguments.max_length or context
    work = Work(
        arguments.per_device_train_batch_size,
        length,
        is_flat(arguments),
        recipe.attention,
        "autocast" if arguments.bf16 else "as loaded",
        arguments.gradient_checkpointing,
    )
    here, count = strategy(), processes()
    ways: list[tuple[str, Strategy, int, bool]] = []
    if not torch.cuda.is_available() and recipe.attention == "sdpa":
        ways.append((f"here: {count} x CPU", here, count, False))
    if count == 1:
        ways.append(("1 x GPU", "ddp", 1, True))
    n = count if count > 1 else 8
    possible = STRATEGIES[:2] if recipe.optimizer == "muon" else STRATEGIES  # DeepSpeed has no matrices for it
    ways += [(f"{n} x GPU, {kind}", kind, n, True) for kind in possible]
    return "\n".join(
        [
            f"trained     {parameters(recipe, config)}",
            f"memory      on each process: {described(work, arguments, longest)}",
            *table([(way, estimate(recipe, config, work, kind, n, fused)) for way, kind, n, fused in ways]),
        ]
    )


def parameters(recipe: SFTRecipe, config: PreTrainedConfig) -> str:
    """How many parameters there are and how many are trained, in words."""
    with torch.device("meta"):
        model = skeleton(recipe, config)
    trained = numel(each for each in model.parameters() if each.requires_grad)
    return f"{trained / 1e6:,.2f} of {numel(model.parameters()) / 1e6:,.2f} M parameters, with {recipe.optimizer}"


def described(work: Work, arguments: SFTConfig, longest: int | None) -> str:
    """The settings that the figures are for, in words."""
    known = "rows of" if arguments.packing else "the longest" if longest else "at most"
    return ", ".join(
        [
            f"{work.rows} x {work.length:,} tokens at a time ({known} {work.length:,})",
            "packed" if arguments.packing else "padded",
            work.attention,
            "bf16" if arguments.bf16 else "float32",
            f"gradient checkpointing {'on' if work.checkpointing else 'off'}",
        ]
    )


def table(rows: Sequence[tuple[str, Memory]]) -> list[str]:
    """One line for each way to train, in GiB, or MiB where all is small."""
    names = [field.name for field in fields(Memory)] + ["total"]
    large = max(memory.total for _, memory in rows) >= GIB
    unit, digits = (GIB, 2) if large else (GIB / 1024, 1)
    lines = [f"{'GiB' if large else 'MiB':<16}" + "".join(f"{name:>13}" for name in names)]
    for way, memory in rows:
        lines.append(f"{way:<16}" + "".join(f"{getattr(memory, name) / unit:13.{digits}f}" for name in names))
    return lines
