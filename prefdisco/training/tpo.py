"""Thought preference optimization, from recipe to checkpoint: what `train/rl.py` calls for objective=tpo.

    play the references -> rounds of (play dialogues that end in several ways -> pairs -> TRL's DPOTrainer)

TPO (arXiv 2410.10630) on dialogues: thinking is learned from what the response is worth, and no judge sees it. What a
dialogue's final turns are is in finals.py, what makes a pair in preferences.py, a round in rounds.py; what stands
around it all is in stages.py.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import DPOConfig

from prefdisco.config import ConfigError, RLRecipe
from prefdisco.llm.local import load
from prefdisco.llm.remote import Account
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Scenario
from prefdisco.training import references, rounds
from prefdisco.training.anchor import Anchor
from prefdisco.training.checks import check_guess, check_model, check_objective, check_precision, check_world
from prefdisco.training.processes import strategy
from prefdisco.training.stages import conduct, launched, save, trainer_arguments
from prefdisco.world import recipe_world

# fields of DPOConfig that would change nothing, or contradict what is learned from and what the reference is
UNUSED = (
    "model_init_kwargs", "dataset_num_proc", "max_length", "truncation_mode", "padding_free", "pad_token",
    "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps", "eval_strategy", "do_eval",
    "remove_unused_columns",
)  # fmt: skip
LOSSES = (  # of TRL 1.16, which looks at the name when the first batch is there
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip


def run(recipe: RLRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    launched(recipe)
    settings(recipe)
    prepare = partial(references.prepare, recipe, training_scenarios(recipe))
    return conduct(recipe, prepare, partial(train, recipe))


def describe(recipe: RLRecipe) -> str:
    """What `--dry-run` prints after the configuration: what would be loaded, played and written."""
    settings(recipe)
    scenarios, episodes = training_scenarios(recipe), recipe.tpo.rounds * recipe.tpo.episodes
    return "\n".join(
        [
            f"model       {recipe.model}",
            f"scenarios   {len(scenarios)} to train on, {recipe.scenarios.eval_limit} to evaluate on",
            f"references  {references.folder_of(recipe)}: baseline and oracle of the training scenarios",
            f"rounds      {plan(recipe)}",
            f"episodes    {recipe.tpo.episodes} a round, {episodes} in all",
            f"run folder  {recipe.run}",
            "memory      not estimated: the model and its start of the round, gradients, optimizer",
        ]
    )


def training_scenarios(recipe: RLRecipe) -> list[Scenario]:
    """The scenarios whose dialogues are played."""
    wanted = recipe.scenarios
    return load_scenarios(wanted.training, wanted.train_limit, wanted.seed)


def plan(recipe: RLRecipe) -> str:
    """What is played, in words."""
    tpo = recipe.tpo
    return f"{tpo.rounds} rounds of {tpo.episodes // tpo.samples} dialogues x {tpo.samples} final turns"


def settings(recipe: RLRecipe) -> DPOConfig:
    """The trainer's own configuration. Raises ConfigError for what TRL refuses, and for what would train wrongly."""
    check_objective(recipe)
    check_guess(recipe)
    for key in recipe.trainer:
        if key in UNUSED:
            raise ConfigError(
                f"{recipe.where(f'trainer.{key}')}: trainer.{key} has no meaning: pairs are learned from whole and as "
                "recorded, against the weights that the round started from; remove it"
            )
    arguments = trainer_arguments(recipe, DPOConfig, max_length=None)
    for name in arguments.loss_type:
        if name not in LOSSES:
            place = f"{recipe.where('trainer.loss_type')}: trainer.loss_type={name}"
            raise ConfigError(f"{place}: expected some of {', '.join(LOSSES)}")
    check_model(recipe)
    check_world(recipe, "", "")
    check_precision(recipe)
    check_rounds(recipe)
    if strategy() != "ddp":
        raise ConfigError(f"accelerate: {strategy()}: the model plays its own dialogues and must be whole; use ddp")
    return arguments


def check_rounds(recipe: RLRecipe) -> None:
    """Raise ConfigError where the episodes of a round are no whole dialogues, or more than there are scenarios."""
    tpo, most = recipe.tpo, recipe.scenarios.train_limit
    place = f"{recipe.where('tpo.episodes')}: tpo.episodes={tpo.episodes}"
    if tpo.episodes % tpo.samples:
        raise ConfigError(f"{place}: expected a multiple of tpo.samples={tpo.samples}, the final turns of a dialogue")
    if tpo.episodes // tpo.samples > most:
        raise ConfigError(
            f"{place}: are {tpo.episodes // tpo.samples} dialogues, and there are only scenarios.train_limit={most} "
            "scenarios to play; lower it, or raise scenarios.train_limit"
        )


def train(recipe: RLRecipe, folder: Path) -> None:
    """All rounds on every rank, from the last save if there is one, and the checkpoint with all that it needs.

    `folder` holds the references.
    """
    known = references.read(folder, recipe.reward.least_gain)
    scenarios = training_scenarios(recipe)
    settled = recipe.rollout
    world = recipe_world(recipe, scenarios, Account(recipe.remote), settled.user, settled.judge)
    players = rounds.Players([each for each in scenarios if each.id in known], known, world)
    watching = [Anchor(load(recipe.model, device="cpu", dtype=recipe.dtype)[0], recipe.anchor)] if recipe.anchor else []
    history = rounds.finished(recipe)
    for number in range(len(history), recipe.tpo.rounds):
        history.append(rounds.play_and_learn(recipe, number, players, settings(recipe), watching))
    state = PartialState()
    if state.is_main_process:
        last = rounds.folder_of(recipe, recipe.tpo.rounds - 1) / rounds.CHECKPOINT
        model, tokenizer = load(str(last), device="cpu", dtype=recipe.dtype)
        steps, episodes = (sum(entry[name] for entry in history) for name in ("steps", "episodes"))
        save(recipe, model, tokenizer, steps, episodes, history)
        shutil.rmtree(last)  # the run has it
    state.wait_for_everyone()
