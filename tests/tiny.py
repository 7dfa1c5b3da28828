"""A checkpoint small enough to make in a second: pocket-base's tokenizer on a little text, and a random Llama."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

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
