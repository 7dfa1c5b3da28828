"""Reinforcement learning on dialogues, from recipe to checkpoint: what `train/rl.py` calls on every rank.

play the references -> train with TRL's GRPOTrainer; what stands around it is in stages.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed
from trl import GRPOConfig

from prefdisco.config import ConfigError, RLRecipe
from prefdisco.files import writing
from prefdisco.llm.local import load
from prefdisco.llm.remote import Account
from prefdisco.report.curves import save_curves
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Scenario
from prefdisco.training import references, saves
from prefdisco.training.anchor import Anchor
from prefdisco.training.checks import (
    check_candidates,
    check_guess,
    check_model,
    check_objective,
    check_precision,
    check_world,
)
from prefdisco.training.engines import engine_arguments, starting
from prefdisco.training.grpo import DialogueTrainer
from prefdisco.training.multiplier import multiplier
from prefdisco.training.processes import gathered, strategy
from prefdisco.training.references import Reference
from prefdisco.training.replay import Replay, check_replay
from prefdisco.training.rewards import reward_functions, reward_weights
from prefdisco.training.rollouts import Rollouts
from prefdisco.training.stages import conduct, launched, save, trainer_arguments, whole
from prefdisco.training.tracking import RecipeInWandb
from prefdisco.training.watch import Collapse, Watch
from prefdisco.world import World, belief_of, recipe_world

# fields of GRPOConfig that would change nothing, or contradict another section of the recipe
ELSEWHERE = {
    "temperature": "rollout.temperature",
    "max_completion_length": "rollout.max_tokens",
    "reward_weights": "the section reward",
    "eval_strategy": "watch.every",
    "eval_steps": "watch.every",
}
UNUSED = (
    "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "cache_implementation",
    "use_transformers_continuous_batching", "use_transformers_paged", "chat_template_kwargs", "model_init_kwargs",
    "max_tool_calling_iterations", "num_generations_eval", "do_eval", "eval_on_start", "remove_unused_columns",
)  # fmt: skip
# key -> its value, None: any, with which TRL's loss takes one advantage a sequence, none a token
SEQUENCE_ONLY = {"loss_type": "vespo", "off_policy_mask_threshold": None}


def run(recipe: RLRecipe) -> dict[str, Any] | None:
    """The whole recipe. The main rank returns the summary and prints the table, the others return None."""
    launched(recipe)
    settings(recipe)
    training, watched = drawn_scenarios(recipe)
    prepare = partial(references.prepare, recipe, [*training, *watched])
    return conduct(recipe, prepare, partial(train, recipe))


def describe(recipe: RLRecipe) -> str:
    """What `--dry-run` prints after the configuration: what would be loaded, played and written."""
    arguments, (scenarios, watched) = settings(recipe), drawn_scenarios(recipe)
    steps = f"{arguments.max_steps}" if arguments.max_steps > 0 else f"{arguments.num_train_epochs:g} epochs"
    drafts = f", the best of {recipe.rollout.candidates} drafts at each turn" if recipe.rollout.candidates > 1 else ""
    return "\n".join(
        [
            f"model       {recipe.model}",
            f"scenarios   {len(scenarios)} to train on, {recipe.scenarios.eval_limit} to evaluate on",
            f"references  {references.folder_of(recipe)}: baseline and oracle of the training scenarios",
            f"round       {groups(arguments)}{drafts}",
            f"steps       {steps}, {steps_of_round(arguments):g} a round",
            f"watched     {len(watched)} other scenarios" + (f", every {recipe.watch.every} steps" if watched else ""),
            f"run folder  {recipe.run}",
            "memory      not estimated: weights, gradients, optimizer, and the keys and values of live dialogues",
        ]
    )


def drawn_scenarios(recipe: RLRecipe) -> tuple[list[Scenario], list[Scenario]]:
    """The scenarios whose episodes are learned from, and those that are watched: the last ones."""
    wanted, watched = recipe.scenarios, recipe.watch.limit if recipe.watch.every else 0
    found = load_scenarios(wanted.training, wanted.train_limit + watched, wanted.seed)
    training = len(found) - watched
    if training < 1:
        raise ConfigError(
            f"{recipe.where('watch.limit')}: watch.limit: all {len(found)} scenarios would be watched, none is left to "
            "learn from; lower it"
        )
    return found[:training], found[training:]


def groups(arguments: GRPOConfig) -> str:
    """How many episodes are played at a time, in words."""
    batch, each = arguments.generation_batch_size or 0, arguments.num_generations or 1
    return f"{batch // each} scenarios x {each} episodes"


def steps_of_round(arguments: GRPOConfig) -> float:
    """Optimizer steps that learn from the episodes of one round."""
    return (arguments.steps_per_generation or 1) * arguments.num_iterations / arguments.gradient_accumulation_steps


def settings(recipe: RLRecipe) -> GRPOConfig:
    """The trainer's own configuration. Raises ConfigError for what TRL refuses, and for what would train wrongly."""
    for key in recipe.trainer:
        place = f"{recipe.where(f'trainer.{key}')}: trainer.{key}"
        if key in ELSEWHERE:
            raise ConfigError(f"{place}: set {ELSEWHERE[key]} instead")
        if key in UNUSED:
            raise ConfigError(f"{place} has no meaning: dialogues are played by the recipe's own model; remove it")
    check_objective(recipe)
    rollout, every = recipe.rollout, recipe.watch.every
    watched: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_steps": every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "reward",
        "num_generations_eval": 1,
        "eval_on_start": True,
    }
    arguments = trainer_arguments(
        recipe,
        GRPOConfig,
        **(watched if every else {}),
        temperature=rollout.temperature,
        max_completion_length=(rollout.budget + 1) * rollout.max_tokens,  # the divisor of loss_type=dr_grpo
        reward_weights=reward_weights(recipe.reward),
        **engine_arguments(recipe),
    )
    check_model(recipe)
    check_world(recipe, "reward.belief", recipe.reward.belief)
    check_candidates(recipe)
    check_guess(recipe)
    check_replay(recipe)
    check_precision(recipe)
    check_groups(recipe, arguments, recipe.scenarios.train_limit)
    if every % steps_of_round(arguments):
        raise ConfigError(
            f"{recipe.where('watch.every')}: watch.every: {every} is no multiple of the {steps_of_round(arguments):g} "
            "steps that learn from one round of episodes; a save between would not go on as it was"
        )
    if strategy() != "ddp":
        raise ConfigError(f"accelerate: {strategy()}: the model plays its own dialogues and must be whole; use ddp")
    per_token = recipe.reward.information or rollout.candidates > 1
    for key, value in recipe.trainer.items() if per_token else ():
        if key in SEQUENCE_ONLY and value is not None and SEQUENCE_ONLY[key] in (None, value):
            raise ConfigError(
                f"{recipe.where(f'trainer.{key}')}: trainer.{key}={value}: needs one advantage a "
                "sequence; set reward.information=0 rollout.candidates=1"
            )
    if rollout.candidates > 1 and arguments.scale_rewards == "batch":
        raise ConfigError(
            f"{recipe.where('trainer.scale_rewards')}: trainer.scale_rewards=batch: drafts are compared with each "
            "other, in no batch; choose group or none"
        )
    return arguments


