"""A checkpoint small enough to make in a second: pocket-base's tokenizer on a little text, and a random Llama."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prefdisco.pocket.corpus import documents
from prefdisco.training.pretrain import segments
from prefdisco.training.tokenizer import train_tokenizer

CONTEXT = 512


def tiny_tokenizer(vocabulary: int = 512) -> PreTrainedTokenizerFast:
    """A tokenizer of pocket-base's kind."""
    texts = (text for document in documents(200, 0) for text, _ in segments(document))
    return train_tokenizer(texts, vocabulary, CONTEXT)


def tiny_llama(tokenizer: PreTrainedTokenizerFast) -> Any:
    """A random Llama of 40,000 parameters; the same one every time."""
    torch.manual_seed(0)
    special: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    size: dict[str, Any] = {"vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}
    return LlamaForCausalLM(LlamaConfig(**size, **shape, **special)).eval()


def tiny_checkpoint(folder: Path) -> Path:
    """Both, saved to `folder`."""
    tokenizer = tiny_tokenizer()
    tiny_llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# family -> its chat template, as TRL ships it, its end of a turn, and the other special tokens
REAL = {
    "qwen3": ("qwen3", "<|im_end|>", ["<|im_start|>"]),
    "llama": ("llama3", "<|eot_id|>", ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"]),
}
STATE = 4.0  # of one hidden number that is the same everywhere; the output matrix reads how likely a token is from it


def chat_checkpoint(folder: Path, family: str, likely: str, context: int = 4096) -> Path:
    """A random Qwen3 or Llama with its own chat template, saved to `folder`.

    Whatever it reads, it mostly writes one of the characters in `likely`, then ends: without that, no random model ever
    gets a problem right.
    """
    name, end, others = REAL[family]
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"eos_token": end, "bos_token": others[0], "additional_special_tokens": [*others]})
    tokenizer.chat_template = files("trl").joinpath(f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    tokenizer.model_max_length = context
    shape: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": context, "tie_word_embeddings": False,
        "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }  # fmt: skip
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape))
    logits = torch.full((len(tokenizer),), -8.0)
    logits[[*(tokenizer.convert_tokens_to_ids(sign) for sign in likely), tokenizer.eos_token_id]] = 0.0
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = STATE
        model.lm_head.weight[:, 0] = logits / shape["hidden_size"] ** 0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
