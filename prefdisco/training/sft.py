"""Supervised fine-tuning, from recipe to checkpoint: what `train/sft.py` calls on every rank.

make or load the data -> train with TRL; what stands around it is in stages.py.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig

from prefdisco.config import ConfigError, SFTRecipe
from prefdisco.engine.card import lesson_card
from prefdisco.engine.dataset import CARD, COUNTS, complete, data_folder, make, missing, read, shareable
from prefdisco.engine.outcomes import Talk
from prefdisco.engine.teaching import IGNORED, lessons, rows
from prefdisco.files import atomic_write, lock, writing
from prefdisco.llm.base import ModelError
from prefdisco.llm.chat import Chat
from prefdisco.llm.local import LocalModel, fingerprint, load
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Scenario
from prefdisco.training import onpolicy, saves
from prefdisco.training.anchor import Anchor
from prefdisco.training.checks import (
    check_attention,
    check_drafts,
    check_inferred,
    check_lengths,
    check_model,
    check_packing,
    check_precision,
    check_world,
    is_flat,
)
from prefdisco.training.memory import configuration, report
from prefdisco.training.processes import collected, gathered, is_main, processes, rank, shard_on_cpu, shared
from prefdisco.training.stages import conduct, launched, save, start, trainer_arguments, whole
from prefdisco.training.tracking import RecipeInWandb
from prefdisco.training.trainer import TRAINER

LESSONS = "data.md"


def run(recipe: SFTRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    launched(recipe)
    arguments = settings(recipe)
    check_attention(recipe, arguments)
    if recipe.data.engine == onpolicy.ENGINE:
        onpolicy.check(recipe, arguments)
        learn = partial(onpolicy.learn, recipe, arguments, training_scenarios(recipe))
        return conduct(recipe, lambda weights: Path(recipe.run), lambda folder: learn())
    return conduct(recipe, partial(make_data, recipe), partial(train, recipe))


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
        model, tokenizer = start(recipe)
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


def taught(recipe: SFTRecipe, data: Path, tokenizer: PreTrainedTokenizerBase) -> list[Talk]:
    """The examples that the recipe makes of the data in this folder."""
    return lessons(read(data), recipe.teach, Chat(tokenizer, recipe.model))


def make_data(recipe: SFTRecipe, weights: str) -> Path:
    """Make, complete or find the training data that the model with these `weights` writes; returns its folder."""
    folder = data_folder(recipe, weights)
    if shared(not (folder / COUNTS).exists()):
        fill(recipe, folder)
    if is_main():
        print(f"data        {folder / CARD}")
    return folder


def fill(recipe: SFTRecipe, folder: Path) -> None:
    """Make what is missing in a data folder.

    Every rank writes its share, into a file of its own; where something is served elsewhere, the main one writes all.
    Raises RunError as `make` and `complete` do, and for a folder that cannot be written or is in use.
    """
    device = "cpu" if recipe.data.writer else "auto"  # a served model is needed here for its tokens only
    model, tokenizer = load(recipe.model, device=device, dtype=recipe.eval.dtype)
    local = LocalModel(model, tokenizer, batch_size=recipe.eval.batch_size)
    scenarios = training_scenarios(recipe)
    with lock(folder) if is_main() else nullcontext():
        wanted = set(shared(missing(scenarios, folder) if is_main() else []))
        left = [scenario for scenario in scenarios if scenario.id in wanted]
        share = left[rank() :: processes()] if shareable(recipe) else left if is_main() else []
        failed = collected(make(recipe, local, scenarios, share, folder, rank()))
        if is_main():
            complete(recipe, scenarios, folder, failed)


def train(recipe: SFTRecipe, data: Path) -> None:
    """Train on every rank, from the last save if there is one, and save the checkpoint with all that it needs."""
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
        saves.train(trainer)
    weights = gathered(trainer)
    if trainer.is_world_process_zero():
        atomic_write(folder / LESSONS, lesson_card(recipe, data, talks, tokenizer))
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        save(recipe, whole(recipe, weights), tokenizer, trainer.state.global_step, len(examples), history)
    trainer.accelerator.wait_for_everyone()


def settings(recipe: SFTRecipe) -> SFTConfig:
    """The trainer's own configuration. Raises ConfigError for what TRL refuses, and for what would train wrongly."""
    arguments = trainer_arguments(recipe, SFTConfig, max_length=None)
    check_model(recipe)
    check_world(recipe, "data.belief", recipe.data.belief if recipe.data.policy != "self" else "")
    check_inferred(recipe)
    check_drafts(recipe)
    check_precision(recipe)
    check_packing(recipe, arguments, configuration(recipe.model))
    return arguments


def padded(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """Right-padded batches in which padding carries no loss; few different lengths, so that memory is used again."""
    right = copy.deepcopy(tokenizer)
    right.padding_side = "right"
    right.pad_token = right.pad_token or right.eos_token  # Llama has none; it carries no loss
    return DataCollatorForSeq2Seq(right, label_pad_token_id=IGNORED, pad_to_multiple_of=32)
