"""Configurations: what merges, and that every mistake is one line that says where, what and what instead."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefdisco.cli import friendly, main
from prefdisco.config import (
    ConfigError,
    EvaluateConfig,
    PretrainRecipe,
    RLRecipe,
    SFTRecipe,
    check_trainer,
    help_text,
    load,
    parse_words,
    recipes,
)
from prefdisco.schema import DataError

SELFDISTILL = """\
kind: sft
description: the model teaches itself
data: {policy: exact, budget: 3, mix: {plain: 0.5}}
trainer: {learning_rate: 1e-3, max_steps: 10}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "selfdistill.yaml").write_text(SELFDISTILL)
    (tmp_path / "pocket.yaml").write_text("kind: pretrain\ndescription: the base model\ncorpus: {documents: 10}\n")
    return tmp_path


def complaint(folder: Path, *words: str, model_class: type[Any] = SFTRecipe) -> str:
    """The error that the words make, which must be one line."""
    with pytest.raises(ConfigError) as caught:
        load(model_class, words, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_override_the_file_and_the_file_the_defaults(folder: Path) -> None:
    recipe = load(
        SFTRecipe, ["recipe=selfdistill", "data.policy=random", "eval.seeds=[0,1,2]", "trainer.bf16=false"], folder
    )
    assert (recipe.data.policy, recipe.data.budget, recipe.data.mix.plain, recipe.eval.budget) == ("random", 3, 0.5, 5)
    assert recipe.eval.seeds == [0, 1, 2]
    assert recipe.trainer == {"learning_rate": 1e-3, "max_steps": 10, "bf16": False}
    assert (recipe.name, recipe.run) == ("selfdistill", "runs/selfdistill")


def test_a_recipe_can_be_a_path_and_the_resolved_configuration_is_one(folder: Path) -> None:
    recipe = load(SFTRecipe, [f"recipe={folder}/selfdistill.yaml", "run=runs/other", "peft.r=8"])
    (folder / "config.yaml").write_text(recipe.to_yaml())
    assert load(SFTRecipe, [f"recipe={folder}/config.yaml"]).model_dump() == recipe.model_dump()
    assert recipe.run == "runs/other" and recipe.peft == {"r": 8}


def test_parts_are_merged_in_order_over_the_recipe_and_under_the_words(folder: Path) -> None:
    (folder / "one.yaml").write_text("data: {budget: 1}\ntrainer: {max_steps: 1, bf16: true}\n")
    (folder / "two.yaml").write_text("trainer: {max_steps: 2}\noptimizer: adam\n")
    one, two = f"config={folder}/one.yaml", f"config={folder}/two.yaml"
    recipe = load(SFTRecipe, ["trainer.bf16=false", "optimizer=muon", "recipe=selfdistill", one, two], folder)
    assert recipe.trainer == {"learning_rate": 1e-3, "max_steps": 2, "bf16": False}
    assert (recipe.data.budget, recipe.data.policy, recipe.optimizer) == (1, "exact", "muon")
    places = [
        recipe.where(key).rpartition("/")[2] for key in ("trainer.bf16", "trainer.max_steps", "data.budget", "data")
    ]
    assert places == ["command line", "two.yaml", "one.yaml", "one.yaml"]
    assert recipe.where("trainer.learning_rate") == f"{folder}/selfdistill.yaml"
    assert complaint(folder, "recipe=selfdistill", two) == (
        f"{folder}/two.yaml: optimizer=adam: expected one of adamw, muon"
    )
    assert complaint(folder, "recipe=selfdistill", "config=three.yaml").startswith(
        "command line: config=three.yaml: no such file; there are configs/model/"
    )


def test_an_unknown_key_names_the_nearest_and_where_it_was_written(folder: Path) -> None:
    assert complaint(folder, "recipe=selfdistill", "data.polcy=exact") == (
        "command line: unknown key data.polcy; did you mean data.policy?"
    )
    assert "did you mean scenarios.train_limit?" in complaint(folder, "recipe=selfdistill", "train_limit=3")
    (folder / "typo.yaml").write_text(SELFDISTILL.replace("mix", "mixx"))
    assert complaint(folder, "recipe=typo") == f"{folder}/typo.yaml: unknown key data.mixx; did you mean data.mix?"


def test_an_unknown_key_is_named_before_the_missing_one_it_was_meant_for(folder: Path) -> None:
    assert "did you mean agent?" in complaint(folder, "agnet=x", model_class=EvaluateConfig)
    assert "agent is missing; give agent=..." in complaint(folder, model_class=EvaluateConfig)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.budget=many", "data.budget=many: expected int"),
        (
            "data.policy=best",
            "data.policy=best: expected one of exact, expected_value, information_gain, "
            "uncertainty, fixed, random, self",
        ),
        ("eval.seeds=[0,x]", "eval.seeds=[0, x]: expected list of int"),
        ("eval.seeds=[]", "eval.seeds=[]: List should have at least 1 item"),
        ("data.margin=-1", "data.margin=-1: should be greater than or equal to 0"),
        ("data=3", "data=3: expected a section with engine, policy"),
        ("trainer=3", "trainer=3: expected a section"),
        ("data.budget=2.5", "data.budget=2.5: expected int"),
    ],
)
def test_a_wrong_value_is_shown_with_what_was_expected(folder: Path, word: str, expected: str) -> None:
    assert complaint(folder, "recipe=selfdistill", word).startswith(f"command line: {expected}")


