"""On-policy self-distillation for dialogues: who knows the preferences teaches who has to ask, on the latter's words.

In each round the student plays discovery episodes itself, and the teacher, the same model with the preferences in its
context, gives its next-token distribution at every token of the student's last turn; the student is moved towards it.
What it learns from is what it does, so it is corrected where it goes wrong (GKD, Agarwal et al., arXiv 2306.13649); a
teacher that differs in its context only is that of self-distillation fine-tuning (SDFT; `trl.experimental.sdft`).

TRL's trainers are not used: SDFT's completion is one answer to one prompt, its teacher's prompt is rendered anew from
the last user message, and its loss covers the whole completion. Here a completion holds the user's turns, has parts
that the teacher must not judge (questions, the wire format), and is token in, token out.

Privileged self-distillation is reported to cost thinking models mathematics (arXiv 2607.05184): watch the accuracy of
each round's episodes, and the baseline's before and after.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import LoraConfig, get_peft_model
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig

from prefdisco.config import ConfigError, DataConfig, OnPolicyConfig, SFTRecipe, TeachConfig
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.files import RunError, atomic_write, writing
from prefdisco.hashing import stable_seed
from prefdisco.llm.local import LocalModel, load
from prefdisco.llm.loops import run
from prefdisco.llm.remote import Account
from prefdisco.loading import Section
from prefdisco.schema import Scenario
from prefdisco.training.distiller import MADE_OF_STUDENT, SHAPES, Distiller, shape_of
from prefdisco.training.episodes import Played, figures_of, line, play_round, turn_of
from prefdisco.training.pairs import Pair, fault, pair
from prefdisco.training.saves import last_save
from prefdisco.training.stages import save as save_checkpoint
from prefdisco.world import recipe_world

ENGINE = "onpolicy"
STATE, ENTRY = "state.pt", "trainer_state.json"  # of a save; the second is written last
# the keys of `data` that have a meaning
PLAYED = ("engine", "user", "judge", "policy", "budget", "temperature", "max_tokens", "mix")
OPTIMIZATION = ("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta1", "adam_beta2")
BATCHES = ("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps")
MEMORY = "memory      not estimated: the student, its start and its teacher are held at once, and the optimizer"
HONOURED = (*OPTIMIZATION, "adam_epsilon", "max_grad_norm", *BATCHES, "gradient_checkpointing", "bf16")


def check(recipe: SFTRecipe, arguments: SFTConfig) -> None:
    """Raise ConfigError or RunError for what on-policy distillation cannot do, before anything is done."""
    data, where = recipe.data, recipe.where
    if PartialState().num_processes > 1:
        raise RunError(f"{recipe.run}: data.engine={ENGINE} runs in one process; launch with --num_processes 1")
    if data.policy != "self":
        raise ConfigError(
            f"{where('data.policy')}: data.policy={data.policy}: with data.engine={ENGINE} the student asks its own "
            "questions; write data.policy=self"
        )
    written = [f"data.{key}" for key in DataConfig.model_fields if key not in PLAYED and differs(data, key)]
    written += [f"teach.{key}" for key in TeachConfig.model_fields if differs(recipe.teach, key)]
    for key in written:
        raise ConfigError(f"{where(key)}: {key} has no meaning with data.engine={ENGINE}; remove it")
    for key in sorted(set(recipe.trainer) - set(HONOURED)):
        raise ConfigError(
            f"{where(f'trainer.{key}')}: trainer.{key} has no meaning with data.engine={ENGINE}; it takes "
            f"{', '.join(HONOURED)}"
        )
    if shape_of(arguments) not in SHAPES:
        raise ConfigError(
            f"{where('trainer.lr_scheduler_type')}: trainer.lr_scheduler_type={shape_of(arguments)}: "
            f"expected one of {', '.join(SHAPES)} with data.engine={ENGINE}"
        )
    for key, least in (("num_train_epochs", 1), ("warmup_steps", 0)):
        value = getattr(arguments, key)
        if value < least or value % 1:
            raise ConfigError(
                f"{where(f'trainer.{key}')}: trainer.{key}={value}: expected a whole number from {least} on with "
                f"data.engine={ENGINE} (epochs are passes over each round's episodes)"
            )
    if recipe.onpolicy.episodes > recipe.scenarios.train_limit:
        raise ConfigError(
            f"{where('onpolicy.episodes')}: onpolicy.episodes={recipe.onpolicy.episodes}: there are only "
            f"scenarios.train_limit={recipe.scenarios.train_limit} scenarios to play"
        )
    if recipe.attention != "sdpa":
        raise ConfigError(
            f"{where('attention')}: attention={recipe.attention}: the student writes and learns; set attention=sdpa"
        )


def differs(section: Section, key: str) -> bool:
    """Whether the key was given another value than its default."""
    return bool(getattr(section, key) != type(section).model_fields[key].default)


def plan(recipe: SFTRecipe) -> str:
    """What would be played and who would teach, for `--dry-run`."""
    settings = recipe.onpolicy
    return (
        f"none beforehand: {settings.rounds} rounds of {settings.episodes} episodes, taught by {settings.teacher} "
        f"(profile {settings.profile}, reads {settings.reads})"
    )


@dataclass
class Trained:
    """What `train` returns: the student, adapters merged, its tokenizer, and an entry of figures for each round."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def learn(recipe: SFTRecipe, arguments: SFTConfig, scenarios: Sequence[Scenario]) -> None:
    """`train`, and save the checkpoint with all that it needs. Nothing is prepared: what is learned from is played."""
    done = train(recipe, arguments, scenarios)
    save_checkpoint(
        recipe, done.model, done.tokenizer, done.steps, recipe.onpolicy.episodes * len(done.history), done.history
    )


