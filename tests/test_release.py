"""A release: the model that was evaluated, with its numbers, or a line that says why not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData, parse_eval_result_entries
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from yaml import safe_load

from prefdisco.cli import main
from prefdisco.config import RLRecipe, load
from prefdisco.evaluate import load_episodes
from prefdisco.metrics import summarize
from prefdisco.release.checks import finished
from prefdisco.release.folder import generation
from prefdisco.schema import Episode
from prefdisco.training.card import tradeoff
from tests.finished import SCENARIOS, contents, finished_run, refused


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("made") / "runs" / "mine"
    finished_run(folder)
    return folder


@pytest.fixture(scope="module")
def released(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released") / "model"
    main(["release", str(made), f"out={out}"])
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run and of its data, elsewhere."""
    shutil.copytree(made.parent, tmp_path / "runs")
    return tmp_path / "runs" / "mine"


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


# The model


def greedy_turns(folder: Path, openings: list[list[dict[str, str]]], limit: int = 200) -> list[str]:
    """What the model of a folder says next, with nothing but transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = [tokenizer.apply_chat_template(m, add_generation_prompt=True, tokenize=False) for m in openings]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    output = model.generate(**batch, max_new_tokens=limit, do_sample=False)[:, batch["input_ids"].shape[1] :]
    return [text.partition(tokenizer.eos_token)[0] for text in tokenizer.batch_decode(output)]


def spoken(episode: Episode) -> list[tuple[list[dict[str, str]], str]]:
    """Every turn of the agent in an episode: the messages before it, and what it said, thinking included."""
    said, turns = [], []
    for message in episode.messages:
        thought = f"<think>{message.thinking}</think>" if message.thinking else ""
        if message.role == "assistant":
            turns.append((list(said), thought + message.content))
        said.append({"role": message.role, "content": thought + message.content})
    return turns


def test_transformers_alone_says_what_the_checkpoint_said_when_it_was_evaluated(made: Path, released: Path) -> None:
    episodes = list(load_episodes(made / "after" / "episodes.jsonl").values())
    assert len(episodes) == 3 * SCENARIOS > 100 and all(episode.error is None for episode in episodes)
    turns = [(number, *turn) for number, episode in enumerate(episodes) for turn in spoken(episode)]
    assert len(turns) > len(episodes)  # questions among them
    again = greedy_turns(released, [before for _, before, _ in turns])
    other = {number for (number, _, said), new in zip(turns, again, strict=True) if said != new}
    assert len(other) <= 0.01 * len(episodes)


def test_weights_tokenizer_and_template_are_the_checkpoints_own_files(made: Path, released: Path) -> None:
    there, before = contents(released), contents(made / "checkpoint")
    kept = ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    assert all(there[name] == before[name] for name in kept)
    assert set(there) == {
        *kept, "README.md", "config.yaml", "summary.json", "generation_config.json", "data_card.md", "SHA256SUMS",
    }  # fmt: skip
    assert there["config.yaml"] == (made / "config.yaml").read_bytes()
    assert there["summary.json"] == (made / "summary.json").read_bytes()
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=released, check=True)
    assert there["SHA256SUMS"].decode().count("\n") == len(there) - 1


def test_generation_is_that_of_the_evaluation(released: Path, run: Path) -> None:
    greedy = GenerationConfig.from_pretrained(released)
    tokenizer = AutoTokenizer.from_pretrained(released)
    assert (greedy.do_sample, greedy.max_new_tokens) == (False, 200)
    assert greedy.eos_token_id == [tokenizer.eos_token_id] and greedy.pad_token_id == tokenizer.pad_token_id
    sampled = finished(run, 0.01)
    object.__setattr__(sampled.recipe.eval, "temperature", 0.7)
    settings = generation(sampled)
    assert (settings.do_sample, settings.temperature, settings.top_p, settings.top_k) == (True, 0.7, 1.0, 0)


# The card


def test_card_and_results_say_what_the_summary_says(made: Path, released: Path) -> None:
    summary, card = summary_of(made), ModelCard((released / "README.md").read_text())
    after = summary["after"]
    found = {(each.dataset_config, each.metric_type): each for each in card.data.eval_results}
    for condition, figures in after["conditions"].items():
        for metric, name in (("accuracy", "accuracy"), ("preference_alignment", "alignment"), ("questions",) * 2):
            result = found[condition, metric]
            assert result.metric_value == figures[name]["mean"]
            assert result.metric_args == {"interval_95": figures[name]["ci"]}
            assert result.dataset_type == "pocket" and result.dataset_split == "test"
            assert result.dataset_args["scenarios"] == SCENARIOS
    of = {
        "normalized_alignment": after["discovery"]["normalized_alignment"], "recall": after["discovery"]["recall"],
        "negative_rate": after["discovery"]["negative_rate"], "precision": after["discovery"]["precision"],
        "accuracy_change": after["discovery"]["accuracy_change"],
        "share_of_ceiling": after["ceiling"]["share_of_ceiling"],
    }  # fmt: skip
    for metric, estimate in of.items():
        if estimate["mean"] is None:
            assert ("discovery", metric) not in found
        else:
            assert found["discovery", metric].metric_value == estimate["mean"]
    for condition in ("baseline", "discovery", "oracle"):
        (row,) = re.findall(rf"^\| {condition} \| (.*) \|$", card.text.partition("## Thinking")[0], re.MULTILINE)
        accuracy, alignment = row.split(" | ")[:2]
        for cell, name, scale, digits in ((accuracy, "accuracy", 100, 1), (alignment, "alignment", 1, 2)):
            cells = []
            for stage in ("before", "after"):
                figure = summary[stage]["conditions"][condition][name]
                half = scale * (figure["ci"][1] - figure["ci"][0]) / 2
                cells.append(f"{scale * figure['mean']:.{digits}f} ± {half:.{digits}f}")
            assert cell == " → ".join(dict.fromkeys(cells))


def test_front_matter_survives_the_hubs_own_classes(released: Path) -> None:
    card = ModelCard((released / "README.md").read_text())
    again = ModelCardData(**safe_load(card.data.to_yaml()))
    assert again.to_dict() == card.data.to_dict() and again.eval_results == card.data.eval_results
    assert card.data.license == "apache-2.0" and card.data.base_model is None  # pocket-base is not on the Hub
    assert card.data.library_name == "transformers" and card.data.pipeline_tag == "text-generation"


def test_checkpoint_and_release_have_one_card(made: Path, released: Path) -> None:
    ours, theirs = ((folder / "README.md").read_text() for folder in (made / "checkpoint", released))
    before, weights, after = theirs.partition("## Weights")
    assert ours == before + "## References" + after.partition("## References")[2] and weights
    for section in ("How to use", "Results", "Accuracy and personalization", "Training data", "Recipe", "Limits"):
        assert f"\n## {section}\n" in ours
    card = next((made.parent / "data").glob("*/card.md")).read_text()
    assert (released / "data_card.md").read_text() == card
    assert re.search(r"^- scenarios: 16 from `pocket:train`; \d+ survived$", ours, re.MULTILINE)


def test_code_of_the_card_runs_as_it_stands(
    released: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.findall(r"```python\n(.*?)```", (released / "README.md").read_text(), re.DOTALL)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "No preference.")
    monkeypatch.chdir(released)
    names: dict[str, Any] = {}
    exec(code[0], names)
    roles = [message["role"] for message in names["messages"]]
    assert roles == ["system", "user", *["assistant", "user"] * len(asked), "assistant"] and len(asked) <= 5
    assert capsys.readouterr().out.strip() and "</think>" in names["messages"][-1]["content"]
    turns = iter(["###ACTION###: 'ask_question'\n###RESPONSE###: Why?"] * 6)  # one that never stops asking
    exec(code[0].partition("messages = [")[1] + code[0].partition("messages = [")[2], {"turn": lambda m: next(turns)})
    assert len(asked) == len([role for role in roles if role == "assistant"]) - 1 + 5


def test_a_run_of_reinforcement_says_what_it_came_from_and_learned_from(run: Path) -> None:
    (run.parent / "start").mkdir()
    (run.parent / "start" / "README.md").write_text("---\nlicense: mit\nbase_model: someone/large\n---\n")
    same = OmegaConf.load(run / "config.yaml")
    words = [f"{key}={same.eval[key]}" for key in ("temperature", "max_tokens")]
    recipe = load(
        RLRecipe,
        [
            "recipe=grpo_small", f"model={run.parent / 'start'}", f"scenarios.eval_limit={SCENARIOS}",
            *(f"eval.{word}" for word in words),
        ],
    )  # fmt: skip
    (run / "config.yaml").write_text(recipe.to_yaml())
    main(["release", str(run)])
    card = ModelCard((run / "release" / "README.md").read_text())
    assert (card.data.license, card.data.base_model) == ("mit", "someone/large") and "rl" in card.data.tags
    assert f"`{run.parent / 'start'}`, which comes from [someone/large]" in card.text
    assert "No data set: the model learned from dialogues that it played itself" in card.text
    assert not (run / "release" / "data_card.md").exists()


def test_tradeoff_says_cost_gain_or_neither() -> None:
    def stage(low: float, high: float) -> dict[str, Any]:
        change = {"mean": (low + high) / 2, "ci": [low, high]}
        some = {"mean": 0.5, "ci": [0.4, 0.6]}
        return {"discovery": {"accuracy_change": change, "normalized_alignment": some, "negative_rate": some}}

    cost, gain = tradeoff(stage(-0.1, -0.02), stage(0.01, 0.03))
    assert "costs accuracy: -6.0 points (95% interval -10.0 to -2.0)" in cost and "gains accuracy: 2.0" in gain
    assert "no change of accuracy can be told from chance" in tradeoff(stage(-0.1, 0.1), stage(0, 0))[0]
    nothing = {"discovery": {"accuracy_change": {"mean": None, "ci": None}}}
    assert tradeoff(nothing, nothing)[0] == "Before training: not measured."


# Again, and not at all


def test_same_release_again_changes_nothing_and_another_word_only_what_it_must(run: Path) -> None:
    out = run / "release"
    main(["release", str(run)])
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    (out / ".model.safetensors.0123abcd.tmp").write_text("a copy that a kill left")
    main(["release", str(run)])
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()} == before
    main(["release", str(run), "license=mit", "benchmark=ada/people#asks"])
    changed = {path.name for path, (_, content) in before.items() if path.read_bytes() != content}
    assert changed == {"README.md", "SHA256SUMS"}
    (entry,) = parse_eval_result_entries(safe_load((out / ".eval_results" / "prefdisco.yaml").read_text()))
    value = summary_of(run)["after"]["discovery"]["normalized_alignment"]["mean"]
    assert (entry.dataset_id, entry.task_id, entry.value) == ("ada/people", "asks", value)
    main(["release", str(run)])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == {
        p: c for p, (_, c) in before.items()
    }


def test_dry_run_writes_nothing_and_says_what_would_be_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["release", str(run), "push=ada/asks", "--dry-run"])
    said = capsys.readouterr().out
    assert not (run / "release").exists()
    main(["release", str(run)])
    assert all(f"  {name}" in said for name in contents(run / "release")) and "ada/asks, private" in said


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON or YAML file in place."""
    content = json.loads(path.read_text()) if path.suffix == ".json" else OmegaConf.to_container(OmegaConf.load(path))
    change(content)
    path.write_text(json.dumps(content) if path.suffix == ".json" else OmegaConf.to_yaml(content))


