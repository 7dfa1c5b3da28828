"""What a training scenario's episodes are measured by: how the start checkpoint does without and with the preferences.

Both are played once, before the first step, and kept in the run folder:

references/episodes.jsonl     baseline and oracle episodes of the training scenarios, as an evaluation writes them
references/alignments.json    scenario id -> [baseline, oracle], means over the seeds; written last

Where the oracle gains little, or loses, the difference is no scale: it would turn noise into large rewards, and change
their sign. The unit is then `least_gain` alignment points. No scenario is left out for it: more alignment is better
everywhere. Left out are scenarios whose baseline or oracle failed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from prefdisco.config import RLRecipe
from prefdisco.evaluate import evaluate_scenarios
from prefdisco.files import RunError, atomic_write, claim
from prefdisco.llm.base import Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import run
from prefdisco.llm.remote import Account
from prefdisco.schema import Episode, Scenario
from prefdisco.world import recipe_world

FOLDER, ALIGNMENTS = "references", "alignments.json"
CONDITIONS = ("baseline", "oracle")
MOST_FAILED = 0.05  # of the scenarios; more is a fault of the surroundings


@dataclass(frozen=True)
class Reference:
    """Alignments (1..5) of a scenario's baseline and oracle, and the alignment points that count as one."""

    baseline: float
    oracle: float
    least_gain: float = 1.0

    @property
    def unit(self) -> float:
        """The attainable gain, at least `least_gain`."""
        return max(self.oracle - self.baseline, self.least_gain)


def prepare(recipe: RLRecipe, scenarios: Sequence[Scenario], weights: str) -> Path:
    """Play what is missing of the references with the recipe's model, named by its `weights`; returns their folder.

    Raises RunError where too many episodes failed, or the folder holds those of other weights.
    """
    folder = Path(recipe.run) / FOLDER
    settings = {"weights": weights, "rollout": recipe.rollout.model_dump(mode="json"), "model": recipe.model}
    claim(folder, OmegaConf.to_yaml(OmegaConf.create(settings)), settings)
    if (folder / ALIGNMENTS).exists():
        return folder
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
    atomic_write(folder / ALIGNMENTS, json.dumps(found) + "\n")
    return folder


def means(episodes: Iterable[Episode]) -> dict[str, list[float]]:
    """Scenario id -> mean alignment of baseline and of oracle; without scenarios of which an episode failed."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    failed = set()
    for episode in episodes:
        if episode.error is not None:
            failed.add(episode.scenario_id)
        else:
            scores[episode.scenario_id][episode.condition].append(episode.graded_alignment)
    return {
        name: [fmean(by[condition]) for condition in CONDITIONS] for name, by in scores.items() if name not in failed
    }


def read(folder: Path, least_gain: float) -> dict[str, Reference]:
    """The references of a prepared folder, by scenario id."""
    found: dict[str, Any] = json.loads((folder / ALIGNMENTS).read_text(encoding="utf-8"))
    return {name: Reference(baseline, oracle, least_gain) for name, (baseline, oracle) in found.items()}