def train(recipe: SFTRecipe, arguments: SFTConfig, scenarios: Sequence[Scenario]) -> Trained:
    """All rounds, from the last save if there is one. Raises RunError where a round leaves nothing to learn from."""
    settings = recipe.onpolicy
    torch.manual_seed(recipe.seed)
    model: Any
    model, tokenizer = load(recipe.model, dtype=recipe.dtype)
    if recipe.peft:
        model = get_peft_model(model, LoraConfig(**recipe.peft))
    student = LocalModel(model, tokenizer, batch_size=recipe.eval.batch_size)
    teacher, muon = teacher_of(recipe, tokenizer), recipe.optimizer == "muon"
    distiller = Distiller(model, teacher, settings, arguments, muon, recipe.anchor)
    saves = Path(str(arguments.output_dir))
    history = restore(saves, distiller)
    world = recipe_world(recipe, scenarios, Account(recipe.remote), recipe.data.user, recipe.data.judge)
    epochs = int(arguments.num_train_epochs)
    with tqdm(total=settings.rounds * (1 + epochs) * settings.episodes, desc=ENGINE, delay=3) as bar:
        bar.update(len(history) * (1 + epochs) * settings.episodes)
        for number in range(len(history), settings.rounds):
            chosen = turn_of(scenarios, number, settings.episodes, recipe.data.mix)
            seed = stable_seed(ENGINE, recipe.seed, number)
            episodes = run(play_round(chosen, student, world, recipe.data, seed, bar.update))
            pairs, dropped = pairs_of(episodes, student, settings)
            if not any(each.condition == DISCOVERY for each in pairs):
                raise RunError(f"{recipe.run}: round {number + 1} left no dialogue to learn from: {dict(dropped)}")
            begin, end = number / settings.rounds, (number + 1) / settings.rounds
            figures = distiller.learn(pairs, seed, begin, end, bar.update)
            bar.update(epochs * (len(episodes) - len(pairs)))
            late = sum(bool(each.unlearned) for each in pairs)
            entry = {"round": number + 1, **figures_of(episodes), "late": late, "dropped": dict(dropped), **figures}
            bar.write(line(entry))
            history.append(entry)
            save(saves, distiller, history)
    return Trained(model.merge_and_unload() if recipe.peft else model, tokenizer, distiller.steps, history)


def teacher_of(recipe: SFTRecipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel | None:
    """The checkpoint that teaches, None where the teacher is made of the student.

    Raises ConfigError where its tokens are not the student's: their distributions could not be compared.
    """
    name = recipe.onpolicy.teacher
    if name in MADE_OF_STUDENT:
        return None
    model, other = load(name, dtype=recipe.dtype)
    if other.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"{recipe.where('onpolicy.teacher')}: onpolicy.teacher={name}: its tokens are not those of "
            f"model={recipe.model}; choose a teacher with the same tokenizer"
        )
    return model


def pairs_of(
    episodes: Sequence[Played], student: LocalModel, settings: OnPolicyConfig
) -> tuple[list[Pair], Counter[str]]:
    """What can be learned from the episodes, and how many were dropped for which reason."""
    pairs, dropped = [], Counter[str]()
    for played in episodes:
        reason: str | None = fault(played.episode, settings.only_correct)
        if reason is None:
            made = pair(played.episode, played.scenario, student.chat, settings.profile, settings.reads)
            if student.limit is None or len(made.teacher_ids) <= student.limit:
                pairs.append(made)
                continue
        dropped[reason or "too_long"] += 1
    return pairs, dropped


def save(saves: Path, distiller: Distiller, history: Sequence[dict[str, Any]]) -> None:
    """Save a finished round, then remove the saves before it."""
    folder = saves / f"checkpoint-{len(history)}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(distiller.state(), folder / STATE)
        atomic_write(folder / ENTRY, json.dumps({"history": list(history)}, indent=2) + "\n")
        for other in saves.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other)


def restore(saves: Path, distiller: Distiller) -> list[dict[str, Any]]:
    """Continue from the last save that is whole; returns the history so far, empty where there is none."""
    folder = last_save(saves)
    if folder is None:
        return []
    distiller.load_state(torch.load(Path(folder, STATE), map_location="cpu", weights_only=True))
    history: list[dict[str, Any]] = json.loads(Path(folder, ENTRY).read_text(encoding="utf-8"))["history"]
    return history
