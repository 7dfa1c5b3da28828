"""What a trained model comes from: the licence that it inherits, and the Hub model at the root of its line.

Both are read from the cards of the models before it, as far as these are on this machine; nothing is fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import ModelCard, try_to_load_from_cache

from prefdisco.llm.base import ModelError
from prefdisco.llm.local import located

LONGEST = 16  # models in a line; more is a circle


class Lineage(NamedTuple):
    """`license`: the identifier of the first card in the line that has one. `base`: the first Hub model, `owner/name`.
    None where no card says so."""

    license: str | None = None
    base: str | None = None


def lineage(model: str, length: int = 0) -> Lineage:
    """The lineage of what is trained from `model`: a folder, pocket-base, or a Hub id."""
    card = card_of(model)
    base = None if card is None else card.get("base_model")
    before = lineage(base, length + 1) if isinstance(base, str) and base != model and length < LONGEST else Lineage()
    own = (card or {}).get("license")
    return Lineage(own if isinstance(own, str) else before.license, model if is_hub_id(model) else before.base)


def is_hub_id(model: str) -> bool:
    """Whether `model` names a model on the Hub, not a folder."""
    return model.count("/") == 1 and not model.startswith((".", "/", "~")) and not Path(model).parent.is_dir()


def card_of(model: str) -> dict[str, Any] | None:
    """The front matter of a model's card; None where there is no card on this machine, or none that can be read."""
    try:
        found = try_to_load_from_cache(model, "README.md") if is_hub_id(model) else Path(located(model), "README.md")
        if not isinstance(found, str | Path):
            return None
        metadata: dict[str, Any] = ModelCard(Path(found).read_text(encoding="utf-8")).data.to_dict()
    except (ModelError, OSError, ValueError, yaml.YAMLError):
        return None
    return metadata