def test_a_wrong_value_in_the_file_names_the_file(folder: Path) -> None:
    (folder / "wrong.yaml").write_text("data: {budget: many}\n")
    assert complaint(folder, "recipe=wrong", "seed=1") == f"{folder}/wrong.yaml: data.budget=many: expected int"


def test_a_recipe_extends_another_and_changes_only_what_it_says(folder: Path) -> None:
    (folder / "none.yaml").write_text("extends: selfdistill\ndescription: less\ndata: {budget: 4}\n")
    (folder / "less.yaml").write_text("extends: none\nteach: {thinking: none}\n")
    parent, child = load(SFTRecipe, ["recipe=selfdistill"], folder), load(SFTRecipe, ["recipe=less"], folder)
    assert (child.name, child.run, child.description) == ("less", "runs/less", "less")
    assert child.data == parent.data.model_copy(update={"budget": 4}) and child.trainer == parent.trainer
    assert child.teach.thinking == "none" and parent.teach.thinking == "own"
    assert recipes(SFTRecipe, folder) == {
        "less": "less", "none": "less", "selfdistill": "the model teaches itself"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"), [("extends: nobody", "there is no"), ("extends: loop", "extends it in turn")]
)
def test_a_recipe_that_cannot_extend_is_one_line(folder: Path, text: str, message: str) -> None:
    (folder / "loop.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load(SFTRecipe, ["recipe=loop"], folder)
    assert str(caught.value).startswith(str(folder / "loop.yaml")) and "\n" not in str(caught.value)


def test_a_wrong_recipe_lists_them_and_names_the_nearest(folder: Path) -> None:
    assert complaint(folder, "recipe=selfdistil") == (
        "command line: no recipe 'selfdistil'; recipes are selfdistill; did you mean selfdistill?"
    )
    assert "choose a recipe with recipe=NAME" in complaint(folder)
    assert "no such file" in complaint(folder, "recipe=nowhere/x.yaml")


def test_a_recipe_of_another_kind_names_its_script(folder: Path) -> None:
    assert "run train/pretrain.py recipe=pocket" in complaint(folder, "recipe=pocket")
    assert load(PretrainRecipe, ["recipe=pocket"], folder).corpus.documents == 10


def test_broken_files_and_words_are_one_line(folder: Path) -> None:
    (folder / "broken.yaml").write_text("name: x\ndata: [1\n")
    (folder / "list.yaml").write_text("- 1\n")
    assert complaint(folder, "recipe=broken").startswith(f"{folder}/broken.yaml:3: not valid YAML")
    assert "expected lines of the form" in complaint(folder, "recipe=list")
    assert "expected key=value, got 'data.budget'" in complaint(folder, "recipe=selfdistill", "data.budget")
    assert "cannot read 'eval.seeds=[0'" in complaint(folder, "recipe=selfdistill", "eval.seeds=[0")
    assert "nothing" in complaint(folder, "recipe=selfdistill", "name=${nothing}")


def test_help_lists_recipes_of_the_kind_and_every_key_even_when_a_recipe_is_broken(folder: Path) -> None:
    (folder / "broken.yaml").write_text("name: [\n")
    assert recipes(PretrainRecipe, folder)["pocket"] == "the base model"
    text = help_text(SFTRecipe, "usage", folder)
    assert "selfdistill  the model teaches itself" in text and "data.mix.plain" in text and "not valid YAML" in text
    assert "the base model" not in text


def test_options_are_told_from_words() -> None:
    assert parse_words(["a=1", "--dry-run", "b=-1"]) == (["a=1", "b=-1"], True, False)
    assert parse_words(["-h"]) == ([], False, True)
    with pytest.raises(ConfigError, match="unknown option --seed"):
        parse_words(["--seed", "3"])


@dataclasses.dataclass
class Trainer:
    learning_rate: float = 1e-4
    max_length: int | None = None
    report_to: str | list[str] | None = None
    packing: bool = False


def test_the_trainer_section_is_checked_against_the_trainers_own_fields(folder: Path) -> None:
    check_trainer({"learning_rate": 1, "max_length": None, "report_to": ["wandb"], "packing": True}, Trainer)
    recipe = load(SFTRecipe, ["recipe=selfdistill", "trainer.lerning_rate=1"], folder)
    with pytest.raises(
        ConfigError, match=r"^command line: unknown key trainer.lerning_rate .*trainer.learning_rate\?$"
    ):
        check_trainer({"lerning_rate": 1}, Trainer, recipe.where)
    with pytest.raises(ConfigError, match=r"selfdistill.yaml: trainer.learning_rate=fast: expected float"):
        check_trainer({"learning_rate": "fast"}, Trainer, recipe.where)
    for section in ({"max_length": "512"}, {"packing": "yes"}, {"learning_rate": True}):
        with pytest.raises(ConfigError, match="expected"):
            check_trainer(section, Trainer)


def test_expected_errors_are_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, friendly("train/sft.py"):
        raise DataError("x.jsonl:3: id: missing\nmore")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "train/sft.py: error: x.jsonl:3: id: missing more\n"
    with pytest.raises(KeyError), friendly():
        raise KeyError("a bug keeps its traceback")


def test_the_command_validates_shows_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.jsonl").write_text("\n{}\n")
    for arguments, expected in (
        (["validate", f"{tmp_path}/x.jsonl"], "x.jsonl:2: id: "),
        (["validte"], "unknown command"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2 and expected in capsys.readouterr().err
    assert main(["evaluate", "agent=x", "--dry-run"]) == 0
    assert "agent: x" in capsys.readouterr().out


def test_the_package_and_its_command_line_import_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "trl", "pandas", "matplotlib", "scipy", "litellm"}
    code = f"import sys, prefdisco.cli; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_shipped_recipe_loads(path: Path) -> None:
    (kind,) = (kind for kind in (PretrainRecipe, SFTRecipe, RLRecipe) if path.stem in recipes(kind))
    recipe = load(kind, [f"recipe={path}"])
    assert recipe.name == path.stem and recipe.description and recipe.trainer


def test_the_rivals_differ_in_what_they_teach_and_in_nothing_else() -> None:
    main_ = load(SFTRecipe, ["recipe=selfdistill"])
    names = ["generic_cot", "fast_thinking", "oracle_only", "dialogue_only"]
    rivals = [load(SFTRecipe, [f"recipe={name}"]) for name in names]
    same = {"name", "run", "description", "teach"}
    assert len({recipe.teach.model_dump_json() for recipe in [main_, *rivals]}) == 1 + len(rivals) >= 5
    assert all(rival.model_dump(exclude=same) == main_.model_dump(exclude=same) for rival in rivals)


@pytest.mark.parametrize("costs", ["[]", "[0.1,-1]", "-1"])
def test_a_question_costs_nothing_or_more(costs: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.question_cost=.*a cost is 0 or more"):
        load(SFTRecipe, ["recipe=selfdistill", f"data.question_cost={costs}"])
