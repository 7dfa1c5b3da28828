"""The tokenizer of pocket-base: byte-level BPE; whole words, single digits, the wire format's lines in one piece."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from prefdisco.protocol import THINK_CLOSE, THINK_OPEN

END, START, PAD = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
THINK = (THINK_OPEN, THINK_CLOSE)  # whole tokens, but text: servers leave special tokens out of what they return
# what BPE may join: a line of the wire format, a word, one digit or a run of signs (each with the space before it)
PIECES = r"###ACTION###: '[a-z_]+'\n###RESPONSE###:| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s"
TEMPLATE = Path(__file__).parent.parent / "llm" / "chatml.jinja"


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` tokens, special ones included, trained on `texts`; any text round-trips."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END, *THINK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(tokenizer.to_str())
    for token in trained["added_tokens"]:
        token["special"] = token["content"] not in THINK
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(trained)),
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=[START],
    )
