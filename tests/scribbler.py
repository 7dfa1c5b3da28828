"""A checkpoint that writes random words whatever it reads: what a schema allows, it fills, and strings end soon.

The hidden state is the same everywhere, so the output matrix alone says how likely each token is. It exists to drive
constrained decoding in a real server with the long prompts that a small trained model cannot read.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from prefdisco.llm.local import POCKET_BASE, load

CONTEXT = 16_384
WIDTH = 64
WORDS = 12  # each as likely as the end of a string, at every temperature
LIKELY, SIGN, RARE = 0.0, -10.0, -30.0  # logits; where a sign of JSON has to stand, nothing else may


def make_scribbler(folder: Path) -> Path:
    """Write the checkpoint into `folder`, with the tokenizer of pocket-base, and return the folder."""
    _, tokenizer = load(POCKET_BASE)
    tokenizer.model_max_length = CONTEXT
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    texts = [tokenizer.decode([i]) for i in range(len(tokenizer))]
    words = [i for i, text in enumerate(texts) if re.fullmatch(r" [a-z]{4,}", text)][:WORDS]
    logits = torch.full((len(tokenizer),), RARE)
    logits[[i for i, text in enumerate(texts) if re.fullmatch(r"[{}\[\]:,]|\d", text)]] = SIGN
    logits[[*words, tokenizer.convert_tokens_to_ids('"'), tokenizer.eos_token_id]] = LIKELY
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name or "embed" in name else 0.0)
        model.lm_head.weight.copy_((logits / WIDTH)[:, None].expand(-1, WIDTH))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
