"""A checkpoint between two others: the mean of their weights (WiSE-FT, arXiv 2109.01903).

What a training learns about the problems and people it has met, it can forget about others. Between its start and its
end lie weights that keep most of both.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from pydantic import Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prefdisco.files import RunError, atomic_write, writing
from prefdisco.llm.base import ModelError
from prefdisco.llm.local import fingerprint, load
from prefdisco.loading import Config

NOTE = "merge.json"  # what was merged
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class MergeConfig(Config):
    """What `prefdisco merge` does with two checkpoints; made of words alone."""

    share: float = Field(default=0.75, ge=0, le=1, description="weight of the second one; the first has the rest")
    out: str = Field(min_length=1, description="folder to write")


def merge(first: str, second: str, settings: MergeConfig) -> Path:
    """Write (1 - share) x the weights of `first` + share x those of `second`, the second's tokenizer and dtype.

    Returns the folder. Raises ModelError where the two are not of one shape or do not share their tokens, RunError
    where the folder has something in it or cannot be written.
    """
    folder = Path(settings.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: there is something already; choose another out=FOLDER")
    (start, _), (end, tokenizer) = both = (
        load(first, device="cpu", dtype="auto"),
        load(second, device="cpu", dtype="auto"),
    )
    check_alike(*both, f"{first} and {second}")
    marks = {"first": fingerprint(start), "second": fingerprint(end)}
    mix(start, end, settings.share)
    with writing(folder):
        end.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    note = {"first": first, "second": second, "share": settings.share, "weights": marks}
    atomic_write(folder / NOTE, json.dumps(note, indent=2) + "\n")
    return folder


def check_alike(first: Loaded, second: Loaded, names: str) -> None:
    """Raise ModelError where two models are not of one shape or do not share their tokens; `names` them both."""
    ours, theirs = (model.state_dict() for model, _ in (first, second))
    for name in sorted({*ours, *theirs}):
        shapes = [list(tensors[name].shape) if name in tensors else "missing" for tensors in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise ModelError(f"{names} are not of one shape: {name} is {shapes[0]} and {shapes[1]}")
    if first[1].get_vocab() != second[1].get_vocab():
        raise ModelError(f"{names} do not share their tokens: their weights have no common meaning")


def mix(start: PreTrainedModel, end: PreTrainedModel, share: float) -> None:
    """Give `end`, in place, (1 - share) x the weights of `start` + share x its own; it keeps its dtype."""
    before = start.state_dict()
    mixed = {
        name: torch.lerp(before[name].float(), tensor.float(), share).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in end.state_dict().items()
    }
    end.load_state_dict(mixed)
