"""What a forward pass keeps for the backward pass, counted on the model's own code with fake tensors: no memory, no
weights, and no formula that could be about another version of the model.

Two models are built with the widths of the real one, of two and of three layers. What autograd saves in one forward
pass of each is counted (`saved_tensors_hooks`, each storage once, without the weights themselves). The difference is a
layer; the rest is embedding, positions and mask.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig

Compute = Literal["as loaded", "autocast", "bfloat16"]
CAUSAL = "prefdisco_causal"


@dataclass(frozen=True)
class Work:
    """What one process computes at a time: `rows` x `length` tokens, in one row where they are `flat` (packed).

    `compute`: with the weights as they are loaded; those cast to bfloat16 as they are used (autocast, DDP); or a model
    that is in bfloat16 for the pass (FSDP2, ZeRO).
    """

    rows: int
    length: int
    flat: bool = False
    attention: str = "sdpa"
    compute: Compute = "as loaded"
    checkpointing: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch, padding included."""
        return self.rows * self.length


Build = Callable[[PreTrainedConfig, bool], nn.Module]  # of this configuration; whether all of it is in bfloat16


def activations(config: PreTrainedConfig, work: Work, build: Build) -> tuple[int, int]:
    """Bytes (kept from the forward to the backward pass, of a layer that is computed again then).

    Without the output layer and copies of weights. With checkpointing, the inputs of the layers are kept, and the
    second number is that of one layer; else it is 0.
    """
    layers: int = config.get_text_config().num_hidden_layers
    (two, hidden), (three, _) = (saved(shortened(config, count), work, build) for count in (2, 3))
    layer = three - two
    rest = two - 2 * layer
    return (rest + layers * hidden, layer) if work.checkpointing else (rest + layers * layer, 0)


def shortened(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """The same widths with fewer layers."""
    short = copy.deepcopy(config.get_text_config())
    short.num_hidden_layers = layers
    if getattr(short, "layer_types", None):
        short.layer_types = short.layer_types[:layers]
    return short


def saved(config: PreTrainedConfig, work: Work, build: Build) -> tuple[int, int]:
    """(bytes that one forward pass of the body saves, bytes of what a layer hands to the next)."""
    AttentionInterface.register(CAUSAL, causal_attention)
    config._attn_implementation = "sdpa" if work.attention == "sdpa" else CAUSAL
    with torch.device("meta"):
        model = build(config, work.compute == "bfloat16").train()
    with FakeTensorMode():
        return measure(faked(model), batch(work), work.compute == "autocast")


def faked(model: nn.Module) -> nn.Module:
    """The model with fake tensors for those of the meta device, on which autocast and attention do nothing."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None and id(tensor) not in made:
                    fake: Any = torch.empty(tensor.shape, dtype=tensor.dtype)
                    made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if held is module._parameters else fake
                held[name] = made.get(id(tensor))
    return model


def batch(work: Work) -> dict[str, torch.Tensor]:
    """A micro-batch of the shapes of `work`, with the mask that sdpa gets where there is padding or packing."""
    rows, length = (1, work.tokens) if work.flat else (work.rows, work.length)
    ids = torch.zeros(rows, length, dtype=torch.long)
    if work.attention != "sdpa":
        return {"input_ids": ids}
    return {"input_ids": ids, "attention_mask": torch.ones(rows, 1, length, length, dtype=torch.bool)}


def measure(model: Any, inputs: dict[str, torch.Tensor], autocast: bool) -> tuple[int, int]:
    """(bytes that the body's forward pass saves, bytes of what a layer hands to the next), of a model real or fake."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}
    hidden: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage  # held, so that no other takes its place
        return tensor

    def see(_: nn.Module, arguments: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden.append((arguments[0] if arguments else kwargs["hidden_states"]).nbytes)

    causal = body(model)
    hook = causal.base_model.layers[-1].register_forward_pre_hook(see, with_kwargs=True)
    half = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), half:
        causal.base_model(**inputs, use_cache=False)
    hook.remove()
    copies = copied(causal.base_model.layers) if autocast else 0
    mask = inputs["attention_mask"].nbytes if "attention_mask" in inputs else 0
    return sum(storage.nbytes() for storage in storages.values()) - copies + mask, hidden[-1]


def body(model: nn.Module) -> Any:
    """The causal LM itself, its adapters in it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def copied(modules: nn.Module) -> int:
    """Bytes of the bfloat16 copies of weights that autocast makes once a pass and keeps."""
    linear = (module.weight for module in modules.modules() if isinstance(module, nn.Linear))
    return sum(2 * weight.numel() for weight in linear if weight.requires_grad and weight.dtype == torch.float32)


def causal_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention without a mask in memory, as flex and flash attention: they keep query, key, value and output."""
    out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None
