"""Against a real vLLM server: the same answers as on this machine, and the whole LLM path with its schemas.

`make test-server` installs vLLM for CPUs beside the environment and runs this; plain `make test` skips it.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from prefdisco.cli import main
from prefdisco.config import EvaluateConfig, SFTRecipe, load
from prefdisco.engine.dataset import read
from prefdisco.evaluate import evaluate, load_episodes
from prefdisco.records import faults
from prefdisco.schema import Scenario, read_jsonl
from prefdisco.training import sft
from tests.finished import finished_run
from tests.scribbler import CONTEXT, make_scribbler
from tests.tiny import chat_checkpoint

PYTHON = os.environ.get("PREFDISCO_TEST_VLLM", "")  # of an environment that has vLLM
CHECKPOINT = os.environ.get("PREFDISCO_TEST_CHECKPOINT", "")  # a trained one, to be served too
DATA = Path(__file__).parent / "data"
START_SECONDS = 300
LIMIT = 100
SAME = ("scenarios=pocket:test", "temperature=0", "max_tokens=200", "remote.cache=null")  # as tests/finished.py
ENVIRONMENT = {
    **os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1", "PYTHONPATH": str(Path(__file__).parent.parent),
}  # fmt: skip

pytestmark = pytest.mark.skipif(not PYTHON, reason="needs a vLLM: make test-server")


@contextmanager
def vllm(model: Path | str, log: Path, *words: str) -> Iterator[str]:
    """A server for a checkpoint until the block ends: the name of its model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        PYTHON, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--served-model-name", "agent",
        "--host", "127.0.0.1", "--port", str(port), "--enforce-eager", *words,
    ]  # fmt: skip
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT, start_new_session=True)
        try:
            until = time.monotonic() + START_SECONDS
            while not answers(f"http://127.0.0.1:{port}/v1/models"):
                assert process.poll() is None, f"vLLM ended: {log.read_text()[-3000:]}"
                assert time.monotonic() < until, f"vLLM did not start: {log.read_text()[-3000:]}"
                time.sleep(0.5)
            yield f"server/http://127.0.0.1:{port}/v1#agent"
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def greedy(agent: str, folder: Path) -> EvaluateConfig:
    words = ["temperature=0", f"limit={LIMIT}", f"run={folder}", "remote.cache=null", "remote.concurrency=64"]
    return load(EvaluateConfig, [f"agent={agent}", *words])


@pytest.mark.parametrize("agent", ["pocket-base", *([CHECKPOINT] if CHECKPOINT else [])])
def test_a_served_checkpoint_answers_as_it_does_on_this_machine(agent: str, tmp_path: Path) -> None:
    here = evaluate(greedy(agent, tmp_path / "here"))
    path = str(files("prefdisco") / "pocket" / "base") if agent == "pocket-base" else agent
    with vllm(path, tmp_path / "log", "--dtype", "float32", "--max-model-len", "1024") as served:
        there = evaluate(greedy(served, tmp_path / "there"))
    assert here["errors"] == there["errors"] == 0
    first, second = (load_episodes(tmp_path / name / "episodes.jsonl") for name in ("here", "there"))
    assert len(first) == 3 * LIMIT and first.keys() == second.keys()
    same = [first[key].response == second[key].response for key in first]
    asked = [first[key].questions == second[key].questions for key in first]
    print(f"{agent}: equal answers {sum(same)}/{len(same)}, equal questions {sum(asked)}/{len(asked)}")
    assert sum(same) >= 0.99 * len(same) and sum(asked) >= 0.99 * len(asked)
    for condition, figures in here["conditions"].items():
        for figure in ("accuracy", "alignment"):
            low, high = figures[figure]["ci"]
            assert low <= there["conditions"][condition][figure]["mean"] <= high


def test_a_released_folder_is_served_with_the_answers_that_its_card_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "mine"
    finished_run(run, f"scenarios.eval_limit={LIMIT}")
    main(["release", str(run)])
    with vllm(run / "release", tmp_path / "log", "--dtype", "float32", "--max-model-len", "1024") as served:
        evaluate(load(EvaluateConfig, [f"agent={served}", *SAME, f"limit={LIMIT}", f"run={tmp_path / 'there'}"]))
        python, shell = (
            re.findall(rf"```{kind}\n(.*?)```", (run / "release" / "README.md").read_text(), re.DOTALL)
            for kind in ("python", "sh")
        )
        assert shell[0] == "vllm serve . --port 8000\n"
        address = served.removeprefix("server/").partition("#")[0]
        names: dict[str, Any] = {}
        exec(python[1].replace("http://localhost:8000/v1", address), names)
        monkeypatch.setattr("builtins.input", lambda question: "No preference.")
        exec("messages = [" + python[0].partition("messages = [")[2], names)
        assert names["text"] and "</think>" in names["messages"][-1]["content"]
    first, second = (load_episodes(folder / "episodes.jsonl") for folder in (run / "after", tmp_path / "there"))
    assert len(first) == 3 * LIMIT and first.keys() == second.keys()
    same = [first[key].response == second[key].response for key in first]
    print(f"released: equal answers {sum(same)}/{len(same)}")
    assert sum(same) >= 0.99 * len(same)


