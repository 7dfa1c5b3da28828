"""What every training of an agent does around its training: run folder, evaluations, report, checkpoint.

evaluate before -> prepare -> train -> evaluate after -> one table, figures, one summary. Each stage leaves its result
in the run folder, and the same command goes on from the last one that is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from omegaconf import OmegaConf
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, EvaluateConfig, TrainRecipe, check_trainer
from prefdisco.evaluate import EPISODES, evaluate, load_episodes
from prefdisco.files import atomic_write, claim, lock, writing
from prefdisco.health import regression
from prefdisco.llm.local import fingerprint, load
from prefdisco.merging import Loaded, check_alike, mix
from prefdisco.report.markdown import write_report
from prefdisco.report.tables import table
from prefdisco.training.card import model_card
from prefdisco.training.checks import check_launch
from prefdisco.training.processes import device_arguments, is_main, load_whole, shared
from prefdisco.training.tracking import notice, reporting

CHECKPOINT, TRAINED = "checkpoint", "trained.json"
WAIT = timedelta(hours=24)  # ranks that wait for what the main one prepares and for its evaluations
A = TypeVar("A", bound=TrainingArguments)


def launched(recipe: TrainRecipe) -> PartialState:
    """Check the launch and the conditions to evaluate, and join the other processes. Raises ConfigError."""
    for name in recipe.eval.conditions:
        parse_condition(name)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")  # unknown keys before what is refused
    check_launch(recipe)
    return PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)


def conduct(
    recipe: TrainRecipe, prepare: Callable[[str], Path], train: Callable[[Path], None]
) -> dict[str, Any] | None:
    """The stages around a training. The main rank returns the summary and prints the table, the others return None.

    `prepare(weights)` makes what is learned from, where that is not there yet, and returns its folder; it is called on
    every rank with the fingerprint of the recipe's model. `train(folder)` is called on every rank and ends with
    `save` on the main one.
    """
    load_whole()
    if not is_main():
        prepare(shared(""))
        if there := shared(""):
            train(Path(there))
        return None
    folder = Path(recipe.run)
    first, last = Path(recipe.before or folder / "before"), folder / "after"
    with lock(folder):
        weights = fingerprint_of(recipe)  # a folder is claimed for models that are there
        claim(folder, recipe.to_yaml(), recipe.model_dump(mode="json", exclude={"run", "remote"}), recipe.defaults())
        before = evaluate(evaluation(recipe, spelled(recipe.model, first), first), wait=bool(recipe.before))
        prepared = prepare(shared(weights))
        if line := notice(recipe):
            print(line)
        if shared("" if (folder / TRAINED).exists() else str(prepared)):
            train(prepared)
        after = evaluate(evaluation(recipe, str(folder / CHECKPOINT), last))
        change = regression(load_episodes(first / EPISODES).values(), load_episodes(last / EPISODES).values())
        stages = {"before": before, "after": after}
        course = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
        course.pop("history")
        summary = {"recipe": recipe.name, "seed": recipe.seed, "data": prepared.name, "training": course, **stages}
        summary["regression"] = change
        atomic_write(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / CHECKPOINT / "README.md", model_card(recipe, summary, prepared))
        write_report(folder, f"Recipe {recipe.name}", stages, change, remarks(course))
    print("\n\n".join([table(before, after, change), *remarks(course), str(folder)]))
    return summary


def remarks(course: Mapping[str, Any]) -> list[str]:
    """What is worth saying about a training that did not simply end with its last step."""
    kept, steps = course.get("kept_step"), course["steps"]
    where = f"The checkpoint is that of step {kept} of {steps}: best on the watched scenarios."
    return [*([course["stopped"]] if course.get("stopped") else []), *([where] if kept not in (None, steps) else [])]


def evaluation(recipe: TrainRecipe, agent: str, folder: Path) -> EvaluateConfig:
    """The evaluation of `agent` on the recipe's held-out scenarios."""
    wanted, settings = recipe.scenarios, {**recipe.eval.model_dump(), "remote": recipe.remote}
    return EvaluateConfig(
        agent=agent, scenarios=wanted.evaluation, limit=wanted.eval_limit, run=str(folder), **settings
    )


def spelled(model: str, folder: Path) -> str:
    """The model as the evaluation in `folder` spells it, where that is another path to the same one."""
    config = folder / "config.yaml"
    there = OmegaConf.select(OmegaConf.load(config), "agent") if config.is_file() else None
    return there if there and Path(there).exists() and Path(there).resolve() == Path(model).resolve() else model


def start(recipe: TrainRecipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that the training starts from, as it plays, and its tokenizer. Raises ModelError where they are not
    there."""
    return load(recipe.model, device="cpu", dtype=recipe.eval.dtype)


def fingerprint_of(recipe: TrainRecipe) -> str:
    """Of the weights that the training starts from. Raises ModelError where they, or those that the trained ones are to
    be merged with, are not there or do not fit each other."""
    model = start(recipe)
    if other := partner(recipe):
        check_alike(model, other, f"model={recipe.model} and merge.model={recipe.merge.model}")
    return fingerprint(model[0])


def partner(recipe: TrainRecipe) -> Loaded | None:
    """The model that the trained one is merged with, and its tokenizer; None where there is none."""
    return load(recipe.merge.model, device="cpu", dtype=recipe.dtype) if recipe.merge.model else None


def trainer_arguments(recipe: TrainRecipe, kind: type[A], **ours: Any) -> A:
    """The trainer's own configuration of class `kind`: `ours`, under the recipe's section `trainer`.

    Raises ConfigError for what TRL refuses.
    """
    check_trainer(recipe.trainer, kind, recipe.where)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")
    fields: dict[str, Any] = {
        "output_dir": str(Path(recipe.run) / "trainer"),
        "seed": recipe.seed,
        **ours,
        **device_arguments(),
        **recipe.trainer,
        **reporting(recipe),
    }
    try:
        return kind(**fields)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"{recipe.where('trainer')}: trainer: {str(error).partition(chr(10))[0]}") from None


def whole(recipe: TrainRecipe, weights: dict[str, torch.Tensor]) -> PreTrainedModel:
    """The recipe's model with the trained `weights`, adapters merged; of the type that it was loaded as."""
    model = load(recipe.model, device="cpu", dtype=recipe.dtype)[0]
    if not recipe.peft:
        model.load_state_dict(weights)
        return model
    adapted = get_peft_model(model, LoraConfig(**recipe.peft))
    adapted.load_state_dict(weights)
    merged: Any = adapted.merge_and_unload()
    return merged


def save(
    recipe: TrainRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    steps: int,
    examples: int,
    history: list[dict[str, Any]],
    notes: dict[str, Any] | None = None,
) -> None:
    """Save the checkpoint, merged with its partner if it has one, then what says that training is over; `notes` go into
    it and into the summary."""
    folder = Path(recipe.run)
    if other := partner(recipe):
        mix(other[0], model, recipe.merge.share)
    with writing(folder / CHECKPOINT):
        model.save_pretrained(folder / CHECKPOINT)
        tokenizer.save_pretrained(folder / CHECKPOINT)
    course = {"steps": steps, "examples": examples, **(notes or {}), "history": history}
    atomic_write(folder / TRAINED, json.dumps(course))
