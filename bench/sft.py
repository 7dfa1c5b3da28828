"""Training tokens a second, on a CPU or one GPU: the trainer of a recipe against TRL's defaults, padded and packed.

    python bench/sft.py [--quick] [--recipe selfdistill] [--threads N]
    python bench/sft.py --model-shape qwen3-0.6b --dialogues 3000        # random weights; for a GPU

All train the same random model on the same Pocket dialogues for one epoch, in turns. Tokens are real ones: padding is
not counted. Seconds are those of the training loop, without loading and preparation. Medians over the repetitions.

MFU is the share of the device's peak that the model's own arithmetic makes: for a token, 6 FLOPs a weight that it is
multiplied with, and 6 x layers x width of the queries x tokens before it in its dialogue (PaLM, arXiv 2204.02311,
appendix B, with the causal half). Recomputation by gradient checkpointing does not count.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from prefdisco.config import SFTRecipe, load
from prefdisco.pocket.corpus import documents
from prefdisco.training.pretrain import encode, segments
from prefdisco.training.sft import padded
from prefdisco.training.tokenizer import train_tokenizer
from prefdisco.training.trainer import TRAINER

KINDS = {"discovery": 0.65, "plain": 0.2, "oracle": 0.15}  # about what the data engine mixes
QUIET: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
CONTEXT = 1024
SHAPES: dict[str, dict[str, Any]] = {
    "pocket-base": {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "head_dim": 32,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    },
}
ROWS = {"pocket-base": (4, 1024), "qwen3-0.6b": (4, 4096)}  # of a packed batch: how many, of how many tokens
PEAK = {"A100": 312.0, "H100": 989.0, "H200": 989.0, "B200": 2250.0}  # TFLOP/s in bf16 without sparsity, data sheets


@dataclass(frozen=True)
class Way:
    """A way to train: which trainer, the fields of SFTConfig, which collator (None: TRL's own), which attention."""

    trainer: type[SFTTrainer]
    settings: dict[str, Any]
    collator: Any = None
    attention: str = "sdpa"


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


def random_model(shape: str, tokenizer: PreTrainedTokenizerFast, attention: str = "sdpa") -> Any:
    """An untrained model of that shape; the same one every time."""
    set_seed(0)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": ROWS[shape][1], "tie_word_embeddings": True}
    config = AutoConfig.for_model(**{**size, **SHAPES[shape], **special})
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def flops(shape: str, tokenizer: PreTrainedTokenizerFast, lengths: list[int]) -> float:
    """FLOPs for a token of dialogues of these lengths, forward and backward."""
    with torch.device("meta"):
        model = random_model(shape, tokenizer)
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))  # the head too
    config = model.config
    width = config.num_hidden_layers * config.num_attention_heads * config.head_dim
    return 6 * weights + 6 * width * sum(length**2 for length in lengths) / sum(lengths)


def peak(given: float | None) -> float | None:
    """The device's FLOP/s, given in TFLOP/s or by its name; None where neither is known."""
    if given is None and torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        given = next((value for known, value in PEAK.items() if known in name), None)
    return given * 1e12 if given else None


def dialogues(count: int) -> tuple[PreTrainedTokenizerFast, list[dict[str, list[int]]]]:
    """A tokenizer, and `count` training examples: `input_ids`, and `labels` on the agent's own tokens."""
    texts = (text for document in documents(2000, 0) for text, _ in segments(document))
    tokenizer = train_tokenizer(texts, 1024, CONTEXT)
    tokenizer.padding_side = "right"
    rows = encode(list(documents(count, 1, KINDS)), tokenizer)
    return tokenizer, [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]


def seconds(
    way: Way, shape: str, examples: list[dict[str, list[int]]], tokenizer: PreTrainedTokenizerFast, folder: str
) -> float:
    """Seconds of one epoch."""
    arguments = {"use_cpu": not torch.cuda.is_available(), **way.settings, **QUIET, "num_train_epochs": 1}
    watch = Stopwatch()
    trainer = way.trainer(
        model=random_model(shape, tokenizer, way.attention),
        args=SFTConfig(output_dir=folder, **arguments),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        data_collator=way.collator,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return watch.seconds


def ways_of(recipe: str, shape: str, tokenizer: PreTrainedTokenizerFast) -> dict[str, Way]:
    """What is compared: TRL's defaults first; the recipe with TRL's output layer, with ours, and packed."""
    trainer = load(SFTRecipe, [f"recipe={recipe}"]).trainer
    collator = None if trainer.get("packing") else padded(tokenizer)
    own = {"max_length": None, **trainer}  # as prefdisco.training.sft passes them
    rows, length = ROWS[shape]
    packed = {
        **own,
        "packing": True,
        "max_length": length,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "train_sampling_strategy": "random",
    }
    ways = {
        "TRL's defaults": Way(SFTTrainer, {}),
        f"{recipe}, TRL's trainer": Way(SFTTrainer, own, collator),
        recipe: Way(TRAINER, own, collator),
        f"{recipe}, packed": Way(TRAINER, packed),
    }
    if torch.cuda.is_available():
        ways[f"{recipe}, packed, flex"] = Way(TRAINER, packed, attention="flex_attention")
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer dialogues, one repetition")
    parser.add_argument("--recipe", default="selfdistill", help="whose trainer settings; a name or a path")
    parser.add_argument("--model-shape", default="pocket-base", choices=SHAPES, help="of the model, which is random")
    parser.add_argument("--dialogues", type=int, help="to train on; 384 without, 128 with --quick")
    parser.add_argument("--threads", type=int, help="threads of torch; as many as there are cores without")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device, for MFU; known for some GPUs")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    be_quiet()
    shape = options.model_shape
    tokenizer, examples = dialogues(options.dialogues or (128 if options.quick else 384))
    lengths = [len(example["input_ids"]) for example in examples]
    ways = ways_of(options.recipe, shape, tokenizer)
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for way in ways.values():
            seconds(way, shape, examples[:64], tokenizer, folder)  # warm up; compiles
        for _ in range(1 if options.quick else 3):  # in turns, so that a busy moment hits all
            for name, way in ways.items():
                found[name].append(sum(lengths) / seconds(way, shape, examples, tokenizer, folder))
    show(found, flops(shape, tokenizer, lengths), peak(options.peak))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{shape}, {len(lengths)} dialogues of {sum(lengths) / len(lengths):.0f} tokens, {device}")


def show(found: dict[str, list[float]], work: float, limit: float | None) -> None:
    """The table: medians, against the first way, and the share of the device's peak where that is known."""
    rates = {name: statistics.median(values) for name, values in found.items()}
    first = next(iter(rates.values()))
    print(f"{'':28}{'tokens/s':>10}{'ratio':>8}{'MFU %' if limit else '':>8}")
    for name, value in rates.items():
        share = f"{100 * value * work / limit:.1f}" if limit else ""
        print(f"{name:28}{value:10.0f}{value / first:8.1f}{share:>8}")


def be_quiet() -> None:
    """Leave the table alone on the screen."""
    disable_progress_bars()
    warnings.filterwarnings("ignore")
    for library in ("transformers", "trl", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