def test_build_user_judge_and_a_whole_recipe_run_on_a_server_that_keeps_to_their_schemas(tmp_path: Path) -> None:
    model = make_scribbler(tmp_path / "scribbler")
    few = ["personas=2", "per_problem=2", "attributes=8", "fewest=1", "max_tokens=4096"]
    cache, asked = f"remote.cache={tmp_path / 'cache'}", 0
    # Prompts are read whole: vLLM 0.31 cannot continue the random numbers of a request between two parts on a CPU.
    whole = ("--max-model-len", str(CONTEXT), "--max-num-batched-tokens", str(CONTEXT), "--no-enable-chunked-prefill")
    with vllm(model, tmp_path / "log", *whole) as served:
        # All in one call, a model that writes at random now and then grades one criterion twice, and never another.
        for task, problems, mode in (("math500", 4, "separate"), ("commonsenseqa", 2, "together")):
            built, played = tmp_path / task, tmp_path / f"{task}-played"
            words = [f"task={task}", f"path={DATA / task}.jsonl", f"model={served}", f"run={built}", cache]
            main(["build", *words, *few, f"limit={problems}"])
            scenarios = list(read_jsonl(built / "scenarios.jsonl", Scenario))
            assert len(scenarios) == 2 * problems and not list(faults(built / "published.jsonl"))
            assert all(len(s.rubric) == len(s.profile) for s in scenarios)
            roles = ["agent=pocket-base", f"user={served}", f"judge={served}", f"scenarios={built}/published.jsonl"]
            summary = evaluate(load(EvaluateConfig, [*roles, f"run={played}", f"judge_mode={mode}", cache]))
            assert summary["errors"] == 0 and summary["scenarios"] == 2 * problems
            episodes = load_episodes(played / "episodes.jsonl").values()
            assert len(episodes) == 6 * problems and all(1 <= (e.alignment or 0) <= 5 for e in episodes)
            asked += sum(e.user_usage.calls for e in episodes)
        assert asked
        for family, seed in (("qwen3", 4), ("llama", 6)):  # seeds with which they happen to get a problem right
            model, run = chat_checkpoint(tmp_path / family, family, likely="9"), tmp_path / f"{family}-run"
            words = [
                "recipe=tasks", f"model={model}", f"scenarios.source={tmp_path}/math500/scenarios.jsonl",
                f"scenarios.eval_source={tmp_path}/commonsenseqa/scenarios.jsonl", "scenarios.eval_limit=2",
                f"eval.user={served}", f"eval.judge={served}", f"run={run}", "remote.cache=null",
                "eval.judge_mode=separate",
                "data.samples=16", "data.margin=0", "data.max_tokens=8", "eval.max_tokens=8", "trainer.max_steps=2",
                "trainer.bf16=false", f"seed={seed}",
            ]  # fmt: skip
            trained = sft.run(load(SFTRecipe, words))
            assert trained is not None and trained["before"]["errors"] == trained["after"]["errors"] == 0
            assert all(trained[stage]["scenarios"] == 2 for stage in ("before", "after"))
            outcomes = read(tmp_path / "data" / trained["data"])
            print(f"{family}: {sum(bool(o.talks) for o in outcomes)} of {len(outcomes)} scenarios survived")
            assert len(outcomes) == 8 and any(outcome.talk("discovery") for outcome in outcomes)
            assert (run / "checkpoint" / "model.safetensors").is_file() and (run / "report.md").is_file()


def played_by_vllm(folder: Path, *words: str) -> dict[str, Any]:
    """What tests/launched_vllm.py finds: a small training whose dialogues vLLM plays."""
    command = [
        PYTHON, "tests/launched_vllm.py", sysconfig.get_paths()["purelib"], "recipe=grpo_small",
        f"model={files('prefdisco') / 'pocket' / 'base'}", f"run={folder}", "scenarios.train_limit=8",
        "rollout.max_tokens=96", "rollout.budget=2", "trainer.max_steps=2", "trainer.num_generations=4",
        "trainer.per_device_train_batch_size=4", "trainer.gradient_accumulation_steps=2",
        "trainer.steps_per_generation=2", "trainer.num_iterations=1", "rollout.candidates=1", "optimizer=adamw",
        "trainer.learning_rate=0.001", "trainer.warmup_steps=0", "watch.every=1",
        "watch.limit=4", "watch.adaptivity=false", "watch.broken=1", "watch.collapse=9", *words,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env=ENVIRONMENT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name, batch in found.items():
        if name != "log":
            assert batch["recorded"] and not batch["errors"] and len(batch["texts"]) == 8
    assert found["before"]["questions"] > 4
    assert found["before"]["texts"] == found["again"]["texts"] and len(set(found["before"]["texts"][:4])) > 1
    print({name: batch["apart"] for name, batch in found.items() if name != "log"})
    return found


def test_vllm_in_process_plays_with_the_weights_of_every_step(tmp_path: Path) -> None:
    found = played_by_vllm(tmp_path, "rollout.engine=colocate", "trainer.vllm_max_model_length=1024")
    # bfloat16 in vLLM, float32 in the trainer
    assert found["before"]["apart"] < 0.01 and found["trained"]["apart"] < 0.01
    assert found["stale"]["apart"] > 5 * found["trained"]["apart"]
    assert found["trained"]["texts"] != found["before"]["texts"]
    steps = [line for line in found["log"] if "reward" in line]
    assert len(steps) == 2 and all(line["episodes/error"] == 0 for line in steps)
    assert sum("eval_reward" in line for line in found["log"]) == 3  # at the start, and after every step


def test_a_vllm_server_plays_the_dialogues_of_a_training(tmp_path: Path) -> None:
    path = str(files("prefdisco") / "pocket" / "base")
    words = ("--dtype", "float32", "--max-model-len", "1024", "--logprobs-mode", "processed_logprobs")
    with vllm(path, tmp_path / "log", *words) as served:
        url = served.removeprefix("server/").partition("/v1")[0]
        found = played_by_vllm(tmp_path / "run", "rollout.engine=server", f"trainer.vllm_server_base_url={url}")
    assert found["before"]["apart"] < 1e-3
