"""Suites: each part is a command in its own folder, made once, and everything ends in one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prefdisco.config import ConfigError, EvaluateConfig, RLRecipe, SFTRecipe, load
from prefdisco.files import RunError
from prefdisco.suites import Suite, run_suite, script, steps, table
from prefdisco.suites.config import fill
from prefdisco.suites.curve import places, save_curve

# Stands for `accelerate launch train/sft.py`: says what it was asked, and fails when told to.
FAKE = """
import json, pathlib, sys
words = dict(word.split("=", 1) for word in sys.argv[2:])
with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
    print(words["run"], file=calls)
if words.get("fail") == "yes" and not pathlib.Path(__file__).with_name("mended").exists():
    sys.exit(3)
run = pathlib.Path(words["run"])
run.mkdir(parents=True)
after = {"ceiling": {"share_of_ceiling": {"mean": float(words["share"]) + int(words["seed"])}}}
(run / "summary.json").write_text(json.dumps({"before": {}, "after": after}))
"""
SUITE = """
description: two trainings
seeds: [0, 2]
launch: [{python}, {script}]
train:
  good: [share=80]
  from_good: [share=90, "model={{folder}}/good-{{seed}}/checkpoint", fail={fail}]
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.py").write_text(FAKE)
    return tmp_path


def suite(here: Path, *words: str, fail: str = "no") -> Suite:
    (here / "both.yaml").write_text(SUITE.format(python=sys.executable, script=here / "fake.py", fail=fail))
    return load(Suite, ["suite=both", *words], here)


def calls(here: Path) -> list[str]:
    return (here / "calls").read_text().split()


def test_every_run_is_made_once_a_seed_and_all_end_in_one_table(make: Path) -> None:
    folder = run_suite(suite(make))
    runs = ["runs/both/good-0", "runs/both/from_good-0", "runs/both/good-2", "runs/both/from_good-2"]
    assert calls(make) == runs
    page = (folder / "table.md").read_text()
    assert "| figure | good | from_good |" in page
    assert "| share of the ceiling's gain % | 81.00 ± 12.71 | 91.00 ± 12.71 |" in page  # t of one degree of freedom
    table = json.loads((folder / "table.json").read_text())
    assert table["share of the ceiling's gain %"]["good"] == {"0": 80.0, "2": 82.0}
    run_suite(suite(make))
    assert calls(make) == runs  # nothing is made twice


def test_programs_of_the_environment_are_found_though_it_is_not_activated(
    make: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(make))
    chosen = suite(make)
    run_suite(chosen.model_copy(update={"launch": [Path(sys.executable).name, str(make / "fake.py")]}))
    assert len(calls(make)) == 4


def test_words_name_other_runs_of_the_suite(make: Path) -> None:
    commands = [command for _, command in steps(suite(make, "only=[from_good]"))]
    assert [command[4] for command in commands] == [f"model=runs/both/good-{seed}/checkpoint" for seed in (0, 2)]
    assert [command[-2:] for command in commands] == [
        [f"seed={seed}", f"run=runs/both/from_good-{seed}"] for seed in (0, 2)
    ]


def test_a_way_back_out_of_a_folder_is_taken_beforehand() -> None:
    for folder, other in (("runs/b", "runs/a"), ("/x/b", "/x/a"), ("b", "a"), ("../b", "../a"), ("b/../c", "a")):
        assert fill("model={folder}/../a/m-{seed}", {"folder": folder, "seed": 1}) == f"model={other}/m-1"
    assert fill("../a", {}) == "../a" and fill("x=../../a", {}) == "x=../../a"


def test_a_recipe_is_started_by_the_script_of_its_kind() -> None:
    assert [script([f"recipe={name}"]) for name in ("selfdistill", "grpo", "grpo_small", "pocket")] == [
        "train/sft.py",
        "train/rl.py",
        "train/rl.py",
        "train/pretrain.py",
    ]


def test_a_failure_stops_the_suite_and_the_same_command_goes_on(make: Path) -> None:
    with pytest.raises(RunError, match=r"from_good-0: .* ended with 3; repeat"):
        run_suite(suite(make, fail="yes"))
    assert calls(make) == ["runs/both/good-0", "runs/both/from_good-0"]
    (make / "mended").touch()
    run_suite(suite(make, fail="yes"))
    assert calls(make).count("runs/both/good-0") == 1 and len(calls(make)) == 5


def test_evaluations_are_played_with_every_result_and_with_models_that_are_there(make: Path) -> None:
    evaluations = "evaluations.heldout=['scenarios=pocket:heldout',limit=9]"
    found = steps(suite(make, evaluations, "models.base=pocket-base", "seeds=[0]", "only=[good,base]"))
    assert [str(folder) for folder, _ in found] == [
        "runs/both/good-0", "runs/both/good-0/heldout", "runs/both/base-0/heldout"
    ]  # fmt: skip
    for folder, _ in found:
        folder.mkdir(parents=True, exist_ok=True)
        accuracy = {"baseline": {"accuracy": {"mean": 0.5 if "good" in str(folder) else 0.25}}}
        (folder / "summary.json").write_text(json.dumps({"conditions": accuracy}))
    figure = "figures.new=heldout:conditions.baseline.accuracy"
    rows, _ = table(suite(make, evaluations, "models.base=pocket-base", "seeds=[0]", "only=[good,base]", figure))
    assert rows[0] == ["figure", "good", "base"] and rows[-1] == ["new", "50.00", "25.00"]
    assert found[1][1][3:] == [
        "evaluate", "agent=runs/both/good-0/checkpoint", "scenarios=pocket:heldout", "limit=9",
        "run=runs/both/good-0/heldout",
    ]  # fmt: skip
    assert found[2][1][4] == "agent=pocket-base"


def test_a_suite_may_end_in_a_curve_over_a_key_of_its_runs(make: Path) -> None:
    curve = ["curve.x=share", 'curve.y=["share of the ceiling\'s gain %", questions]']
    folder = run_suite(suite(make, *curve))
    picture = (folder / "figures" / "curve.svg").read_text()
    assert "share of the ceiling's gain %" in picture and (folder / "figures" / "curve.png").stat().st_size > 5000
    assert places(suite(make, "curve.x=share")) == {"good": 80.0, "from_good": 90.0}
    assert places(suite(make, "curve.x=share", "words=[share=7]")) == {"good": 80.0, "from_good": 90.0}
    assert places(suite(make, "curve.x=share", "only=[good]")) == {"good": 80.0}
    assert save_curve(suite(make, *curve, "only=[good]"), {}) is None
    with pytest.raises(ConfigError, match=r"train.from_good: model=.* is no number, and curve.x names it"):
        steps(suite(make, "curve.x=model"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["only=[god]"], "runs are good, from_good"),
        (["suite=bth"], "did you mean both"),
        (["sed=1"], "did you mean seeds"),
    ],
)
def test_a_wrong_word_is_one_line(make: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        steps(suite(make, *words))
    assert "\n" not in str(caught.value)


def test_every_shipped_suite_asks_for_runs_that_can_be_made() -> None:
    root = Path(__file__).parent.parent
    for path in (root / "eval").glob("*.yaml"):
        suite = load(Suite, [f"suite={path}"])
        for _, command in steps(suite if suite.train else suite.model_copy(update={"agent": "pocket-base"})):
            kinds = {"train/sft.py": SFTRecipe, "train/rl.py": RLRecipe, "evaluate": EvaluateConfig}
            made = next(name for name in kinds if name in command)
            load(kinds[made], command[command.index(made) + 1 :])