def check_groups(recipe: RLRecipe, arguments: GRPOConfig, scenarios: int) -> None:
    """Raise ConfigError where there are too few scenarios to play together: the trainer would do no step."""
    wanted = (arguments.generation_batch_size or 0) // (arguments.num_generations or 1)
    if wanted > scenarios:
        raise ConfigError(
            f"{recipe.where('scenarios.train_limit')}: scenarios.train_limit: {scenarios} scenarios are fewer than the "
            f"{wanted} that are played together; raise it, or lower trainer.per_device_train_batch_size or "
            "trainer.gradient_accumulation_steps"
        )


def train(recipe: RLRecipe, folder: Path) -> None:
    """Train on every rank, from the last save if there is one, and save the checkpoint with all that it needs: of the
    save that was best on the watched scenarios, if there are such.

    `folder` holds the references.
    """
    with starting(recipe):
        trainer = trainer_of(recipe, references.read(folder, recipe.reward.least_gain))
    with writing(Path(recipe.run)):
        saves.train(trainer)
    weights = gathered(trainer)
    if trainer.is_world_process_zero():
        history = [entry for entry in trainer.state.log_history if "reward" in entry or "eval_reward" in entry]
        save_curves(Path(recipe.run) / "figures", history)
        arguments: Any = trainer.args  # a GRPOConfig, whatever transformers says
        steps = trainer.state.global_step
        episodes = ceil(steps / steps_of_round(arguments)) * arguments.generation_batch_size
        kept = {"kept_step": trainer.state.best_global_step or steps, "stopped": trainer.stopped}
        tokenizer = load(recipe.model, device="cpu", dtype=recipe.dtype)[1]  # TRL gave the other a padding token
        save(recipe, whole(recipe, weights), tokenizer, steps, episodes, history, kept)
    trainer.accelerator.wait_for_everyone()


def trainer_of(recipe: RLRecipe, known: Mapping[str, Reference], world: World | None = None) -> DialogueTrainer:
    """The trainer of a recipe, on the scenarios that have `known` references; `world` is the recipe's own."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func: the version of TRL is pinned
    set_seed(recipe.seed)
    arguments, (scenarios, watched), settled = settings(recipe), drawn_scenarios(recipe), recipe.rollout
    model, tokenizer = load(recipe.model, device="cpu", dtype=recipe.dtype)
    world = world or recipe_world(recipe, scenarios, Account(recipe.remote), settled.user, settled.judge)
    belief = belief_of(recipe.reward.belief, scenarios, scenarios, "reward.belief")
    rollouts = Rollouts(recipe, scenarios, known, world, belief)
    check_groups(recipe, arguments, len(rollouts.scenarios))
    prompts = rollouts.prompts()
    constraint = multiplier(recipe.constraint, [known[name] for name in rollouts.scenarios])
    watch = Watch(recipe, watched, known, world, constraint.floor if constraint else None) if watched else None
    callbacks = [RecipeInWandb(recipe), *([constraint] if constraint else []), Collapse(recipe.watch)]
    return DialogueTrainer(
        model=model,
        args=arguments,
        reward_funcs=reward_functions(recipe.reward),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:1]) if watch else None,  # TRL wants one; the watch has its own
        processing_class=tokenizer,
        rollout_func=rollouts,
        peft_config=LoraConfig(**recipe.peft) if recipe.peft else None,
        optimizer=recipe.optimizer,
        reward=recipe.reward,
        drafted=recipe.rollout.candidates > 1,
        multiplier=constraint,
        watch=watch,
        replay=Replay(recipe, tokenizer) if recipe.replay.weight else None,
        callbacks=[*callbacks, *([Anchor(model, recipe.anchor)] if recipe.anchor else [])],
    )
