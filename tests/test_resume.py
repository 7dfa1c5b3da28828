"""A run that is killed at any stage goes on where it stopped, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SMALL = [
    "recipe=selfdistill",
    "scenarios.train_limit=60",
    "scenarios.eval_limit=24",
    "data.samples=2",
    "data.interviews=0",
    "trainer.num_train_epochs=2",
    "trainer.per_device_train_batch_size=4",
    "trainer.save_steps=5",
    "trainer.warmup_steps=2",
]


def start(run: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "train/sft.py", *SMALL, *words, f"run={run}"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(run: Path, *words: str) -> dict[str, Any]:
    process = start(run, *words)
    output = process.communicate(timeout=400)[0].decode()
    assert process.returncode == 0, output[-3000:]
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def kill_when(run: Path, reached: Callable[[], bool]) -> None:
    """Start the run and SIGKILL it as soon as `reached()`; it must not have ended by itself before."""
    process = start(run)
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None, f"ended before it could be killed: {process.communicate()[0].decode()[-3000:]}"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def outcomes(run: Path) -> int:
    return sum(lines(path) for path in (run.parent / "data").glob("*/outcomes*.jsonl"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish(tmp_path_factory.mktemp("whole") / "run")


def test_killed_in_evaluation_in_data_generation_and_in_training(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    run = tmp_path / "run"
    kill_when(run, lambda: lines(run / "before" / "episodes.jsonl") >= 10)
    before = lines(run / "before" / "episodes.jsonl")
    kill_when(run, lambda: outcomes(run) >= 5)
    assert lines(run / "before" / "episodes.jsonl") == 24 * 3 > before  # went on, and played nothing twice
    kill_when(run, lambda: any((run / "trainer").glob("checkpoint-5/trainer_state.json")))
    assert outcomes(run) == 60 and not (run / "checkpoint").exists()
    kill_when(run, lambda: lines(run / "after" / "episodes.jsonl") >= 10)
    assert not (run / "summary.json").exists()
    assert finish(run) == uninterrupted


def test_a_finished_run_is_not_run_again(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    run = tmp_path / "run"
    summary = finish(run)
    assert summary == uninterrupted  # the same command, the same numbers
    assert all(estimate["ci"] is not None for estimate in summary["regression"].values())
    assert "oracle alignment, after - before" in (run / "report.md").read_text()
    stamp = (run / "checkpoint" / "model.safetensors").stat().st_mtime_ns
    started = time.monotonic()
    assert finish(run) == uninterrupted
    assert (run / "checkpoint" / "model.safetensors").stat().st_mtime_ns == stamp
    assert time.monotonic() - started < 60

    other = tmp_path / "other"  # another run can share its first evaluation, and its data
    shared = finish(other, f"before={run / 'before'}", "teach.thinking=none", "trainer.num_train_epochs=1")
    assert shared["before"] == uninterrupted["before"] and not (other / "before").exists()
    assert shared["data"] == uninterrupted["data"] and "thinking: none" in (other / "data.md").read_text()


def two_processes(*words: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(Path(sys.executable).parent / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2"),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--num_cpu_threads_per_process", "1", "--main_process_port", "29713", "train/sft.py"),
        *(*SMALL, "trainer.per_device_train_batch_size=2", "scenarios.train_limit=24", "scenarios.eval_limit=8"),
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=400, text=True)


def test_two_processes_make_the_data_once_and_agree(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = two_processes(f"run={run}")
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    assert outcomes(run) == 24 and len(list((run.parent / "data").glob("*/outcomes*.jsonl"))) == 2  # half each
    assert json.loads((run / "summary.json").read_text())["after"]["scenarios"] == 8
    assert done.stdout.count("discovery gain") == 1  # one table, by the main process

    refused = two_processes(f"run={tmp_path / 'other'}", f"before={run / 'before'}", "eval.temperature=0.3")
    said = [line for line in refused.stderr.splitlines() if "error: " in line]
    assert refused.returncode != 0 and "not 0.3; choose another" in said[0], said
    # the launcher may end the other one before it has said so
    assert all("process 1: the main process has ended" in line for line in said[1:]), said
    assert "gloo" not in refused.stderr, refused.stderr[-3000:]
