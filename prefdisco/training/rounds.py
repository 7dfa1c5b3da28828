"""A round of thought preference optimization: play, make pairs, learn from them with DPO.

RUN/rounds/N/dialogues-P.jsonl  the dialogues that process P played, with all their final turns, as they end; none that
                                failed
RUN/rounds/N/played.json        how the playing went; written when it is over
RUN/rounds/N/checkpoint/        the weights after the round; those of the last round only
RUN/rounds/N/round.json         the round's entry in the history; written last
RUN/trainer/round-N/            the trainer's saves, until the round is over

A run that is killed goes on with the last of these that is complete. The reference model of a round is the model that
it started from, and its optimizer and learning rate start anew.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, set_seed
from trl import DPOConfig

from prefdisco.config import ConfigError, RLRecipe
from prefdisco.files import RunError, append_line, atomic_write, read_complete_lines, writing
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Sampling
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.llm.local import LocalModel, load
from prefdisco.llm.loops import run, side_by_side
from prefdisco.schema import Scenario, parse_line
from prefdisco.training import saves
from prefdisco.training.dpo import PairTrainer
from prefdisco.training.finals import Group, group_of
from prefdisco.training.preferences import Preference, figures_of, pairs_of
from prefdisco.training.processes import collected, gathered
from prefdisco.training.references import Reference
from prefdisco.training.rollouts import MOST_FAILED
from prefdisco.training.stages import whole
from prefdisco.training.tracking import RecipeInWandb
from prefdisco.world import World

DIALOGUES, PLAYED, CHECKPOINT, ENTRY = "dialogues", "played.json", "checkpoint", "round.json"


@dataclass(frozen=True)
class Players:
    """Who plays a round besides the model: the scenarios to choose from, their references, and the world."""

    scenarios: Sequence[Scenario]
    references: Mapping[str, Reference]
    world: World


def folder_of(recipe: RLRecipe, number: int) -> Path:
    """The folder of round `number`, from 0; they are named from 1."""
    return Path(recipe.run) / "rounds" / str(number + 1)


def finished(recipe: RLRecipe) -> list[dict[str, Any]]:
    """The entries of the rounds that are over."""
    entries: list[dict[str, Any]] = []
    while (path := folder_of(recipe, len(entries)) / ENTRY).exists():
        entries.append(json.loads(path.read_text(encoding="utf-8")))
    return entries


def play_and_learn(
    recipe: RLRecipe, number: int, players: Players, arguments: DPOConfig, watching: Sequence[TrainerCallback]
) -> dict[str, Any]:
    """Round `number`, from 0, on every rank, from where it stopped; returns its entry. The weights are in its folder.

    Raises RunError where most dialogues failed, or none left a pair.
    """
    folder, before = folder_of(recipe, number), folder_of(recipe, number - 1) / CHECKPOINT
    start = recipe.model_copy(update={"model": str(before)}) if number else recipe
    set_seed(recipe.seed)
    model, tokenizer = load(start.model, dtype=recipe.dtype)
    state = PartialState()
    over = (folder / PLAYED).exists()
    groups = dialogues(folder) if over else play_round(recipe, number, players, model, tokenizer)
    pairs = pairs_of(groups, recipe.tpo.rho)[0]
    arguments.output_dir = str(Path(str(arguments.output_dir)) / f"round-{number + 1}")
    trainer = trainer_of(recipe, model, tokenizer, pairs, arguments, watching)
    with writing(Path(recipe.run)):
        saves.train(trainer)
    weights = gathered(trainer)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    played = json.loads((folder / PLAYED).read_text(encoding="utf-8"))
    entry = {"round": number + 1, **played, "steps": trainer.state.global_step, "log": log}
    if state.is_main_process:
        with writing(folder):
            whole(start, weights).save_pretrained(folder / CHECKPOINT)
            load(start.model, device="cpu", dtype=recipe.dtype)[1].save_pretrained(folder / CHECKPOINT)
        atomic_write(folder / ENTRY, json.dumps(entry, indent=2) + "\n")
        tqdm.write(line(entry))
        for old in (before, Path(arguments.output_dir)):
            shutil.rmtree(old, ignore_errors=True)
    trainer.accelerator.free_memory()  # of this round's model and optimizer, which refer to each other
    state.wait_for_everyone()
    return entry


def trainer_of(
    recipe: RLRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Preference],
    arguments: DPOConfig,
    watching: Sequence[TrainerCallback] = (),
) -> PairTrainer:
    """The trainer of a round that starts from `model`, which is its reference too: as a copy, without the adapters, or
    by log-probabilities computed beforehand. Raises ConfigError for settings that TRL refuses only now."""
    needed = not (recipe.peft or arguments.precompute_ref_log_probs)
    try:
        return PairTrainer(
            model=model,
            ref_model=copy.deepcopy(model).requires_grad_(False) if needed else None,
            args=arguments,
            train_dataset=Dataset.from_list([row(pair) for pair in pairs]),
            processing_class=copy.deepcopy(tokenizer),  # TRL may give it a padding token
            peft_config=LoraConfig(**recipe.peft) if recipe.peft else None,
            optimizer=recipe.optimizer,
            callbacks=[RecipeInWandb(recipe), *watching],
        )
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"{recipe.where('trainer')}: trainer: {str(error).partition(chr(10))[0]}") from None


def row(pair: Preference) -> dict[str, list[int]]:
    """A pair as DPOTrainer's collator takes it."""
    return {"prompt_ids": pair.prompt_ids, "chosen_ids": pair.chosen.ids, "rejected_ids": pair.rejected.ids}


