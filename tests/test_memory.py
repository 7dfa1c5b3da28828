"""The memory that --dry-run computes from a configuration, against tensors that are counted."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, Qwen3Config
from trl import SFTConfig

from prefdisco.config import SFTRecipe
from prefdisco.llm.base import ModelError
from prefdisco.training import sft
from prefdisco.training.activations import Work, activations, copied, measure
from prefdisco.training.memory import configuration, estimate, held, parameters, report, skeleton
from prefdisco.training.optimizer import MuonAdamW

SHAPE: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
}
LORA = {"r": 4, "target_modules": "all-linear"}
# config.json of four models, and the parameters that their makers count
QWEN = {"model_type": "qwen3", "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
LLAMA = {"model_type": "llama", "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256}
WIDTHS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings")
PUBLISHED: list[tuple[dict[str, Any], tuple[Any, ...], str]] = [
    (QWEN, (1024, 3072, 28, 16, True), "596.05"),
    (QWEN, (2560, 9728, 36, 32, True), "4,022.47"),
    (LLAMA, (3072, 8192, 28, 24, True), "3,212.75"),
    (LLAMA, (4096, 14336, 32, 32, False), "8,030.26"),
]


def recipe(**settings: Any) -> SFTRecipe:
    return SFTRecipe.model_validate({"name": "x", **settings})


def optimized(name: str, model: torch.nn.Module) -> torch.optim.Optimizer:
    if name == "muon":
        return MuonAdamW(model, lr=1e-3, weight_decay=0.0, betas=(0.9, 0.99))
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3)


@pytest.mark.parametrize("config", [LlamaConfig(**SHAPE), Qwen3Config(**SHAPE, tie_word_embeddings=True)])
@pytest.mark.parametrize("settings", [{}, {"optimizer": "muon"}, {"peft": LORA}, {"peft": LORA, "dtype": "bfloat16"}])
def test_weights_gradients_and_optimizer_states_are_counted_to_the_byte(
    config: PreTrainedConfig, settings: dict[str, Any]
) -> None:
    wanted = recipe(**settings)
    model: Any = skeleton(wanted, config)
    optimizer = optimized(wanted.optimizer, model)
    model(input_ids=torch.ones(1, 4, dtype=torch.long), labels=torch.ones(1, 4, dtype=torch.long)).loss.backward()
    optimizer.step()
    states = [each for state in optimizer.state.values() for each in state.values() if isinstance(each, torch.Tensor)]
    found = (
        sum(each.nbytes for each in model.parameters()),
        sum(each.grad.nbytes for each in model.parameters() if each.grad is not None),
        sum(each.nbytes for each in states),
    )
    assert held(model, "ddp", 1, wanted.optimizer, half=True) == found


@pytest.mark.parametrize("config", [LlamaConfig(**SHAPE), Qwen3Config(**SHAPE)])
@pytest.mark.parametrize(
    ("work", "settings"),
    [
        (Work(2, 128), {}),
        (Work(2, 128, compute="autocast"), {}),
        (Work(2, 128, compute="bfloat16"), {}),
        (Work(2, 128, flat=True), {}),
        (Work(2, 128, compute="autocast"), {"peft": LORA, "dtype": "bfloat16"}),
    ],
)
def test_activations_are_those_that_autograd_saves_to_the_byte(
    config: PreTrainedConfig, work: Work, settings: dict[str, Any]
) -> None:
    wanted = recipe(**settings)
    kept, recomputed = activations(config, work, partial(skeleton, wanted))
    assert recomputed == 0
    model = skeleton(wanted, config, work.compute == "bfloat16").train()
    ids, padding = torch.randint(0, 512, (2, 128)), torch.tensor([[1] * 128, [1] * 100 + [0] * 28])
    padded = {"input_ids": ids, "attention_mask": padding}
    packed = {"input_ids": ids.view(1, 256), "position_ids": torch.arange(256)[None] % 64}
    found, _ = measure(model, packed if work.flat else padded, work.compute == "autocast")
    # transformers makes the mask of (rows, 1, length, length) itself; `measure` counts the one that it is given
    found += 256 * 256 if work.flat else 2 * 128 * 128 - padding.nbytes
    assert kept == found


@pytest.mark.parametrize("config", [LlamaConfig(**SHAPE), Qwen3Config(**SHAPE)])
@pytest.mark.parametrize(("checkpointing", "tolerance"), [(False, 0.01), (True, 0.06)])
@pytest.mark.parametrize("compute", ["as loaded", "autocast"])
def test_the_total_is_the_peak_of_a_training_step(
    config: PreTrainedConfig, checkpointing: bool, tolerance: float, compute: Any
) -> None:
    model = AutoModelForCausalLM.from_config(config).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = optimized("adamw", model)
    ids = torch.randint(0, 512, (4, 256))
    mask = torch.ones(4, 256, dtype=torch.long)
    mask[-1, -3:] = 0

    def micro_batch() -> None:
        with torch.autocast("cpu", torch.bfloat16) if compute == "autocast" else nullcontext():
            loss = model(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
        loss.backward()

    micro_batch()
    optimizer.step()  # the gradients stay, as when they are accumulated
    tracker = MemTracker()
    tracker.track_external(model, optimizer)
    with tracker:
        micro_batch()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    work = Work(4, 256, compute=compute, checkpointing=checkpointing)
    assert estimate(recipe(), config, work, "ddp", 1, fused=False).total == pytest.approx(peak, rel=tolerance)


def test_what_is_in_shards_is_divided_and_the_rest_is_not() -> None:
    config, work = LlamaConfig(**SHAPE), Work(4, 256, compute="autocast")
    one, eight = (estimate(recipe(), config, work, "fsdp2", count) for count in (1, 8))
    assert one.weights == 8 * eight.weights and one.gradients == 8 * eight.gradients
    assert one.activations == eight.activations and one.logits == eight.logits
    ddp = estimate(recipe(), config, work, "ddp", 8)
    assert ddp.weights == one.weights
    assert ddp.buffers == ddp.gradients + copied(skeleton(recipe(), config))
    zero2, zero3 = (estimate(recipe(), config, work, kind, 8) for kind in ("zero2", "zero3"))  # type: ignore[arg-type]
    assert zero2.optimizer == zero3.optimizer and zero2.weights == 8 * zero3.weights
    assert ddp.activations > zero2.activations  # the residual stream in bfloat16, not float32


def test_packed_rows_need_a_mask_of_their_square_with_sdpa_and_none_with_flex() -> None:
    config, work = LlamaConfig(**SHAPE), Work(4, 256, flat=True)
    sdpa, flex = (
        estimate(recipe(), config, replace(work, attention=name), "ddp", 1).activations
        for name in ("sdpa", "flex_attention")
    )
    layers, tokens = 4, 4 * 256
    assert sdpa - flex > 4 * layers * tokens**2  # an additive mask in float32 for each layer


@pytest.mark.parametrize(("base", "widths", "millions"), PUBLISHED)
def test_parameters_are_counted_from_a_folder_with_config_json_alone(
    tmp_path: Path, base: dict[str, Any], widths: tuple[Any, ...], millions: str
) -> None:
    content = {**base, **dict(zip(WIDTHS, widths, strict=True)), "max_position_embeddings": 4096}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert parameters(recipe(), configuration(str(tmp_path))) == f"{millions} of {millions} M parameters, with adamw"


def test_a_dry_run_needs_no_weights(tmp_path: Path) -> None:
    model = tmp_path / "shape"
    AutoConfig.for_model("llama", **SHAPE).save_pretrained(model)
    text = sft.describe(
        recipe(model=str(model), run=str(tmp_path / "run"), trainer={"packing": True, "max_length": 256})
    )
    assert "to be named by the model's weights, which cannot be loaded here" in text
    assert "8 x 256 tokens at a time (rows of 256), packed, sdpa, bf16, gradient checkpointing on" in text
    rows = [line.split("  ")[0] for line in text.splitlines()[-7:]]
    assert rows[1:] == [
        "here: 1 x CPU",
        "1 x GPU",
        *(f"8 x GPU, {kind}" for kind in ("ddp", "fsdp2", "zero2", "zero3")),
    ]
    assert not (tmp_path / "run").exists()
    muon = report(recipe(model=str(model), optimizer="muon"), SFTConfig(str(tmp_path / "run"), use_cpu=True))
    assert "8 x GPU, fsdp2" in muon and "zero" not in muon


def test_more_memory_is_named_for_longer_rows(tmp_path: Path) -> None:
    AutoConfig.for_model("llama", **SHAPE).save_pretrained(tmp_path)
    arguments = SFTConfig(str(tmp_path), use_cpu=True, max_length=None)
    short, long = (report(recipe(model=str(tmp_path)), arguments, length) for length in (64, 128))
    assert "(the longest 64)" in short and "(the longest 128)" in long

    def total(text: str) -> float:
        return float(text.splitlines()[-1].split()[-1])

    assert total(short) < total(long)


def test_a_configuration_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^model nobody/nothing: no such folder, and not in the hub's .*`hf download"):
        configuration("nobody/nothing")
    with pytest.raises(ModelError, match="no such folder"):
        configuration("nothing")
