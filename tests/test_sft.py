"""The trainer of the SFT recipes against TRL's own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tiny import tiny_llama, tiny_tokenizer
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from prefdisco.pocket.corpus import documents
from prefdisco.training.anchor import Anchor
from prefdisco.training.pretrain import encode
from prefdisco.training.sft import padded
from prefdisco.training.trainer import CPUTrainer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


def trained(
    kind: type[SFTTrainer], tokenizer: PreTrainedTokenizerFast, folder: Path, anchor: float = 0.0, **settings: Any
) -> SFTTrainer:
    """A trainer after six micro-batches, three steps, on dialogues of very different length."""
    rows = encode(list(documents(24, 1)), tokenizer)
    data = [{name: row[name] for name in ("input_ids", "labels")} for row in rows]
    arguments = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "logging_steps": 1, **settings}
    model = tiny_llama(tokenizer)
    trainer = kind(
        model=model,
        args=SFTConfig(
            str(folder), use_cpu=True, max_length=None, report_to="none", num_train_epochs=1, bf16=False, **arguments
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        data_collator=padded(tokenizer),
        callbacks=[Anchor(model, anchor)] if anchor else None,
    )
    trainer.train()
    return trainer


def losses(kind: type[SFTTrainer], tokenizer: PreTrainedTokenizerFast, folder: Path) -> list[float]:
    """The losses of three steps."""
    history = trained(kind, tokenizer, folder).state.log_history
    return [entry["loss"] for entry in history if "loss" in entry]


def test_the_loss_without_the_fused_head_is_the_same(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    ours, theirs = (losses(kind, tokenizer, tmp_path) for kind in (CPUTrainer, SFTTrainer))
    assert len(ours) == 3
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_a_tokenizer_without_a_padding_token_pads_with_its_end_and_without_loss(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    rows = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    batch = padded(bare)(rows)
    assert batch["input_ids"].shape == (2, 32)
    assert set(batch["input_ids"][1, 1:].tolist()) == {bare.eos_token_id}
    assert set(batch["labels"][1, 1:].tolist()) == {-100} and batch["attention_mask"].sum() == 4


def moved(trainer: SFTTrainer, tokenizer: PreTrainedTokenizerFast) -> float:
    """How far the weights are from where they started."""
    now, start = dict(trainer.model.named_parameters()), dict(tiny_llama(tokenizer).named_parameters())
    return sum(float((now[name] - start[name]).detach().square().sum()) for name in start) ** 0.5


def test_an_anchor_holds_the_weights_to_where_they_started(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    rate = {"learning_rate": 1e-2, "lr_scheduler_type": "constant"}
    free, loose, tight = (
        moved(trained(CPUTrainer, tokenizer, tmp_path, anchor, **rate), tokenizer) for anchor in (0.0, 30.0, 100.0)
    )
    assert free > 0.1 and 0.5 * free < loose < 0.95 * free
    assert tight < 1e-6  # learning rate times strength is one: every step is taken back
