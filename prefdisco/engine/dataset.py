"""Training data on disk: made once for everything that it depends on, resumed where a kill left it, with a data card.

runs/data/<hash>/outcomes.jsonl   one line a scenario, in the order of completion
runs/data/<hash>/card.md          what is in it, and what each filter took

Recipes that differ in what they teach share it (engine/teaching.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from tqdm import tqdm

import prefdisco
from prefdisco.config import SFTRecipe
from prefdisco.engine.card import card
from prefdisco.engine.dialogues import ScenarioFailed
from prefdisco.engine.outcomes import Outcome, summary_of
from prefdisco.engine.selfdistill import SelfDistill, unmade
from prefdisco.files import RunError, append_line, atomic_write, lock, read_complete_lines
from prefdisco.hashing import digest
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import run, side_by_side
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.schema import Scenario, parse_line, to_json
from prefdisco.world import recipe_world

OUTCOMES, CARD, COUNTS = "outcomes.jsonl", "card.md", "counts.json"
MOST_FAILED = 0.05  # of the scenarios; more is a fault of the surroundings, not of the scenarios


def data_folder(recipe: SFTRecipe, fingerprint: str) -> Path:
    """Where this recipe's data lives: beside the run folder, under a hash of all that decides its content.

    `fingerprint` names the weights that write the data.
    """
    play = recipe.eval
    scenarios = [recipe.scenarios.training, recipe.scenarios.train_limit, recipe.scenarios.seed]
    parts = [recipe.data.user or play.user, play.variant, recipe.data.judge or play.judge, play.judge_mode]
    made_of = [prefdisco.__version__, fingerprint, scenarios, parts, recipe.data.model_dump(mode="json"), recipe.seed]
    return Path(recipe.run).parent / "data" / digest(to_json(made_of))


def generate(recipe: SFTRecipe, model: LocalModel, scenarios: Sequence[Scenario], folder: Path) -> list[Outcome]:
    """The outcome of every scenario, in the order of `scenarios`; those found in `folder` are not made again.

    `model` writes, or, with `data.writer`, only lends its tokens. Behind the first `scenarios.train_limit`, only
    interviews are made. Scenarios that fail, as where a user's server does, are tried again by the next run; a few
    are left out. Writes the data card when all are there.

    Raises RunError for a folder that cannot be written or is in use, for a spending cap reached, where more than
    MOST_FAILED of the scenarios failed, and where no trace survived; ConfigError for parts that do not go together.
    """
    with lock(folder):
        account = Account(recipe.remote)
        world = recipe_world(recipe, scenarios, account, recipe.data.user, recipe.data.judge)
        served = recipe.data.writer
        writer = load_model(served, "agent", recipe.remote, account=account) if served else model
        engine = SelfDistill(writer, model.chat, world, recipe.data, recipe.seed)
        done = {outcome.scenario_id: outcome for outcome in read(folder)}
        if missing := [scenario for scenario in scenarios if scenario.id not in done]:
            whole = {scenario.id for scenario in scenarios[: recipe.scenarios.train_limit]}
            run(_make(engine, missing, whole, folder / OUTCOMES, done, len(scenarios), account))
        outcomes = [done[scenario.id] for scenario in scenarios]
        failed = [outcome.error for outcome in outcomes if outcome.error is not None]
        if len(failed) > MOST_FAILED * len(outcomes):
            raise RunError(
                f"{folder}: {len(failed)} of {len(outcomes)} scenarios failed, the first with: {failed[0]}; "
                "repeat the command to try them again"
            )
        counts = summary_of(outcomes)
        atomic_write(folder / CARD, card(recipe, counts))
        if not counts["survived"]:
            raise RunError(f"{folder}: no trace survived the filters; see {CARD}, and try data.margin or data.samples")
        atomic_write(folder / COUNTS, json.dumps(counts, indent=2) + "\n")  # last: it says that all is there
    return outcomes


async def _make(
    engine: SelfDistill,
    missing: Sequence[Scenario],
    whole: Collection[str],
    path: Path,
    done: dict[str, Outcome],
    total: int,
    account: Account,
) -> None:
    """Make what is missing, the interview alone of what is not in `whole`; appended to `path` and put into `done`."""
    with tqdm(total=total, initial=len(done), desc="data", delay=3) as bar:

        async def one(scenario: Scenario) -> None:
            try:
                made = await (engine.run(scenario) if scenario.id in whole else engine.interview(scenario))
            except SpendingCapReached as error:
                raise RunError(
                    f"{error}; {len(done)} of {total} scenarios are done and kept: raise remote.max_usd and repeat the "
                    "command"
                ) from None
            except ScenarioFailed as error:
                made = unmade(scenario, str(error))
            else:
                append_line(path, made.model_dump_json())
            done[scenario.id] = made
            if usd := sum(usage.usd for usage in account.usage.values()):
                bar.set_postfix_str(f"${usd:.2f}", refresh=False)
            bar.update()

        await side_by_side(one(scenario) for scenario in missing)


def read(folder: Path) -> list[Outcome]:
    """The outcomes of a data folder, sorted by scenario: the same list on every rank and after every resume."""
    path = folder / OUTCOMES
    lines = enumerate(read_complete_lines(path), 1)
    return sorted(
        (parse_line(line, Outcome, f"{path}:{number}") for number, line in lines), key=lambda o: o.scenario_id
    )
