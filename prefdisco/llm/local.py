"""A causal language model on this machine, as an agent: many dialogues at once, one batch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from prefdisco.hashing import digest
from prefdisco.llm.base import ModelError
from prefdisco.llm.batcher import Batcher
from prefdisco.llm.chat import Chat
from prefdisco.llm.decoding import Decoder
from prefdisco.llm.tokens import TokenModel
from prefdisco.schema import to_json

POCKET_BASE = "pocket-base"


class LocalModel(TokenModel):
    """Any transformers causal LM with full attention (Llama, Qwen, ...), decoding with continuous batching.

    Args:
        path_or_model: a checkpoint folder, `pocket-base`, a hub id (needs `online=True` unless cached), or a loaded
            model, which stays where it is and as it is.
        tokenizer: needed with a loaded model only.
        batch_size: dialogues decoded at the same time.
        device: "auto" is a GPU where there is one.
        dtype: float32 unless given; the same seed then gives the same text whatever the batch, up to rounding.

    Raises ModelError, one line, for anything that cannot be used.
    """

    def __init__(
        self,
        path_or_model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 64,
        device: str = "auto",
        dtype: str | torch.dtype | None = None,
        online: bool = False,
    ) -> None:
        if isinstance(path_or_model, (str, Path)):
            self.name = str(path_or_model)
            model, tokenizer = load(self.name, tokenizer, device, dtype, online)
        else:
            model, self.name = (
                path_or_model,
                str(getattr(path_or_model, "name_or_path", "") or type(path_or_model).__name__),
            )
        if tokenizer is None:
            raise ModelError(f"model {self.name}: a loaded model comes without a tokenizer; pass tokenizer=")
        if batch_size < 1:
            raise ModelError(f"model {self.name}: batch_size is {batch_size}, expected at least 1")
        check(model, tokenizer, self.name)
        chat = Chat(tokenizer, self.name, ends_of(model))
        limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.model, self.tokenizer = model, tokenizer
        self.decoder = Decoder(model, sorted(chat.ends), batch_size)
        super().__init__(chat, limit, Batcher(self.decoder))

    def identity(self) -> dict[str, str]:
        """Hashes of the weights and of the tokenizer."""
        return identity(self.model, self.tokenizer)


def identity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    """Hashes of the weights, of the type that they were loaded as, and of the tokenizer with its chat template."""
    tokens = to_json(sorted(tokenizer.get_vocab().items()))
    return {"weights": fingerprint(model), "tokenizer": digest(tokens, tokenizer.chat_template)}


def fingerprint(model: PreTrainedModel) -> str:
    """A name for the weights: equal weights, equal name."""
    tensors = (tensor.detach().cpu().contiguous() for _, tensor in sorted(model.state_dict().items()))
    return digest(*(digest(tensor.view(torch.uint8).numpy().tobytes(), length=32) for tensor in tensors))


def ends_of(model: PreTrainedModel) -> list[int]:
    """The ids that the model's own configuration ends generation with."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return ends if isinstance(ends, list) else [ends] if ends is not None else []


def load(
    name: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str = "auto",
    dtype: str | torch.dtype | None = None,
    online: bool = False,
    attention: str = "sdpa",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer from a folder or the hub's cache; from the hub itself only if `online`.

    `attention` is transformers' name of an implementation. Raises ModelError.
    """
    path = located(name)
    where: dict[str, Any] = {"local_files_only": not online}
    if not online:
        logging.disable_progress_bar()  # a file of this machine is read too soon to be worth a line
    try:
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(path, **where)
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype or torch.float32, attn_implementation=attention, **where
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        if not online and not Path(path).is_dir():
            raise ModelError(
                f"model {name}: no such folder, and not in the hub's local cache; online=True fetches it"
            ) from error
        raise ModelError(f"model {name}: cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.nn.Module.to(model, device)
    return model.eval(), tokenizer


def located(name: str) -> str:
    """What transformers takes for `name`: a folder that is there, or a hub id. Raises ModelError."""
    path = str(files("prefdisco") / "pocket" / "base") if name == POCKET_BASE else name
    if name == POCKET_BASE and not Path(path, "config.json").is_file():
        raise ModelError(
            f"model {name}: not in this installation; make it with `python train/pretrain.py recipe=pocket`"
        )
    if not Path(path).is_dir() and (path.count("/") != 1 or path[0] in "./~" or Path(path).parent.is_dir()):
        raise ModelError(
            f"model {name}: no such folder; give a checkpoint folder, {POCKET_BASE}, or a hub id (name/name)"
        )
    return path


def check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise ModelError where model and tokenizer do not fit together, or local decoding would not be exact."""
    embedding: Any = model.get_input_embeddings()
    rows, known = embedding.weight.shape[0], max(tokenizer.get_vocab().values()) + 1
    if known > rows:
        raise ModelError(
            f"model {name}: the tokenizer knows {known} tokens, the model {rows}; they do not belong together"
        )
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    window = kinds is None and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if window or set(kinds or ()) - {"full_attention"}:
        raise ModelError(
            f"model {name}: has layers other than full attention, which local decoding lacks; serve it, e.g. with vLLM"
        )
    if config._attn_implementation not in ("sdpa", "eager"):
        raise ModelError(
            f"model {name}: has {config._attn_implementation} attention; load it with attn_implementation='sdpa'"
        )
