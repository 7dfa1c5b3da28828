"""The same training packed or padded, in one process or several, whole or in shards, in one go or resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.integrations.flex_attention as flex
from accelerate.commands.config.config_args import load_config_from_file
from datasets import Dataset
from launched import KILLED
from safetensors.torch import load_file
from tiny import tiny_llama, tiny_tokenizer
from transformers import LlamaConfig, PreTrainedTokenizerFast, Trainer
from trl import SFTConfig

from prefdisco.config import ConfigError, SFTRecipe, load
from prefdisco.engine.dataset import OUTCOMES
from prefdisco.engine.outcomes import Outcome, Talk
from prefdisco.pocket.corpus import documents
from prefdisco.training import sft, stages, tracking
from prefdisco.training.batches import LikeLengths
from prefdisco.training.checks import check_attention, check_launch, check_lengths, check_packing, check_precision
from prefdisco.training.memory import configuration, held, skeleton
from prefdisco.training.pretrain import encode
from prefdisco.training.trainer import CPUTrainer, GPUTrainer

ROOT = Path(__file__).parent.parent
LONGEST, EXAMPLES = 300, 24
SETTINGS = [
    "recipe=selfdistill",
    "optimizer=adamw",
    "anchor=0",
    "trainer.bf16=false",
    "trainer.num_train_epochs=2",
    "trainer.per_device_train_batch_size=4",
    "trainer.gradient_accumulation_steps=1",
    "trainer.warmup_steps=0",
    "trainer.logging_steps=1",
    "trainer.save_steps=4",
]
DEEPSPEED = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed (an extra)")


@dataclass
class World:
    """A checkpoint and training data, made once."""

    tokenizer: PreTrainedTokenizerFast
    rows: list[dict[str, Any]]
    model: Path
    data: Path

    def words(self, run: Path, *words: str) -> list[str]:
        return [*SETTINGS, f"model={self.model}", f"run={run}", *words]

    def recipe(self, run: Path, *words: str) -> SFTRecipe:
        return load(SFTRecipe, self.words(run, *words))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    tokenizer = tiny_tokenizer()
    short = [row for row in encode(list(documents(80, 1)), tokenizer) if len(row["input_ids"]) <= LONGEST]
    rows = [{name: row[name] for name in ("input_ids", "labels")} for row in short[:EXAMPLES]]
    assert len(rows) == EXAMPLES
    tiny_llama(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    with (folder / OUTCOMES).open("w") as file:
        for number, row in enumerate(rows):
            mask = [int(label != -100) for label in row["labels"]]
            nothing: dict[str, Any] = {
                "family": None,
                "difficulty": None,
                "questions": 0,
                "revealed": 0,
                "verdicts": {},
            }
            example = Talk(kind="plain", messages=(), ids=row["input_ids"], mask=mask)
            outcome = Outcome(
                scenario_id=f"{number:03}", domain="math", generic_correct=True, talks=(example,), **nothing
            )
            file.write(outcome.model_dump_json() + "\n")
    return World(tokenizer, rows, folder / "model", folder)


def packing(folder: Path, **settings: Any) -> SFTConfig:
    """Arguments of a packed training on a CPU in float32."""
    fields = {"packing": True, "max_length": 512, "per_device_train_batch_size": 2, **settings}
    return SFTConfig(str(folder), use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False, **fields)


def packed_batches(world: World, folder: Path, kind: type[GPUTrainer] = CPUTrainer) -> tuple[GPUTrainer, list[Any]]:
    """A trainer on packed rows, and its batches; the model as it was saved, with its cache on."""
    data = Dataset.from_list(world.rows)
    model = tiny_llama(world.tokenizer).train()
    trainer = kind(model=model, args=packing(folder), train_dataset=data, processing_class=world.tokenizer)
    model.config.use_cache = True
    batches = list(trainer.get_train_dataloader())
    assert len(batches) < EXAMPLES / 4  # several dialogues in a row, several rows in a batch
    return trainer, batches


def alone(world: World, model: Any) -> float:
    """The summed loss of all examples, each in a forward pass of its own."""
    one = torch.tensor(1)
    rows = [{name: torch.tensor([row[name]]) for name in row} for row in world.rows]
    with torch.no_grad():
        return sum(float(model(**row, use_cache=False, num_items_in_batch=one).loss) for row in rows)


# --- packing


@pytest.mark.parametrize("kind", [CPUTrainer, GPUTrainer])
def test_packed_dialogues_have_the_loss_that_they_have_alone(
    world: World, tmp_path: Path, kind: type[GPUTrainer]
) -> None:
    trainer, batches = packed_batches(world, tmp_path, kind)
    one = torch.tensor(1)
    with torch.no_grad():
        packed = sum(
            float(trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=one)) for batch in batches
        )
    assert packed == pytest.approx(alone(world, trainer.model), rel=1e-5)


def test_the_comparison_would_show_dialogues_that_see_each_other(world: World, tmp_path: Path) -> None:
    trainer, batches = packed_batches(world, tmp_path)
    one, apart = torch.tensor(1), alone(world, trainer.model)
    with torch.no_grad():
        with_cache = sum(
            float(Trainer.compute_loss(trainer, trainer.model, dict(b), num_items_in_batch=one)) for b in batches
        )
        without_borders = sum(
            float(trainer.compute_loss(trainer.model, {**b, "position_ids": None}, num_items_in_batch=one))
            for b in batches
        )
    assert abs(with_cache / apart - 1) > 1e-5  # why CPUTrainer switches the cache off
    assert abs(without_borders / apart - 1) > 1e-5


def test_flex_attention_keeps_packed_dialogues_apart_too(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_compiled(query: Any, key: Any, value: Any, training: bool = False, **settings: Any) -> Any:
        return flex.flex_attention(query, key, value, **settings)

    def mask_not_compiled(*args: Any, _compile: bool, **settings: Any) -> Any:
        return flex.create_block_mask(*args, **settings)

    monkeypatch.setattr(flex, "compile_friendly_flex_attention", not_compiled)
    monkeypatch.setattr("transformers.masking_utils.create_block_mask", mask_not_compiled)
    trainer, batches = packed_batches(world, tmp_path)
    expected, one = alone(world, trainer.model), torch.tensor(1)
    trainer.model.set_attn_implementation("flex_attention")
    with torch.no_grad():  # on a CPU it has no backward pass
        packed = sum(
            float(trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=one)) for batch in batches
        )
    assert packed == pytest.approx(expected, rel=1e-5)


def test_packing_that_would_mix_or_cut_dialogues_is_refused(world: World, tmp_path: Path) -> None:
    recipe, llama = world.recipe(tmp_path, "trainer.packing=true"), configuration(str(world.model))
    with pytest.raises(ConfigError, match=r"^command line: trainer\.packing: the strategy wrapped joins and cuts"):
        check_packing(recipe, packing(tmp_path, packing_strategy="wrapped"), llama)
    with pytest.raises(ConfigError, match=r"trainer\.packing: needs the tokens of a row; set trainer\.max_length"):
        check_packing(recipe, packing(tmp_path, max_length=None), llama)
    stateful = LlamaConfig()
    stateful.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ConfigError, match="linear_attention layers, which carry a state"):
        check_packing(recipe, packing(tmp_path), stateful)
    check_packing(recipe, packing(tmp_path), llama)
    with pytest.raises(ConfigError, match="the longest dialogue has 300 tokens and would be cut off"):
        check_lengths(recipe, packing(tmp_path, max_length=299), 300, 512)
    with pytest.raises(ConfigError, match="the longest dialogue has 600 tokens, the model's context 512"):
        check_lengths(recipe, packing(tmp_path), 600, 512)
    check_lengths(recipe, packing(tmp_path), 300, 512)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can train with these")
def test_attention_that_cannot_be_trained_with_here_is_refused(world: World, tmp_path: Path) -> None:
    for name in ("flex_attention", "flash_attention_2"):
        with pytest.raises(ConfigError, match=f"^command line: attention={name}: has no backward pass on a CPU"):
            check_attention(world.recipe(tmp_path, f"attention={name}"), packing(tmp_path))
    check_attention(world.recipe(tmp_path), packing(tmp_path))


def test_all_weights_are_not_trained_in_bfloat16(world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^command line: dtype=bfloat16: would round small updates"):
        check_precision(world.recipe(tmp_path, "dtype=bfloat16"))
    check_precision(world.recipe(tmp_path, "dtype=bfloat16", "peft.r=2"))


# --- resuming


class Killed(Exception):
    """Stands for a kill."""


def train_killed(recipe: SFTRecipe, data: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until `steps` steps are done, then end as a kill would."""

    class Fragile(CPUTrainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == steps:
                raise Killed
            return super().training_step(*args, **kwargs)

    monkeypatch.setattr(sft, "TRAINER", Fragile)
    with pytest.raises(Killed):
        sft.train(recipe, data)
    monkeypatch.undo()


LORA = ("peft.r=4", "peft.target_modules=all-linear", "peft.lora_dropout=0.1")
PACKED = ("trainer.packing=true", "trainer.max_length=512", "trainer.per_device_train_batch_size=1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="compares bit for bit, on a CPU")
@pytest.mark.parametrize(
    "words",
    [(*PACKED, "trainer.train_sampling_strategy=random"), (*LORA, "optimizer=muon"), (*PACKED, *LORA)],
    ids=["packed", "lora-muon", "packed-lora"],
)
def test_a_killed_run_ends_as_if_nothing_had_happened(
    world: World, tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (world.recipe(tmp_path / name, *words) for name in ("whole", "killed"))
    sft.train(whole, world.data)
    steps = json.loads((tmp_path / "whole" / stages.TRAINED).read_text())["steps"]
    assert steps > 9
    train_killed(killed, world.data, 9, monkeypatch)  # saved after 8 of them, in the second epoch
    assert not (tmp_path / "killed" / stages.CHECKPOINT).exists()
    sft.train(killed, world.data)
    expected, found = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("whole", "killed"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    start = load_file(world.model / "model.safetensors")
    assert not torch.equal(
        start["model.layers.0.self_attn.q_proj.weight"], found["model.layers.0.self_attn.q_proj.weight"]
    )


# --- several processes


def test_the_order_of_examples_does_not_depend_on_the_number_of_processes() -> None:
    lengths = [10 + (7 * number) % 90 for number in range(400)]
    sampler = LikeLengths(lengths, batch=8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(400)) and first == list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    groups = [[lengths[number] for number in first[at : at + 8]] for at in range(0, 400, 8)]
    spread = [max(group) - min(group) for group in groups]
    assert sorted(spread)[len(spread) // 2] < 10  # of 89 among all


def launch(config: str, count: int, world: World, run: Path, *words: str, steps: int = 0) -> subprocess.Popen[bytes]:
    """Start a training on `count` processes with one of configs/accelerate."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"configs/accelerate/{config}.yaml"]
    command += ["--num_processes", str(count), "--main_process_port", "0", "tests/launched.py", str(world.data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
    run.mkdir(exist_ok=True, parents=True)
    with (run / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, str(run / "report"), str(steps), *world.words(run, *words)],
            cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def reports(process: subprocess.Popen[bytes], run: Path) -> list[dict[str, Any]]:
    """What every process noted, once all have ended."""
    code = process.wait(timeout=300)
    assert code == 0, (run / "log").read_text()[-3000:]
    return [json.loads(path.read_text()) for path in sorted(run.glob("report.*"))]


@pytest.fixture(scope="module")
def single(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process: its losses, the examples of each step, and its weights."""
    run = tmp_path_factory.mktemp("single")
    seen: list[list[list[int]]] = []

    class Watched(CPUTrainer):
        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any) -> Any:
            pad = world.tokenizer.pad_token_id
            seen.append([[token for token in row if token != pad] for row in inputs["input_ids"].tolist()])
            return super().training_step(model, inputs, *args)

    patch = pytest.MonkeyPatch()
    patch.setattr(sft, "TRAINER", Watched)
    sft.train(world.recipe(run), world.data)
    patch.undo()
    losses = [entry["loss"] for entry in json.loads((run / stages.TRAINED).read_text())["history"]]
    return {"losses": losses, "seen": seen, "weights": load_file(run / "checkpoint" / "model.safetensors")}


def assert_same(single: dict[str, Any], found: list[dict[str, Any]], run: Path) -> None:
    """Same examples at every step, shared without overlap; same losses and final weights, up to rounding."""
    assert len(single["losses"]) == 2 * EXAMPLES / 4
    together = [sorted(chain(*parts)) for parts in zip(*(each["seen"] for each in found), strict=True)]
    assert together == [sorted(batch) for batch in single["seen"]]
    assert found[0]["losses"] == pytest.approx(single["losses"], rel=2e-6)
    weights = load_file(run / "checkpoint" / "model.safetensors")
    assert weights.keys() == single["weights"].keys()
    assert all(torch.allclose(weights[name], single["weights"][name], atol=1e-5) for name in weights)


@pytest.mark.skipif(torch.cuda.is_available(), reason="compares with one process on a CPU")
def test_two_processes_train_as_one_whole_or_in_shards_and_resumed(
    world: World, tmp_path: Path, single: dict[str, Any]
) -> None:
    half = "trainer.per_device_train_batch_size=2"  # on each process: the same global batch; grouped by length
    started = launch("fsdp2", 2, world, tmp_path / "fsdp2", half, steps=9)
    ddp = reports(launch("ddp", 2, world, tmp_path / "ddp", half), tmp_path / "ddp")
    assert_same(single, ddp, tmp_path / "ddp")
    assert ddp[0]["distributed"].endswith("MULTI_CPU") and len(ddp) == 2

    assert started.wait(timeout=300) != 0
    assert f"exitcode  : {KILLED}" in (tmp_path / "fsdp2" / "log").read_text()
    assert not list((tmp_path / "fsdp2").glob("report.*"))
    fsdp2 = reports(launch("fsdp2", 2, world, tmp_path / "fsdp2", half), tmp_path / "fsdp2")
    assert fsdp2[0]["distributed"].endswith("FSDP")
    resumed = {**single, "seen": single["seen"][8:]}  # saved after 8 steps, in the second epoch
    assert_same(resumed, fsdp2, tmp_path / "fsdp2")

    with torch.device("meta"):
        model = skeleton(world.recipe(tmp_path), configuration(str(world.model)))
    for reported, count, kind in ((ddp[0], 1, "ddp"), (fsdp2[0], 2, "fsdp2")):
        weights, _, states = held(model, kind, count, "adamw", half=False)  # type: ignore[arg-type]
        assert (reported["weights"], reported["states"]) == (weights, states)  # what --dry-run says, to the byte


@DEEPSPEED
@pytest.mark.skipif(torch.cuda.is_available(), reason="compares with one process on a CPU")
@pytest.mark.parametrize("config", ["zero2", "zero3"])
def test_deepspeed_trains_as_one_process(world: World, tmp_path: Path, single: dict[str, Any], config: str) -> None:
    words = "trainer.per_device_train_batch_size=2"
    found = reports(launch(config, 2, world, tmp_path, words), tmp_path)
    assert found[0]["distributed"].endswith("DEEPSPEED")
    assert_same(single, found, tmp_path)


def test_a_recipe_that_does_not_fit_the_launch_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_launch(world.recipe(tmp_path, "optimizer=muon"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(ConfigError, match=r"^accelerate: FSDP 1 is not supported; use configs/accelerate/fsdp2\.yaml"):
        check_launch(world.recipe(tmp_path))
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_launch(world.recipe(tmp_path, "optimizer=muon", "peft.r=2"))
    for words in (["anchor=1"], ["anchor=1", "peft.r=2"]):
        with pytest.raises(ConfigError, match=r"^command line: anchor=1: needs the weights themselves, whole"):
            check_launch(world.recipe(tmp_path, *words))
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    monkeypatch.setattr("prefdisco.training.checks.is_deepspeed_available", lambda: False)
    with pytest.raises(ConfigError, match=r"zero3 needs DeepSpeed: pip install 'prefdisco\[deepspeed\]'"):
        check_launch(world.recipe(tmp_path))
    monkeypatch.setattr("prefdisco.training.checks.is_deepspeed_available", lambda: True)
    with pytest.raises(ConfigError, match=r"^command line: optimizer=muon: DeepSpeed flattens the matrices"):
        check_launch(world.recipe(tmp_path, "optimizer=muon"))


# --- files and reporting


def test_the_files_in_configs_are_ones_that_accelerate_and_recipes_take(world: World, tmp_path: Path) -> None:
    kinds = {
        path.stem: str(load_config_from_file(str(path)).distributed_type)
        for path in (ROOT / "configs/accelerate").glob("*.yaml")
    }
    ends = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
    assert {name: kind.rpartition(".")[2] for name, kind in kinds.items()} == ends
    parts = sorted((ROOT / "configs/model").glob("*.yaml"))
    assert [path.stem for path in parts] == ["llama-3.1-8b", "llama-3.2-3b", "qwen3-0.6b", "qwen3-4b"]
    for path in parts:
        words = ["recipe=selfdistill", f"config={path}", f"model={world.model}", f"run={tmp_path}"]
        arguments = sft.settings(load(SFTRecipe, words, ROOT / "recipes"))
        assert (arguments.packing, arguments.bf16, arguments.max_length) == (True, True, 4096)


def test_nothing_is_reported_unless_it_is_asked_for(world: World, tmp_path: Path) -> None:
    assert tracking.reporting(world.recipe(tmp_path / "one")) == {"report_to": "none", "run_name": "one"}
    assert tracking.notice(world.recipe(tmp_path)) is None


def test_wandb_is_left_out_with_one_line_where_it_is_not_installed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.setenv("WANDB_DIR", "")  # put back as it was
    monkeypatch.setenv("WANDB_PROJECT", "")
    recipe = world.recipe(tmp_path, "trainer.report_to=wandb")
    assert tracking.reporting(recipe)["report_to"] == "none"
    notice = tracking.notice(recipe)
    assert notice == "wandb is not installed, nothing is reported to it: pip install 'prefdisco[wandb]'"


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed (an extra)")
def test_wandb_offline_gets_the_name_the_recipe_and_the_losses(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    import wandb

    sft.train(world.recipe(tmp_path / "named", "trainer.report_to=wandb", "trainer.max_steps=2"), world.data)
    try:
        assert (wandb.run.name, wandb.run.project) == ("named", "prefdisco")
        assert wandb.config["recipe"]["data"]["policy"] == "exact"
        assert wandb.run.summary["train/loss"] > 0
        assert list((tmp_path / "named" / "wandb").glob("offline-run-*"))
    finally:
        wandb.finish()
        for name in ("WANDB_DIR", "WANDB_PROJECT"):
            os.environ.pop(name, None)