def dialogues(folder: Path) -> list[Group]:
    """The dialogues of a round that were played without a failure, by their places. Raises DataError."""
    found = [
        parse_line(line, Group, f"{path}:{number}")
        for path in sorted(folder.glob(f"{DIALOGUES}-*.jsonl"))
        for number, line in enumerate(read_complete_lines(path), 1)
    ]
    return sorted(found, key=lambda group: group.place)


def play_round(
    recipe: RLRecipe, number: int, players: Players, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> list[Group]:
    """Play what is missing of round `number`, each process its share; returns all of it on every process."""
    state, folder = PartialState(), folder_of(recipe, number)
    count, before = recipe.tpo.episodes // recipe.tpo.samples, dialogues(folder)
    state.wait_for_everyone()  # all have read the same
    missing = sorted({*range(count)} - {group.place for group in before})
    mine = missing[state.process_index :: state.num_processes]
    agent = LocalModel(model, tokenizer, recipe.rollout.batch_size)
    try:
        own = run(play_groups(recipe, number, players, agent, mine))
    except SpendingCapReached as error:
        raise RunError(f"{error}; raise remote.max_usd and repeat the command") from None
    everyone = collected(own)
    groups = sorted([*before, *everyone], key=lambda group: group.place)
    failed = [group.error for group in groups if group.dropped == "error"]
    place = f"{recipe.run}: round {number + 1}"
    if len(failed) > MOST_FAILED * count:
        raise RunError(
            f"{place}: {len(failed)} of {count} dialogues failed, the first with: {failed[0]}; repeat the command to "
            "play those that failed again"
        )
    pairs, left_out = pairs_of(groups, recipe.tpo.rho)
    if not pairs:
        raise RunError(
            f"{place} left no pair to learn from: of {count} dialogues {dict(left_out)}; raise tpo.episodes or "
            "rollout.temperature, in another run folder"
        )
    if state.is_main_process:
        figures = {"episodes": recipe.tpo.episodes, **figures_of(groups, pairs, left_out)}
        atomic_write(folder / PLAYED, json.dumps(figures, indent=2) + "\n")
    state.wait_for_everyone()
    return groups


async def play_groups(
    recipe: RLRecipe, number: int, players: Players, agent: LocalModel, places: Sequence[int]
) -> list[Group]:
    """The dialogues at these places of round `number`, written as they end.

    Rounds go through the scenarios one after another.
    """
    path = folder_of(recipe, number) / f"{DIALOGUES}-{PartialState().process_index}.jsonl"
    settings, tpo = recipe.rollout, recipe.tpo
    sampling = Sampling(temperature=settings.temperature, top_p=tpo.top_p, max_tokens=settings.max_tokens)
    first = number * (tpo.episodes // tpo.samples)
    found: list[Group] = []

    async def one(place: int) -> None:
        scenario = players.scenarios[(first + place) % len(players.scenarios)]
        seed = stable_seed("tpo", recipe.seed, number, place)
        group = await group_of(
            scenario, agent, players.world, players.references[scenario.id], recipe.reward,
            sampling, seed, settings.budget, tpo.samples, place,
        )  # fmt: skip
        found.append(group)
        if group.dropped != "error":
            append_line(path, group.model_dump_json())
        bar.update()

    with tqdm(total=len(places), desc=f"round {number + 1}", delay=3) as bar:
        await side_by_side(one(place) for place in places)
    return found


def line(entry: Mapping[str, Any]) -> str:
    """One round for a log."""
    log = entry["log"][-1] if entry["log"] else {}
    parts = [
        f"score {entry['score']:.2f}, accuracy {100 * entry['accuracy']:.1f}%, alignment {entry['alignment']:.2f}, "
        f"{entry['questions']:.1f} questions",
        f"{entry['pairs']} pairs of {entry['dialogues']} dialogues, left out {sum(entry['left_out'].values())}",
        f"chosen {entry['chosen_score']:.2f} and {entry['chosen_length']:.0f} characters, rejected "
        f"{entry['rejected_score']:.2f} and {entry['rejected_length']:.0f}",
        *(f"{name} {log[f'rewards/{name}']:.3f}" for name in ("margins", "accuracies") if f"rewards/{name}" in log),
    ]
    return f"round {entry['round']}: {'; '.join(parts)}"
