"""What a training scenario's episodes are measured by: how the start checkpoint does without and with the preferences.

Both are played once, before the first step, and kept in the run folder, or in one that runs share:

references/episodes.jsonl     baseline and oracle episodes of the training scenarios, as an evaluation writes them
references/references.json    scenario id -> their alignments and the baseline's accuracy, means over the seeds;
                              written last

Where the oracle gains little, or loses, the difference is no scale: it would turn noise into large rewards, and change
their sign. The unit is then `least_gain` alignment points. No scenario is left out for it: more alignment is better
everywhere. Left out are scenarios whose baseline or oracle failed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from omegaconf import OmegaConf

from prefdisco.config import RLRecipe
from prefdisco.evaluate import evaluate_scenarios
from prefdisco.files import RunError, atomic_write, claim, lock
from prefdisco.hashing import digest
from prefdisco.llm.base import Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import run
from prefdisco.llm.remote import Account
from prefdisco.schema import Episode, Scenario
from prefdisco.training.processes import is_main
from prefdisco.world import recipe_world

FOLDER, REFERENCES = "references", "references.json"
CONDITIONS = ("baseline", "oracle")
KEPT = ("baseline", "oracle", "accuracy")
PLAYED = {"temperature", "max_tokens", "user", "judge"}  # of the section rollout: what decides such an episode
MOST_FAILED = 0.05  # of the scenarios; more is a fault of the surroundings


@dataclass(frozen=True)
class Reference:
    """Alignments (1..5) of a scenario's baseline and oracle, the baseline's accuracy (0..1), and `least_gain`."""

    baseline: float
    oracle: float
    accuracy: float = 1.0
    least_gain: float = 1.0

    @property
    def unit(self) -> float:
        """The alignment points that count as one: the attainable gain, at least `least_gain`."""
        return max(self.oracle - self.baseline, self.least_gain)


def folder_of(recipe: RLRecipe) -> Path:
    """Where the references of a recipe are."""
    return Path(recipe.references or Path(recipe.run) / FOLDER)


def prepare(recipe: RLRecipe, scenarios: Sequence[Scenario], weights: str) -> Path:
    """Play what is missing of the references with the recipe's model, named by its `weights`; returns their folder.

    The main rank plays. Raises RunError where too many episodes failed, or the folder holds those of other weights.
    """
    folder = folder_of(recipe)
    if not is_main():
        return folder
    same = digest([each.id for each in scenarios], recipe.reward.reference_seeds)
    settings = {
        "weights": weights,
        "rollout": recipe.rollout.model_dump(mode="json", include=PLAYED),
        "model": recipe.model,
        **({"scenarios": same} if recipe.references else {}),
    }
    with lock(folder, wait=True) if recipe.references else nullcontext():  # the run's own folder is locked
        claim(folder, OmegaConf.to_yaml(OmegaConf.create(settings)), settings)
        if not (folder / REFERENCES).exists():
            play(recipe, scenarios, folder)
    return folder


def play(recipe: RLRecipe, scenarios: Sequence[Scenario], folder: Path) -> None:
    """Play what is missing into `folder`."""
    account = Account(recipe.remote)
    world = recipe_world(recipe, scenarios, account, recipe.rollout.user, recipe.rollout.judge)
    agent = LocalModel(recipe.model, batch_size=recipe.rollout.batch_size, dtype=recipe.eval.dtype)
    sampling = Sampling(temperature=recipe.rollout.temperature, max_tokens=recipe.rollout.max_tokens)
    seeds = recipe.reward.reference_seeds
    episodes = run(
        evaluate_scenarios(
            scenarios, agent, world.user, world.judge, CONDITIONS, seeds, sampling, run_dir=folder, account=account
        )
    )
    found = means(episodes)
    if len(scenarios) - len(found) > MOST_FAILED * len(scenarios):
        first = next(episode.error for episode in episodes if episode.error is not None)
        raise RunError(
            f"{folder}: the references of {len(scenarios) - len(found)} of {len(scenarios)} scenarios failed, the "
            f"first with: {first}; repeat the command to try them again"
        )
    write(folder, found)


def means(episodes: Iterable[Episode]) -> dict[str, Reference]:
    """The reference of each scenario; none for those of which an episode failed."""
    found: dict[str, dict[str, list[Episode]]] = defaultdict(lambda: defaultdict(list))
    failed = set()
    for episode in episodes:
        if episode.error is not None:
            failed.add(episode.scenario_id)
        found[episode.scenario_id][episode.condition].append(episode)
    known = {}
    for name, by in found.items():
        if name not in failed:
            baseline, oracle = (fmean(each.graded_alignment for each in by[condition]) for condition in CONDITIONS)
            known[name] = Reference(baseline, oracle, fmean(float(bool(each.correct)) for each in by["baseline"]))
    return known


def write(folder: Path, known: Mapping[str, Reference]) -> None:
    """Write what `read` reads: the end of the preparation."""
    rows = {name: {key: getattr(each, key) for key in KEPT} for name, each in known.items()}
    atomic_write(folder / REFERENCES, json.dumps(rows) + "\n")


def read(folder: Path, least_gain: float) -> dict[str, Reference]:
    """The references of a prepared folder, by scenario id."""
    rows: dict[str, dict[str, float]] = json.loads((folder / REFERENCES).read_text(encoding="utf-8"))
    return {name: Reference(**row, least_gain=least_gain) for name, row in rows.items()}
