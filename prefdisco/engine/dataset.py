"""Training data on disk: made once for everything that it depends on, resumed where a kill left it, with a data card.

runs/data/<hash>/outcomes.jsonl   one line a scenario, in the order of completion
runs/data/<hash>/card.md          what is in it, and what each filter took

Recipes that differ in what they teach share it (engine/teaching.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import prefdisco
from prefdisco.config import SFTRecipe
from prefdisco.engine.card import card
from prefdisco.engine.outcomes import Outcome, summary_of
from prefdisco.engine.selfdistill import SelfDistill
from prefdisco.files import RunError, append_line, atomic_write, lock, read_complete_lines
from prefdisco.hashing import digest
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import run, side_by_side
from prefdisco.schema import Scenario, parse_line, to_json
from prefdisco.world import world_of

OUTCOMES, CARD, COUNTS = "outcomes.jsonl", "card.md", "counts.json"


def data_folder(recipe: SFTRecipe, fingerprint: str) -> Path:
    """Where this recipe's data lives: beside the run folder, under a hash of all that decides its content.

    `fingerprint` names the weights that write the data.
    """
    scenarios = {
        "source": recipe.scenarios.source,
        "limit": recipe.scenarios.train_limit,
        "seed": recipe.scenarios.seed,
    }
    made_of = [prefdisco.__version__, fingerprint, scenarios, recipe.data.model_dump(mode="json"), recipe.seed]
    return Path(recipe.run).parent / "data" / digest(to_json(made_of))


def generate(recipe: SFTRecipe, model: LocalModel, scenarios: Sequence[Scenario], folder: Path) -> list[Outcome]:
    """The outcome of every scenario, in the order of `scenarios`; those found in `folder` are not made again.

    Behind the first `scenarios.train_limit`, only interviews are made.

    Writes the data card when all are there. Raises RunError for a folder that cannot be written or is in use.
    """
    with lock(folder):
        path = folder / OUTCOMES
        done = {outcome.scenario_id: outcome for outcome in read(folder)}
        missing = [scenario for scenario in scenarios if scenario.id not in done]
        if missing:
            run(_make(recipe, model, scenarios, missing, path, done))
        outcomes = [done[scenario.id] for scenario in scenarios]
        counts = summary_of(outcomes)
        atomic_write(folder / CARD, card(recipe, counts))
        if not counts["survived"]:
            raise RunError(f"{folder}: no trace survived the filters; see {CARD}, and try data.margin or data.samples")
        atomic_write(folder / COUNTS, json.dumps(counts, indent=2) + "\n")  # last: it says that all is there
    return outcomes


async def _make(
    recipe: SFTRecipe,
    model: LocalModel,
    scenarios: Sequence[Scenario],
    missing: Sequence[Scenario],
    path: Path,
    done: dict[str, Outcome],
) -> None:
    whole = {scenario.id for scenario in scenarios[: recipe.scenarios.train_limit]}
    engine = SelfDistill(model, world_of(scenarios), recipe.data, recipe.seed)
    with tqdm(total=len(scenarios), initial=len(done), desc="data", delay=3) as bar:

        async def one(scenario: Scenario) -> None:
            outcome = await (engine.run(scenario) if scenario.id in whole else engine.interview(scenario))
            append_line(path, outcome.model_dump_json())
            done[scenario.id] = outcome
            bar.update()

        await side_by_side(one(scenario) for scenario in missing)


def read(folder: Path) -> list[Outcome]:
    """The outcomes of a data folder, sorted by scenario: the same list on every rank and after every resume."""
    path = folder / OUTCOMES
    lines = enumerate(read_complete_lines(path), 1)
    return sorted(
        (parse_line(line, Outcome, f"{path}:{number}") for number, line in lines), key=lambda o: o.scenario_id
    )
