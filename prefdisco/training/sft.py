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
from peft import LoraConfig
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase, Trainer, set_seed
from trl import SFTConfig, SFTTrainer

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, EvaluateConfig, SFTRecipe, check_trainer
from prefdisco.engine.card import lesson_card
from prefdisco.engine.dataset import CARD, COUNTS, data_folder, generate, read
from prefdisco.engine.teaching import IGNORED, lessons, rows
from prefdisco.evaluate import EPISODES, evaluate, load_episodes
from prefdisco.files import atomic_write, claim, lock, writing
from prefdisco.hashing import digest
from prefdisco.health import regression
from prefdisco.llm.chat import Chat
from prefdisco.llm.local import LocalModel, load
from prefdisco.report.markdown import write_report
from prefdisco.report.tables import table
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Scenario
from prefdisco.training import onpolicy
from prefdisco.training.anchor import Anchor
from prefdisco.training.card import model_card
from prefdisco.training.optimizer import MuonAdamW
from prefdisco.training.saves import last_save

CHECKPOINT, TRAINED, LESSONS = "checkpoint", "trained.json", "data.md"
WAIT = timedelta(hours=24)  # ranks that wait for the data and the evaluations of the main one


def run(recipe: SFTRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    check_trainer(recipe.trainer, SFTConfig, recipe.where)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")
    for name in recipe.eval.conditions:
        parse_condition(name)
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
    arguments = settings(recipe)
    if recipe.data.engine == onpolicy.ENGINE:
        onpolicy.check(recipe, arguments)
    if not state.is_main_process:
        train(recipe, shared(state, None))
        return None
    folder = Path(recipe.run)
    with lock(folder):
        weights = fingerprint(load(recipe.model, device="cpu")[0])  # a folder is claimed for a model that is there
        claim(folder, recipe.to_yaml(), recipe.model_dump(mode="json", exclude={"run"}))
        before = evaluate(evaluation(recipe, recipe.model, folder / "before"))
        data = make_data(recipe, weights)
        if not (folder / TRAINED).exists():
            train(recipe, shared(state, data))
        elif state.num_processes > 1:
            shared(state, None)
        after = evaluate(evaluation(recipe, str(folder / CHECKPOINT), folder / "after"))
        played = {stage: load_episodes(folder / stage / EPISODES).values() for stage in ("before", "after")}
        change = regression(played["before"], played["after"])
        stages = {"before": before, "after": after}
        summary = {"recipe": recipe.name, "seed": recipe.seed, "data": data.name, **stages, "regression": change}
        atomic_write(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / CHECKPOINT / "README.md", model_card(recipe, summary))
        write_report(folder, f"Recipe {recipe.name}", stages, change)
    print(f"{table(before, after, change)}\n\n{folder}")
    return summary


def describe(recipe: SFTRecipe) -> str:
    """What `--dry-run` prints after the configuration: what would be loaded, made and written."""
    if recipe.data.engine == onpolicy.ENGINE:
        onpolicy.check(recipe, settings(recipe))
    scenarios = training_scenarios(recipe)
    model, tokenizer = load(recipe.model)
    weights = sum(parameter.numel() for parameter in model.parameters())
    data = data_folder(recipe, fingerprint(model))
    there = " (there already)" if (data / COUNTS).exists() else " (to be made)"
    return "\n".join(
        [
            f"model       {recipe.model}: {weights / 1e6:.2f} M parameters, {len(tokenizer)} tokens",
            f"scenarios   {len(scenarios)} to train on, {recipe.scenarios.eval_limit} to evaluate on",
            f"data        {onpolicy.plan(recipe) if recipe.data.engine == onpolicy.ENGINE else f'{data}{there}'}",
            f"run folder  {recipe.run}",
        ]
    )


def training_scenarios(recipe: SFTRecipe) -> list[Scenario]:
    """The scenarios that the data is made from, those for interviews last."""
    wanted = recipe.scenarios
    return load_scenarios(f"{wanted.source}:train", wanted.train_limit + recipe.data.interviews, wanted.seed)


def evaluation(recipe: SFTRecipe, agent: str, folder: Path) -> EvaluateConfig:
    """The evaluation of `agent` on the recipe's held-out scenarios."""
    scenarios, settings = recipe.scenarios, recipe.eval.model_dump()
    source = f"{scenarios.source}:{scenarios.eval_split}"
    return EvaluateConfig(agent=agent, scenarios=source, limit=scenarios.eval_limit, run=str(folder), **settings)


def shared(state: PartialState, data: Path | None) -> Path | None:
    """The main rank's data folder on every rank; the others wait for it here. None: there is nothing to train."""
    message = [str(data) if data else None]
    if state.num_processes > 1:
        broadcast_object_list(message)
    return Path(message[0]) if message[0] else None


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
        model, tokenizer = load(recipe.model)
        scenarios = training_scenarios(recipe)
        writer = LocalModel(model, tokenizer, batch_size=recipe.eval.batch_size)
        generate(recipe, writer, scenarios, folder)
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
    model, tokenizer = load(recipe.model, device="cpu")
    model.train()
    talks = lessons(read(data), recipe.teach, Chat(tokenizer, recipe.model))
    if not talks:
        raise ConfigError(f"{data}: no example is left for teach.answer={recipe.teach.answer}; see {CARD} there")
    examples = rows(talks)
    longest, limit = max(len(example["input_ids"]) for example in examples), model.config.max_position_embeddings
    if longest > limit:
        raise ConfigError(
            f"data: the longest dialogue has {longest} tokens, the model's context {limit}; lower data.max_tokens"
        )
    arguments = settings(recipe)
    muon = recipe.optimizer == "muon"
    trainer = TRAINER(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        data_collator=None if arguments.packing else padded(tokenizer),
        peft_config=LoraConfig(**recipe.peft) if recipe.peft else None,
        optimizers=(MuonAdamW.from_arguments(model, arguments) if muon else None, None),
        callbacks=[Anchor(model, recipe.anchor)] if recipe.anchor else None,
    )
    with writing(folder):
        trainer.train(resume_from_checkpoint=last_save(Path(str(arguments.output_dir))))
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_world_process_zero():
        atomic_write(folder / LESSONS, lesson_card(recipe, data, talks, tokenizer))
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        save(recipe, trained, tokenizer, trainer.state.global_step, len(examples), history)
    trainer.accelerator.wait_for_everyone()


def save(
    recipe: SFTRecipe,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    steps: int,
    examples: int,
    history: list[dict[str, Any]],
) -> None:
    """Save the checkpoint, a LoRA merged into it, then what says that training is over."""
    folder = Path(recipe.run)
    if recipe.peft:
        model = model.merge_and_unload()
    with writing(folder / CHECKPOINT):
        model.save_pretrained(folder / CHECKPOINT)
        tokenizer.save_pretrained(folder / CHECKPOINT)
    atomic_write(folder / TRAINED, json.dumps({"steps": steps, "examples": examples, "history": history}))


class CPUTrainer(SFTTrainer):
    """TRL's trainer with the model's own loss.

    TRL's fused head saves memory by computing every logit twice, in float32, and adds two metrics. Without its GPU
    kernel that costs more than it saves (`bench/sft.py`).
    """

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return Trainer.compute_loss(self, *args, **kwargs)


TRAINER = SFTTrainer if torch.cuda.is_available() else CPUTrainer


def settings(recipe: SFTRecipe) -> SFTConfig:
    """The trainer's own configuration. Raises ConfigError for a value that TRL refuses."""
    arguments: dict[str, Any] = {
        "output_dir": str(Path(recipe.run) / "trainer"),
        "seed": recipe.seed,
        "max_length": None,
        "report_to": "none",
        "use_cpu": not torch.cuda.is_available(),
        **recipe.trainer,
    }
    try:
        return SFTConfig(**arguments)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"{recipe.where('trainer')}: trainer: {str(error).partition(chr(10))[0]}") from None


def padded(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """Right-padded batches in which padding carries no loss; few different lengths, so that memory is used again."""
    right = copy.deepcopy(tokenizer)
    right.padding_side = "right"
    return DataCollatorForSeq2Seq(right, label_pad_token_id=IGNORED, pad_to_multiple_of=32)
