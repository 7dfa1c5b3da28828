"""Training data on disk: made once for everything that it depends on, resumed where a kill left it, with a data card.

runs/data/<hash>/outcomes*.jsonl   one line a scenario, in the order of completion; a file for each process that wrote
runs/data/<hash>/card.md           what is in it, and what each filter took

Recipes that differ in what they teach share it (engine/teaching.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

import prefdisco
from prefdisco.config import SFTRecipe
from prefdisco.engine.card import card
from prefdisco.engine.dialogues import ScenarioFailed
from prefdisco.engine.outcomes import Outcome, summary_of
from prefdisco.engine.selfdistill import SelfDistill, unmade
from prefdisco.files import RunError, append_line, atomic_write, read_complete_lines
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
    play, data = recipe.eval, recipe.data.model_dump(mode="json", exclude={"seed"})
    scenarios = [recipe.scenarios.training, recipe.scenarios.train_limit, recipe.scenarios.seed]
    parts = [recipe.data.user or play.user, play.variant, recipe.data.judge or play.judge, play.judge_mode]
    made_of = [prefdisco.__version__, fingerprint, scenarios, parts, data, recipe.data_seed]
    return Path(recipe.run).parent / "data" / digest(to_json(made_of))


def shareable(recipe: SFTRecipe) -> bool:
    """Whether several processes can each write a share: nothing is asked elsewhere, where calls run side by side anyway
    and one account keeps `remote.max_usd`."""
    user, judge = recipe.data.user or recipe.eval.user, recipe.data.judge or recipe.eval.judge
    return not recipe.data.writer and not any("/" in name for name in (user, judge))


def missing(scenarios: Sequence[Scenario], folder: Path) -> list[str]:
    """The ids of the scenarios of which `folder` has no outcome."""
    done = {outcome.scenario_id for outcome in read(folder)}
    return [scenario.id for scenario in scenarios if scenario.id not in done]


def make(
    recipe: SFTRecipe,
    model: LocalModel,
    scenarios: Sequence[Scenario],
    mine: Sequence[Scenario],
    folder: Path,
    rank: int = 0,
) -> list[Outcome]:
    """Append the outcomes of `mine`, some of the `scenarios`, to the file of this `rank`; returns those that failed.

    `model` writes, or, with `data.writer`, only lends its tokens. Behind the first `scenarios.train_limit`, only
    interviews are made.

    Raises RunError for a spending cap reached; ConfigError for parts that do not go together.
    """
    account = Account(recipe.remote)
    world = recipe_world(recipe, scenarios, account, recipe.data.user, recipe.data.judge)
    served = recipe.data.writer
    writer = load_model(served, "agent", recipe.remote, account=account) if served else model
    engine = SelfDistill(writer, model.chat, world, recipe.data, recipe.data_seed)
    whole = {scenario.id for scenario in scenarios[: recipe.scenarios.train_limit]}
    failed: list[Outcome] = []
    if mine:
        path = folder / (f"outcomes-{rank}.jsonl" if rank else OUTCOMES)
        bar = tqdm(total=len(mine), desc="data", delay=3, disable=rank > 0)
        with bar:
            run(_make(engine, mine, whole, path, failed, bar, account))
    return failed


async def _make(
    engine: SelfDistill,
    mine: Sequence[Scenario],
    whole: Collection[str],
    path: Path,
    failed: list[Outcome],
    bar: tqdm[NoReturn],
    account: Account,
) -> None:
    """Append the outcomes of `mine` to `path`, of those not in `whole` the interview alone; or put into `failed`."""

    async def one(scenario: Scenario) -> None:
        try:
            made = await (engine.run(scenario) if scenario.id in whole else engine.interview(scenario))
        except SpendingCapReached as error:
            raise RunError(
                f"{error}; {bar.n} of {bar.total} missing scenarios are done and kept: raise remote.max_usd and "
                "repeat the command"
            ) from None
        except ScenarioFailed as error:
            failed.append(unmade(scenario, str(error)))
        else:
            append_line(path, made.model_dump_json())
        if usd := sum(usage.usd for usage in account.usage.values()):
            bar.set_postfix_str(f"${usd:.2f}", refresh=False)
        bar.update()

    await side_by_side(one(scenario) for scenario in mine)


def complete(recipe: SFTRecipe, scenarios: Sequence[Scenario], folder: Path, failed: Sequence[Outcome]) -> None:
    """Write the data card, and the counts that say that all is there.

    Scenarios that `failed`, as where a user's server does, are tried again by the next run; a few are left out.
    Raises RunError where more than MOST_FAILED of the scenarios failed, and where no trace survived.
    """
    done = {outcome.scenario_id: outcome for outcome in [*read(folder), *failed]}
    outcomes = [done[scenario.id] for scenario in scenarios]
    if len(failed) > MOST_FAILED * len(outcomes):
        raise RunError(
            f"{folder}: {len(failed)} of {len(outcomes)} scenarios failed, the first with: {failed[0].error}; "
            "repeat the command to try them again"
        )
    counts = summary_of(outcomes)
    atomic_write(folder / CARD, card(recipe, counts))
    if not counts["survived"]:
        raise RunError(f"{folder}: no trace survived the filters; see {CARD}, and try data.margin or data.samples")
    atomic_write(folder / COUNTS, json.dumps(counts, indent=2) + "\n")  # last: it says that all is there


def read(folder: Path) -> list[Outcome]:
    """The outcomes of a data folder, sorted by scenario: the same list on every rank and after every resume."""
    found = [
        parse_line(line, Outcome, f"{path}:{number}")
        for path in sorted(folder.glob("outcomes*.jsonl"))
        for number, line in enumerate(read_complete_lines(path), 1)
    ]
    return sorted(found, key=lambda outcome: outcome.scenario_id)
