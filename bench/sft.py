"""Training tokens a second, on a CPU or one GPU: the trainer of a recipe against TRL's defaults.

    python bench/sft.py [--quick] [--recipe selfdistill] [--threads N]

All train a random Llama of pocket-base's shape (1.2M parameters) on the same Pocket dialogues for one epoch, in turns.
Tokens are real ones: padding is not counted. Seconds are those of the training loop, without loading and preparation.
Medians over the repetitions.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from prefdisco.config import SFTRecipe, load
from prefdisco.pocket.corpus import documents
from prefdisco.training.pretrain import encode, segments
from prefdisco.training.sft import TRAINER, padded
from prefdisco.training.tokenizer import train_tokenizer

KINDS = {"discovery": 0.65, "plain": 0.2, "oracle": 0.15}  # about what the data engine mixes
QUIET: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
CONTEXT = 1024


class Stopwatch(TrainerCallback):
    """Seconds from the first step to the last."""

    def __init__(self) -> None:
        self.started, self.seconds = 0.0, 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.started = time.perf_counter()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.started


def random_llama(tokenizer: PreTrainedTokenizerFast) -> Any:
    """A Llama of pocket-base's shape, untrained; the same one every time."""
    set_seed(0)
    shape = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512, "num_attention_heads": 4}
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**size, **shape, **special))  # type: ignore[arg-type]


def dialogues(count: int) -> tuple[PreTrainedTokenizerFast, list[dict[str, list[int]]]]:
    """A tokenizer, and `count` training examples: `input_ids`, and `labels` on the agent's own tokens."""
    texts = (text for document in documents(2000, 0) for text, _ in segments(document))
    tokenizer = train_tokenizer(texts, 1024, CONTEXT)
    tokenizer.padding_side = "right"
    rows = encode(list(documents(count, 1, KINDS)), tokenizer)
    return tokenizer, [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]


def seconds(
    kind: type[SFTTrainer],
    settings: dict[str, Any],
    collator: Any,
    examples: list[dict[str, list[int]]],
    tokenizer: PreTrainedTokenizerFast,
    folder: str,
) -> float:
    """Seconds of one epoch of trainer `kind` under `settings`, the fields of SFTConfig; no collator is TRL's own."""
    arguments = {"use_cpu": not torch.cuda.is_available(), **settings, **QUIET, "num_train_epochs": 1}
    watch = Stopwatch()
    trainer = kind(
        model=random_llama(tokenizer),
        args=SFTConfig(output_dir=folder, **arguments),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        data_collator=collator,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return watch.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer dialogues, one repetition")
    parser.add_argument("--recipe", default="selfdistill", help="whose trainer settings; a name or a path")
    parser.add_argument("--threads", type=int, help="threads of torch; as many as there are cores without")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    be_quiet()
    trainer = load(SFTRecipe, [f"recipe={options.recipe}"]).trainer
    tokenizer, examples = dialogues(128 if options.quick else 384)
    tokens = sum(len(example["input_ids"]) for example in examples)
    collator = None if trainer.get("packing") else padded(tokenizer)
    own = {"max_length": None, **trainer}  # as prefdisco.training.sft passes them
    ways: dict[str, tuple[type[SFTTrainer], dict[str, Any], Any]] = {
        "TRL's defaults": (SFTTrainer, {}, None),
        f"{options.recipe}, TRL's head": (SFTTrainer, own, collator),
        options.recipe: (TRAINER, own, collator),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for way in ways.values():
            seconds(*way, examples[:64], tokenizer, folder)  # warm up
        for _ in range(1 if options.quick else 3):  # in turns, so that a busy moment hits all
            for name, way in ways.items():
                found[name].append(tokens / seconds(*way, examples, tokenizer, folder))
    rates = {name: statistics.median(values) for name, values in found.items()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{len(examples)} dialogues of {tokens / len(examples):.0f} tokens, {device}, {torch.get_num_threads()} threads"
    )
    print(f"{'':24}{'tokens/s':>10}{'ratio':>8}")
    for name, value in rates.items():
        print(f"{name:24}{value:10.0f}{value / next(iter(rates.values())):8.1f}")


def be_quiet() -> None:
    """Leave the table alone on the screen."""
    disable_progress_bars()
    warnings.filterwarnings("ignore")
    for library in ("transformers", "trl", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
