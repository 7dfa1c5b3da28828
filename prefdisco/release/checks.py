"""What a training run is refused for before anything of it is published: numbers that are missing, unfinished, full of
errors, not those of its episodes, or not those of its weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedTokenizerBase

from prefdisco.config import ConfigError, EvaluateConfig, RLRecipe, SFTRecipe, TrainRecipe, load
from prefdisco.evaluate import AGENT, EPISODES, identity_in, load_episodes
from prefdisco.files import RunError
from prefdisco.llm import local
from prefdisco.llm.chat import Chat
from prefdisco.metrics import summarize
from prefdisco.scenarios import load_scenarios
from prefdisco.training.card import data_card, has_data
from prefdisco.training.stages import CHECKPOINT, TRAINED, evaluation

WANTED = ("baseline", "discovery", "oracle")
KINDS: Mapping[str, type[TrainRecipe]] = {"sft": SFTRecipe, "rl": RLRecipe}


@dataclass(frozen=True)
class Finished:
    """A training run that may be published. `ends`: ids of the tokens that end a turn of its model."""

    folder: Path
    recipe: TrainRecipe
    summary: Mapping[str, Any]
    data: Path
    tokenizer: PreTrainedTokenizerBase
    ends: tuple[int, ...]

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT


def finished(folder: Path, max_errors: float) -> Finished:
    """The run in `folder`, checked. Raises ConfigError, RunError or ModelError with the reason to publish nothing."""
    recipe = recipe_of(folder)
    again = f"repeat the training: train/{recipe.kind}.py recipe={folder / 'config.yaml'}"
    summary = _read(folder / "summary.json", again)
    if not (folder / TRAINED).is_file() or not {"before", "after", "training", "data"} <= summary.keys():
        raise RunError(f"{folder}: the training has not finished; {again}")
    places = {
        "before": evaluation(recipe, recipe.model, Path(recipe.before or folder / "before")),
        "after": evaluation(recipe, str(folder / CHECKPOINT), folder / "after"),
    }
    for stage, config in places.items():
        check_stage(config, summary[stage], max_errors, again)
    data = folder.parent / "data" / summary["data"] if has_data(recipe) else folder
    if has_data(recipe) and data_card(data) is None:
        raise RunError(f"{data}: no data card; the data of a training belongs beside its run folder")
    tokenizer, ends = check_weights(folder, recipe, again)
    return Finished(folder, recipe, summary, data, tokenizer, ends)


def recipe_of(folder: Path) -> TrainRecipe:
    """The recipe that a training run was made with. Raises ConfigError for anything but the folder of one."""
    path = folder / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict) or content.get("kind") not in KINDS:
        what = "an evaluation, which has no checkpoint of its own" if "agent" in (content or {}) else "no training run"
        raise ConfigError(f"{folder}: is {what}; give the run folder of train/sft.py or train/rl.py")
    return load(KINDS[content["kind"]], [f"recipe={path}"])


def check_stage(config: EvaluateConfig, summary: Mapping[str, Any], max_errors: float, again: str) -> None:
    """Raise RunError unless the evaluation in `config.run` is whole, has few errors, and `summary` is what it says."""
    lacking = [name for name in WANTED if name not in config.conditions]
    if lacking:
        raise RunError(
            f"{config.run}: {' and '.join(lacking)} was not played; a release needs baseline, discovery and oracle: "
            "train with all three in eval.conditions"
        )
    found = load_episodes(Path(str(config.run)) / EPISODES)
    if not found:
        raise RunError(f"{config.run}: no evaluation there; {again}")
    scenarios = load_scenarios(config.scenarios, config.limit)
    keys = [(each.id, name, seed) for name in config.conditions for seed in config.seeds for each in scenarios]
    episodes = [found[key] for key in keys if key in found]
    if len(episodes) < len(keys):
        raise RunError(f"{config.run}: unfinished: {len(episodes)} of {len(keys)} episodes are there; {again}")
    failed = sum(episode.error is not None for episode in episodes)
    if failed > max_errors * len(episodes):
        raise RunError(
            f"{config.run}: {failed} of {len(episodes)} episodes failed, more than max_errors={max_errors:g} of them; "
            f"to play them again, {again}"
        )
    if lacking := [name for name in WANTED if name not in summary["conditions"]]:
        raise RunError(f"{config.run}: all episodes of {' and '.join(lacking)} failed; {again}")
    told = {name: figure for name, figure in summary.items() if name != "ceiling"}  # made of the scenarios too
    if place := difference(told, json.loads(json.dumps(summarize(episodes)))):
        raise RunError(f"{config.run}: summary.json does not say of {place} what the episodes say; {again}")


def check_weights(folder: Path, recipe: TrainRecipe, again: str) -> tuple[PreTrainedTokenizerBase, tuple[int, ...]]:
    """(tokenizer of the checkpoint, ids that end its turns), where the evaluation after training was of its weights.

    Raises RunError or ModelError.
    """
    checkpoint, after = folder / CHECKPOINT, folder / "after"
    if (checkpoint / "adapter_config.json").exists():
        raise RunError(f"{checkpoint}: is an adapter; merge it into its model and evaluate the whole")
    if not list(checkpoint.glob("*.safetensors")):
        raise RunError(f"{checkpoint}: no safetensors there; {again}")
    model, tokenizer = local.load(str(checkpoint), device="cpu", dtype=recipe.eval.dtype)
    chat = Chat(tokenizer, str(checkpoint), local.ends_of(model))  # refuses one without a chat template
    noted = identity_in(after)
    if noted is None:
        raise RunError(
            f"{after}: does not name the weights it evaluated ({AGENT}), being of an earlier version; remove it, then "
            f"{again}, which then only evaluates the checkpoint"
        )
    identity = local.identity(model, tokenizer)
    if changed := [part for part in identity if noted.get(part) != identity[part]]:
        raise RunError(
            f"{after}: evaluated other {' and '.join(changed)} than those in {checkpoint}; remove it, then {again}"
        )
    return tokenizer, tuple(sorted(chat.ends))


def difference(told: Any, found: Any, place: str = "") -> str:
    """Where two summaries differ, as a dotted path; empty where they do not, up to rounding."""
    if isinstance(told, Mapping) and isinstance(found, Mapping):
        for name in [*told, *(name for name in found if name not in told)]:
            where = f"{place}.{name}" if place else str(name)
            if name not in told or name not in found:
                return where
            if inner := difference(told[name], found[name], where):
                return inner
        return ""
    if isinstance(told, list | tuple) and isinstance(found, list | tuple):
        pairs = list(zip(told, found, strict=False))
        same = len(told) == len(found) and not any(difference(a, b, place) for a, b in pairs)
        return "" if same else place
    if isinstance(told, float) and isinstance(found, float):
        return "" if math.isclose(told, found, rel_tol=1e-9, abs_tol=1e-9) else place
    return "" if told == found else place


def _read(path: Path, again: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise RunError(f"{path}: no readable summary, the run has not finished; {again}")
    return content
