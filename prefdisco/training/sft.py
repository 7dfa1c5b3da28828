"""Supervised fine-tuning, from recipe to report: what `train/sft.py` calls on every rank.

evaluate before -> make or load the data -> train with TRL -> evaluate after -> one table, figures, one summary. Each
stage leaves its result in the run folder, and the same command goes on from the last one that is complete.
"""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, EvaluateConfig, SFTRecipe, check_trainer
from prefdisco.engine.card import lesson_card
from prefdisco.engine.dataset import CARD, COUNTS, data_folder, generate, read
from prefdisco.engine.outcomes import Talk
from prefdisco.engine.teaching import IGNORED, lessons, rows
from prefdisco.evaluate import EPISODES, evaluate, load_episodes
from prefdisco.files import atomic_write, claim, lock, writing
from prefdisco.hashing import digest
from prefdisco.health import regression
from prefdisco.llm.base import ModelError
from prefdisco.llm.chat import Chat
from prefdisco.llm.local import LocalModel, load
from prefdisco.report.markdown import write_report
from prefdisco.report.tables import table
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Scenario
from prefdisco.training import onpolicy
from prefdisco.training.anchor import Anchor
from prefdisco.training.card import model_card
from prefdisco.training.checks import (
    check_attention,
    check_launch,
    check_lengths,
    check_model,
    check_packing,
    check_precision,
    check_world,
    is_flat,
)
from prefdisco.training.memory import configuration, report
from prefdisco.training.processes import device_arguments, gathered, load_whole, shard_on_cpu
from prefdisco.training.saves import last_save
from prefdisco.training.tracking import RecipeInWandb, notice, reporting
from prefdisco.training.trainer import TRAINER

CHECKPOINT, TRAINED, LESSONS = "checkpoint", "trained.json", "data.md"
WAIT = timedelta(hours=24)  # ranks that wait for the data and the evaluations of the main one


