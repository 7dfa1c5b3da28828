"""Pretraining of pocket-base on Pocket text: what `train/pretrain.py` calls.

Documents are dialogues in the chat template; the loss is on the assistant's tokens. Batches are of documents of like
length, so that there is hardly any padding and no document sees another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from prefdisco.config import PretrainRecipe, check_trainer
from prefdisco.engine.teaching import IGNORED
from prefdisco.files import atomic_write, claim, lock, writing
from prefdisco.hashing import digest
from prefdisco.pocket.corpus import Document, documents
from prefdisco.protocol import join_thinking
from prefdisco.training import saves
from prefdisco.training.base_card import base_card
from prefdisco.training.optimizer import MuonAdamW
from prefdisco.training.tokenizer import END, START, train_tokenizer

OFF = "<think></think>"  # what the template writes when thinking is off


def segments(document: Document) -> Iterator[tuple[str, bool]]:
    """The text of a document in the chat template, cut where the author changes: (text, whether it is the agent's)."""
    for message in document.messages:
        if message.role != "assistant":
            yield f"{START}{message.role}\n{message.content}{END}\n", False
            continue
        yield f"{START}assistant\n{'' if document.thinking else OFF}", False
        yield join_thinking(message.thinking, message.content) + END, True
        yield "\n", False


def encode(batch: Sequence[Document], tokenizer: PreTrainedTokenizerFast) -> Iterator[dict[str, Any]]:
    """`input_ids`, `labels` and `length` of every document."""
    pieces = [list(segments(document)) for document in batch]
    flat = [text for document in pieces for text, _ in document]
    encoded = iter(tokenizer(flat, add_special_tokens=False)["input_ids"])
    for document in pieces:
        ids: list[int] = []
        labels: list[int] = []
        for _, own in document:
            piece = next(encoded)
            ids += piece
            labels += piece if own else [IGNORED] * len(piece)
        yield {"input_ids": ids, "labels": labels, "length": len(ids)}


def corpus(recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """The whole corpus, tokenized; kept in the datasets cache under a hash of what made it."""

    def rows() -> Iterator[dict[str, Any]]:
        source = documents(recipe.corpus.documents, recipe.corpus.seed + 1, recipe.corpus.mix or None)
        while batch := list(islice(source, 1000)):
            yield from encode(batch, tokenizer)

    made_of = digest(recipe.corpus.model_dump_json(), tokenizer.get_vocab(), tokenizer.chat_template)
    data = Dataset.from_generator(rows, cache_dir=str(Path(recipe.run) / "corpus"), fingerprint=made_of)
    assert isinstance(data, Dataset)
    return data


def pretrain(recipe: PretrainRecipe) -> Path:
    """Train the base model and save it under `<run>/checkpoint`; returns that folder. Continues from its last save.

    Raises ConfigError for a value that transformers refuses, RunError for a folder that cannot be written or is in use.
    """
    check_trainer(recipe.trainer, TrainingArguments, recipe.where)
    check_trainer(recipe.model, LlamaConfig, recipe.where, "model")
    folder = Path(recipe.run)
    with lock(folder):
        claim(folder, recipe.to_yaml(), recipe.model_dump(mode="json", exclude={"run"}))
        with writing(folder):
            return _train(recipe, folder)


def _train(recipe: PretrainRecipe, folder: Path) -> Path:
    arguments = {
        "use_cpu": not torch.cuda.is_available(),
        "output_dir": str(folder / "trainer"),
        "seed": recipe.seed,
        **recipe.trainer,
    }
    set_seed(recipe.seed)
    sample = documents(20_000, recipe.corpus.seed, recipe.corpus.mix or None)
    length = int(recipe.model.get("max_position_embeddings", 1024))
    tokenizer = train_tokenizer(
        (text for document in sample for text, _ in segments(document)), recipe.tokenizer.vocab_size, length
    )
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **special, **recipe.model))
    # few different lengths: kernels for a shape are compiled once
    collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED, pad_to_multiple_of=32)
    tokenizer.padding_side = "right"
    data = corpus(recipe, tokenizer)
    settings = TrainingArguments(**arguments)
    optimizer = MuonAdamW.from_arguments(model, settings)
    trainer = Trainer(model, settings, collator, data, processing_class=tokenizer, optimizers=(optimizer, None))
    saves.train(trainer)
    tokenizer.padding_side = "left"
    checkpoint = folder / "checkpoint"
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    seen = sum(data["length"])
    atomic_write(checkpoint / "README.md", base_card(recipe, model.num_parameters(), seen))
    return checkpoint
