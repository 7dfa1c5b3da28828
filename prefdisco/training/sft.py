"""Supervised fine-tuning, from recipe to report: what `train/sft.py` calls on every rank.

evaluate before -> make or load the data -> train with TRL -> evaluate after -> one table, figures, one summary. Each
stage leaves its result in the run folder, and the same command goes on from the last one that is complete.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import LoraConfig
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from prefdisco.config import ConfigError, EvaluateConfig, SFTRecipe, check_trainer
from prefdisco.engine.dataset import CARD, COUNTS, IGNORED, data_folder, generate, read, rows
from prefdisco.evaluate import evaluate
from prefdisco.files import RunError, atomic_write, claim, lock
from prefdisco.hashing import digest
from prefdisco.llm.local import LocalModel, load
from prefdisco.report.markdown import write_report
from prefdisco.report.tables import table
from prefdisco.scenarios import load_scenarios
from prefdisco.training.card import model_card

CHECKPOINT, TRAINED = "checkpoint", "trained.json"
WAIT = timedelta(hours=24)  # ranks that wait for the data and the evaluations of the main one


def run(recipe: SFTRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    check_trainer(recipe.trainer, SFTConfig, recipe.where)
    check_trainer(recipe.peft or {}, LoraConfig, recipe.where, "peft")
    state = PartialState(timeout=WAIT)
    if not state.is_main_process:
        train(recipe, shared(state, None))
        return None
    folder = Path(recipe.run)
    with lock(folder):
        claim(folder, recipe.to_yaml(), recipe.model_dump(mode="json", exclude={"run"}))
        before = evaluate(evaluation(recipe, recipe.model, folder / "before"))
        data = make_data(recipe)
        if not (folder / TRAINED).exists():
            train(recipe, shared(state, data))
        elif state.num_processes > 1:
            shared(state, None)
        after = evaluate(evaluation(recipe, str(folder / CHECKPOINT), folder / "after"))
        summary = {"recipe": recipe.name, "seed": recipe.seed, "data": data.name, "before": before, "after": after}
        atomic_write(folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / CHECKPOINT / "README.md", model_card(recipe, summary))
        write_report(folder, f"Recipe {recipe.name}", {"before": before, "after": after})
    print(f"{table(before, after)}\n\n{folder}")
    return summary


def describe(recipe: SFTRecipe) -> str:
    """What `--dry-run` prints after the configuration: what would be loaded, made and written."""
    scenarios = load_scenarios(f"{recipe.scenarios.source}:train", recipe.scenarios.train_limit)
    model, tokenizer = load(recipe.model)
    weights = sum(parameter.numel() for parameter in model.parameters())
    data = data_folder(recipe, fingerprint(model))
    return "\n".join(
        [
            f"model       {recipe.model}: {weights / 1e6:.2f} M parameters, {len(tokenizer)} tokens",
            f"scenarios   {len(scenarios)} to train on, {recipe.scenarios.eval_limit} to evaluate on",
            f"data        {data}" + (" (there already)" if (data / COUNTS).exists() else " (to be made)"),
            f"run folder  {recipe.run}",
        ]
    )


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
    parts = (
        tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
        for _, tensor in sorted(model.state_dict().items())
    )
    return digest(*(digest(part, length=32) for part in parts))


def make_data(recipe: SFTRecipe) -> Path:
    """Make, complete or find the training data; returns its folder."""
    model, tokenizer = load(recipe.model)
    folder = data_folder(recipe, fingerprint(model))
    if not (folder / COUNTS).exists():
        scenarios = load_scenarios(f"{recipe.scenarios.source}:train", recipe.scenarios.train_limit)
        writer = LocalModel(model, tokenizer, batch_size=recipe.eval.batch_size)
        generate(recipe, writer, scenarios, folder)
    print(f"data        {folder / CARD}")
    return folder


def train(recipe: SFTRecipe, data: Path | None) -> None:
    """Train on every rank, from the last save if there is one, and save the checkpoint with all that it needs."""
    if data is None:
        return
    folder = Path(recipe.run)
    set_seed(recipe.seed)
    model, tokenizer = load(recipe.model, device="cpu")
    model.train()
    examples = rows(read(data))
    longest, limit = max(len(example["input_ids"]) for example in examples), model.config.max_position_embeddings
    if longest > limit:
        raise ConfigError(
            f"data: the longest dialogue has {longest} tokens, the model's context {limit}; lower data.max_tokens"
        )
    arguments = {
        "output_dir": str(folder / "trainer"),
        "seed": recipe.seed,
        "max_length": None,
        "report_to": "none",
        "use_cpu": not torch.cuda.is_available(),
        **recipe.trainer,
    }
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        data_collator=None if arguments.get("packing") else padded(tokenizer),
        peft_config=LoraConfig(**recipe.peft) if recipe.peft else None,
    )
    trainer.train(
        resume_from_checkpoint=get_last_checkpoint(arguments["output_dir"])
        if Path(arguments["output_dir"]).is_dir()
        else None
    )
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if recipe.peft:
        trained = trained.merge_and_unload()
    if trainer.is_world_process_zero():
        trained.save_pretrained(folder / CHECKPOINT)
        tokenizer.save_pretrained(folder / CHECKPOINT)
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        atomic_write(
            folder / TRAINED,
            json.dumps({"steps": trainer.state.global_step, "examples": len(examples), "history": history}),
        )
    trainer.accelerator.wait_for_everyone()


def padded(tokenizer: PreTrainedTokenizerBase) -> DataCollatorForSeq2Seq:
    """Right-padded batches in which padding carries no loss."""
    right = tokenizer.__class__.from_pretrained(tokenizer.name_or_path, padding_side="right")
    return DataCollatorForSeq2Seq(right, label_pad_token_id=IGNORED)


__all__ = ["RunError", "describe", "run"]