def run(recipe: SFTRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    for name in recipe.eval.conditions:
        parse_condition(name)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")  # unknown keys before what is refused
    check_launch(recipe)
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
    arguments = settings(recipe)
    check_attention(recipe, arguments)
    if recipe.data.engine == onpolicy.ENGINE:
        onpolicy.check(recipe, arguments)
    load_whole()
    if not state.is_main_process:
        train(recipe, shared(state, None))
        return None
    folder = Path(recipe.run)
    first, last = Path(recipe.before or folder / "before"), folder / "after"
    with lock(folder):
        weights = fingerprint(writer(recipe)[0])  # a folder is claimed for a model that is there
        claim(folder, recipe.to_yaml(), recipe.model_dump(mode="json", exclude={"run", "remote"}))
        before = evaluate(evaluation(recipe, recipe.model, first), wait=bool(recipe.before))
        data = make_data(recipe, weights)
        if line := notice(recipe):
            print(line)
        if not (folder / TRAINED).exists():
            train(recipe, shared(state, data))
        elif state.num_processes > 1:
            shared(state, None)
        after = evaluate(evaluation(recipe, str(folder / CHECKPOINT), last))
        change = regression(load_episodes(first / EPISODES).values(), load_episodes(last / EPISODES).values())
        stages = {"before": before, "after": after}
        summary = {"recipe": recipe.name, "seed": recipe.seed, "data": data.name, **stages, "regression": change}
        atomic_write(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / CHECKPOINT / "README.md", model_card(recipe, summary))
        write_report(folder, f"Recipe {recipe.name}", stages, change)
    print(f"{table(before, after, change)}\n\n{folder}")
    return summary


def describe(recipe: SFTRecipe) -> str:
    """What `--dry-run` prints after the configuration: what would be loaded, made and written, and the memory it takes.

    The model's configuration must be there, its weights need not.
    """
    arguments, scenarios = settings(recipe), training_scenarios(recipe)
    if recipe.data.engine == onpolicy.ENGINE:
        onpolicy.check(recipe, arguments)
        where, memory = onpolicy.plan(recipe), onpolicy.MEMORY
    else:
        where, longest = data_there(recipe)
        memory = report(recipe, arguments, longest)
    return "\n".join(
        [
            f"model       {recipe.model}",
            f"scenarios   {len(scenarios)} to train on, {recipe.scenarios.eval_limit} to evaluate on",
            f"data        {where}",
            f"run folder  {recipe.run}",
            memory,
        ]
    )


def data_there(recipe: SFTRecipe) -> tuple[str, int | None]:
    """(where the data is or will be, tokens of its longest example if it is there already)."""
    try:
        model, tokenizer = writer(recipe)
    except ModelError:
        return "to be named by the model's weights, which cannot be loaded here", None
    data = data_folder(recipe, fingerprint(model))
    if not (data / COUNTS).exists():
        return f"{data} (to be made)", None
    longest = max((len(talk.ids) for talk in taught(recipe, data, tokenizer)), default=None)
    return f"{data} (there already)", longest


def training_scenarios(recipe: SFTRecipe) -> list[Scenario]:
    """The scenarios that the data is made from, those for interviews last."""
    wanted = recipe.scenarios
    return load_scenarios(wanted.training, wanted.train_limit + recipe.data.interviews, wanted.seed)


def evaluation(recipe: SFTRecipe, agent: str, folder: Path) -> EvaluateConfig:
    """The evaluation of `agent` on the recipe's held-out scenarios."""
    wanted, settings = recipe.scenarios, {**recipe.eval.model_dump(), "remote": recipe.remote}
    return EvaluateConfig(
        agent=agent, scenarios=wanted.evaluation, limit=wanted.eval_limit, run=str(folder), **settings
    )


def shared(state: PartialState, data: Path | None) -> Path | None:
    """The main rank's data folder on every rank; the others wait for it here. None: there is nothing to train."""
    message = [str(data) if data else None]
    if state.num_processes > 1:
        broadcast_object_list(message)
    return Path(message[0]) if message[0] else None


def writer(recipe: SFTRecipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that writes the data, and its tokenizer. Raises ModelError where they are not there."""
    return load(recipe.model, device="cpu", dtype=recipe.eval.dtype)


def taught(recipe: SFTRecipe, data: Path, tokenizer: PreTrainedTokenizerBase) -> list[Talk]:
    """The examples that the recipe makes of the data in this folder."""
    return lessons(read(data), recipe.teach, Chat(tokenizer, recipe.model))


def fingerprint(model: PreTrainedModel) -> str:
    """A name for the weights: equal weights, equal name."""
    tensors = (tensor.detach().cpu().contiguous() for _, tensor in sorted(model.state_dict().items()))
    return digest(*(digest(tensor.view(torch.uint8).numpy().tobytes(), length=32) for tensor in tensors))


def make_data(recipe: SFTRecipe, weights: str) -> Path:
    """Make, complete or find the training data that the model with these `weights` writes; returns its folder.

    The run folder where the model learns from what it plays: then nothing is written beforehand.
    """
    if recipe.data.engine == onpolicy.ENGINE:
        return Path(recipe.run)
    folder = data_folder(recipe, weights)
    if not (folder / COUNTS).exists():
        device = "cpu" if recipe.data.writer else "auto"  # a served model is needed here for its tokens only
        model, tokenizer = load(recipe.model, device=device, dtype=recipe.eval.dtype)
        local = LocalModel(model, tokenizer, batch_size=recipe.eval.batch_size)
        generate(recipe, local, training_scenarios(recipe), folder)
    print(f"data        {folder / CARD}")
    return folder


def train(recipe: SFTRecipe, data: Path | None) -> None:
    """Train on every rank, from the last save if there is one, and save the checkpoint with all that it needs."""
    if data is None:
        return
    if recipe.data.engine == onpolicy.ENGINE:
        done = onpolicy.train(recipe, settings(recipe), training_scenarios(recipe))
        save(recipe, done.model, done.tokenizer, done.steps, recipe.onpolicy.episodes * len(done.history), done.history)
        return
    folder = Path(recipe.run)
    set_seed(recipe.seed)
    model, tokenizer = load(recipe.model, device="cpu", dtype=recipe.dtype, attention=recipe.attention)
    model.train()
    talks = taught(recipe, data, tokenizer)
    if not talks:
        raise ConfigError(f"{data}: no example is left for teach.answer={recipe.teach.answer}; see {CARD} there")
    examples = rows(talks)
    arguments = settings(recipe)
    shard_on_cpu()
    longest = max(len(example["input_ids"]) for example in examples)
    check_lengths(recipe, arguments, longest, model.config.max_position_embeddings)
    trainer = TRAINER(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        data_collator=None if is_flat(arguments) else padded(tokenizer),
        peft_config=LoraConfig(**recipe.peft) if recipe.peft else None,
        optimizer=recipe.optimizer,
        callbacks=[RecipeInWandb(recipe), *([Anchor(model, recipe.anchor)] if recipe.anchor else [])],
    )
    with writing(folder):
        trainer.train(resume_from_checkpoint=last_save(Path(str(arguments.output_dir))))
    weights = gathered(trainer)
    if trainer.is_world_process_zero():
        atomic_write(folder / LESSONS, lesson_card(recipe, data, talks, tokenizer))
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        save(recipe, whole(recipe, weights), tokenizer, trainer.state.global_step, len(examples), history)
    trainer.accelerator.wait_for_everyone()


def whole(recipe: SFTRecipe, weights: dict[str, torch.Tensor]) -> PreTrainedModel:
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
    recipe: SFTRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    steps: int,
    examples: int,
    history: list[dict[str, Any]],
) -> None:
    """Save the checkpoint, then what says that training is over."""
    folder = Path(recipe.run)
    with writing(folder / CHECKPOINT):
        model.save_pretrained(folder / CHECKPOINT)
        tokenizer.save_pretrained(folder / CHECKPOINT)
    atomic_write(folder / TRAINED, json.dumps({"steps": steps, "examples": examples, "history": history}))


def settings(recipe: SFTRecipe) -> SFTConfig:
    """The trainer's own configuration. Raises ConfigError for what TRL refuses, and for what would train wrongly."""
    check_trainer(recipe.trainer, SFTConfig, recipe.where)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")
    check_model(recipe)
    check_world(recipe)
    check_precision(recipe)
    fields: dict[str, Any] = {
        "output_dir": str(Path(recipe.run) / "trainer"),
        "seed": recipe.seed,
        "max_length": None,
        **device_arguments(),
        **recipe.trainer,
        **reporting(recipe),
    }
    try:
        arguments = SFTConfig(**fields)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"{recipe.where('trainer')}: trainer: {str(error).partition(chr(10))[0]}") from None
    check_packing(recipe, arguments, configuration(recipe.model))
    return arguments


def padded(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """Right-padded batches in which padding carries no loss; few different lengths, so that memory is used again."""
    right = copy.deepcopy(tokenizer)
    right.padding_side = "right"
    right.pad_token = right.pad_token or right.eos_token  # Llama has none; it carries no loss
    return DataCollatorForSeq2Seq(right, label_pad_token_id=IGNORED, pad_to_multiple_of=32)
