"""Training data that several processes write: a file each, and a run of any number of them goes on with all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefdisco.config import SFTRecipe, load
from prefdisco.engine.dataset import COUNTS, data_folder, make, missing, read, shareable
from prefdisco.llm.local import LocalModel
from prefdisco.training import sft

WORDS = ["recipe=selfdistill", "scenarios.train_limit=6", "data.interviews=3", "data.samples=1"]


def recipe(*words: str) -> SFTRecipe:
    return load(SFTRecipe, [*WORDS, *words])


def test_the_files_of_all_processes_are_one_data_set_and_what_is_missing_is_made_once(tmp_path: Path) -> None:
    chosen, model = recipe(), LocalModel("pocket-base")
    scenarios = sft.training_scenarios(chosen)
    assert make(chosen, model, scenarios, scenarios[0:8:2], tmp_path, rank=0) == []
    assert make(chosen, model, scenarios, scenarios[1:8:2], tmp_path, rank=1) == []
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"outcomes.jsonl", "outcomes-1.jsonl"}
    assert missing(scenarios, tmp_path) == [scenarios[8].id]
    assert make(chosen, model, scenarios, [], tmp_path, rank=2) == []  # nothing left for this one
    sft.fill(chosen, tmp_path)
    outcomes = read(tmp_path)
    assert [outcome.scenario_id for outcome in outcomes] == sorted(scenario.id for scenario in scenarios)
    only = {scenario.id for scenario in scenarios[6:]}  # behind train_limit there are interviews alone
    assert {outcome.scenario_id for outcome in outcomes if not outcome.verdicts} == only
    counts = json.loads((tmp_path / COUNTS).read_text())
    assert (counts["scenarios"], counts["interviews"], counts["failed"]) == (6, 3, 0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], True),
        (["data.writer=server/http://localhost:1"], False),
        (["data.user=server/http://localhost:1"], False),
        (["eval.judge=openai/some"], False),
        (["eval.judge=openai/some", "data.judge=exact"], True),
    ],
)
def test_what_asks_elsewhere_is_left_to_one_process(words: list[str], expected: bool) -> None:
    assert shareable(recipe(*words)) is expected


def test_data_is_shared_by_seeds_that_name_the_same_one() -> None:
    zero, one = (data_folder(recipe(f"seed={seed}"), "weights") for seed in (0, 1))
    assert zero != one
    assert data_folder(recipe("seed=1", "data.seed=0"), "weights") == zero
    assert data_folder(recipe("seed=0", "data.seed=1"), "weights") == one