def scale_weights(run: Path) -> None:
    path = run / "checkpoint" / "model.safetensors"
    save_file({name: 1.001 * tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def shorten(run: Path, lines: int) -> None:
    path = run / "after" / "episodes.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-lines]))


def only_two(config: dict[str, Any]) -> None:
    config["eval"]["conditions"] = ["baseline", "discovery"]


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "evaluation missing": (lambda run: shutil.rmtree(run / "after"), "after: no evaluation there; repeat the training"),
    "first evaluation missing": (lambda run: shutil.rmtree(run / "before"), "before: no evaluation there"),
    "evaluation unfinished": (lambda run: shorten(run, 5), "after: unfinished: 97 of 102 episodes are there"),
    "run unfinished": (lambda run: (run / "summary.json").unlink(), "the run has not finished; repeat the training"),
    "training unfinished": (lambda run: (run / "trained.json").unlink(), "the training has not finished"),
    "other weights": (scale_weights, "after: evaluated other weights than those in"),
    "other template": (
        lambda run: (run / "checkpoint" / "chat_template.jinja").write_text("{{ messages }}"),
        "after: evaluated other tokenizer than those in",
    ),
    "no note of weights": (
        lambda run: (run / "after" / "agent.json").unlink(),
        "does not name the weights it evaluated (agent.json), being of an earlier version; remove it, then repeat",
    ),
    "no chat template": (
        lambda run: (run / "checkpoint" / "chat_template.jinja").unlink(),
        "its tokenizer has no chat template",
    ),
    "no weights": (lambda run: (run / "checkpoint" / "model.safetensors").unlink(), "no safetensors there"),
    "adapter": (lambda run: (run / "checkpoint" / "adapter_config.json").write_text("{}"), "is an adapter; merge it"),
    "two conditions": (lambda run: edit(run / "config.yaml", only_two), "oracle was not played; a release needs"),
    "numbers changed": (
        lambda run: edit(run / "summary.json", lambda s: s["after"]["discovery"]["recall"].update(mean=0.9)),
        "summary.json does not say of discovery.recall.mean what the episodes say",
    ),
    "no data card": (lambda run: shutil.rmtree(run.parent / "data"), "no data card; the data of a training belongs"),
    "unknown licence": (
        lambda run: edit(run / "config.yaml", lambda c: c.update(model="someone/unknown")),
        "license: the card of someone/unknown names none, or is not here; give license=ID",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_run_is_refused_with_the_reason(run: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    break_it, reason = BROKEN[fault]
    break_it(run)
    line = refused(run, capsys)
    assert reason in line and (str(run.parent) in line or fault == "unknown licence")


def test_errors_above_the_stated_share_are_refused_and_below_it_counted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "after" / "episodes.jsonl"
    episodes = list(load_episodes(path).values())
    ungraded = {"error": "server away", "correct": None, "grades": (), "alignment": None}
    failed = [episode.model_copy(update=ungraded) for episode in episodes[:2]]
    with path.open("a") as file:
        file.writelines(episode.model_dump_json() + "\n" for episode in failed)
    assert "after: 2 of 102 episodes failed, more than max_errors=0.01" in refused(run, capsys)
    assert "does not say of errors what" in refused(run, capsys, "max_errors=0.05")  # the summary knows none yet
    ceiling = summary_of(run)["after"]["ceiling"]
    numbers = {**summarize([*failed, *episodes[2:]]), "ceiling": ceiling}
    edit(run / "summary.json", lambda summary: summary.update(after=numbers))
    main(["release", str(run), "max_errors=0.05"])
    assert "errors: 0 → 2" in (run / "release" / "README.md").read_text()


def test_a_folder_that_holds_something_else_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run.parent / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / ".notes.0123abcd.tmp").write_text("mine too")
    assert "out: holds something else: .notes.0123abcd.tmp" in refused(run, capsys, f"out={out}")
    (out / ".notes.0123abcd.tmp").unlink()
    assert "out: holds something else: notes.txt" in refused(run, capsys, f"out={out}")
    assert "checkpoint: holds something else" in refused(run, capsys, f"out={run / 'checkpoint'}")
    assert "holds something else" in refused(run, capsys, f"out={run}")
    assert "notes.txt: is a file" in refused(run, capsys, f"out={out / 'notes.txt'}")
    main(["release", str(run)])
    edit(run / "release" / "config.yaml", lambda config: config.update(seed=1))
    assert "holds something else: files of another model" in refused(run, capsys)


def test_only_the_folder_of_a_training_is_released(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is an evaluation, which has no checkpoint of its own" in refused(run / "after", capsys)
    assert "is no training run" in refused(run / "checkpoint", capsys)
    assert "no such run folder" in refused(run / "nowhere", capsys)
