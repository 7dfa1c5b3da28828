"""What a person gets wrong is one line on standard error: what, where, what to do. Exit 2, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_checkpoint

from prefdisco import cli
from prefdisco.engine import selfdistill
from prefdisco.evaluate import load_episodes
from prefdisco.pocket.scenarios import scenarios
from train import pretrain, sft

ROOT = Path(__file__).parent.parent
SMALL = [
    "recipe=selfdistill", "scenarios.train_limit=2", "scenarios.eval_limit=2", "data.max_tokens=8", "data.interviews=0",
    "eval.max_tokens=8", "eval.conditions=[baseline]",
]  # fmt: skip
SCENARIO = scenarios("test", 1)[0].model_dump(mode="json")

BAR = re.compile(r"\d+%\|")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test works in an empty folder, and what is not written there is not written at all."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder


@pytest.fixture
def complaint(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script's main, which must fail as it should; its one line, without the name of the script."""

    def run(main: Callable[..., Any], *words: str, bars: bool = False) -> str:
        name = {sft.main: "sft", pretrain.main: "pretrain"}.get(main, "prefdisco")
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            if main is cli.main:
                main(list(words))
            else:
                monkeypatch.setattr(sys, "argv", [name, *words])
                main()
        line = capfd.readouterr().err
        if bars:  # training shows progress; what else it prints is the one line
            line = "".join(part for part in line.splitlines(keepends=True) if not BAR.search(part) and part.strip())
        assert caught.value.code == 2
        assert line.startswith(f"{name}: error: ") and line.endswith("\n") and line.count("\n") == 1, line
        return line.removeprefix(f"{name}: error: ").strip()

    return run


def files(folder: Path) -> list[str]:
    """All files below `folder` but locks, which say who holds a folder and are always empty of results."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def whole(folder: Path) -> bool:
    """No temporary file, and every line of JSON readable to its end."""
    texts = {path: path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".jsonl")}
    for path, text in texts.items():
        for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
            json.loads(line)
        if path.suffix == ".jsonl" and text and not text.endswith("\n"):
            return False
    return not any(path.suffix == ".tmp" for path in folder.rglob("*"))


# configuration


def test_a_wrong_recipe_name_names_the_nearest(complaint: Run, here: Path) -> None:
    assert complaint(sft.main, "recipe=selfdistil").endswith("did you mean selfdistill?")
    assert complaint(pretrain.main, "recipe=pockt").endswith("did you mean pocket?")
    assert "run train/pretrain.py recipe=pocket" in complaint(sft.main, "recipe=pocket")
    line = complaint(sft.main)
    assert line.startswith("command line: choose a recipe with recipe=NAME; recipes are ") and "selfdistill" in line
    assert complaint(sft.main, "recipe=mine.yaml") == "command line: recipe=mine.yaml: no such file"
    assert files(here) == []


@pytest.mark.parametrize(
    ("main", "word", "nearest"),
    [
        (sft.main, "data.polici=random", "data.policy"),
        (sft.main, "margn=1", "data.margin"),
        (sft.main, "trainer.lerning_rate=1", "trainer.learning_rate"),
        (sft.main, "peft.rr=8", "peft.r"),
        (pretrain.main, "corpus.document=3", "corpus.documents"),
        (pretrain.main, "model.hiden_size=3", "model.hidden_size"),
        (pretrain.main, "trainer.num_epochs=3", "trainer.num_train_epochs"),
        (cli.main, "limits=3", "limit"),
    ],
)
def test_an_unknown_key_on_the_command_line_names_the_nearest(
    complaint: Run, here: Path, main: Callable[..., Any], word: str, nearest: str
) -> None:
    first = {sft.main: ["recipe=selfdistill"], pretrain.main: ["recipe=pocket"]}.get(main, ["evaluate", "agent=x"])
    line = complaint(main, *first, word)
    assert line.startswith(f"command line: unknown key {word.partition('=')[0]}")
    assert line.endswith(f"; did you mean {nearest}?")
    assert files(here) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("data: {polici: random}", "mine.yaml: unknown key data.polici; did you mean data.policy?"),
        ("dta: {policy: random}", "mine.yaml: unknown key dta; did you mean data?"),
        ("trainer: {lerning_rate: 1}", "mine.yaml: unknown key trainer.lerning_rate (SFTConfig); did you mean "),
        ("trainer: {learning_rate: fast}", "mine.yaml: trainer.learning_rate=fast: expected float"),
        ("data: {budget: many}", "mine.yaml: data.budget=many: expected int"),
        ("data: {mix: {plain: 2}}", "mine.yaml: data.mix.plain=2: should be less than or equal to 1"),
        ("data: [1", "mine.yaml:2: not valid YAML: "),
        ("- 1", "mine.yaml: expected lines of the form `key: value`"),
        ("\x00", "mine.yaml: not valid YAML: "),
        ("kind: rl", "mine.yaml: is a recipe of kind 'rl': run train/rl.py recipe=mine"),
    ],
)
def test_a_mistake_in_a_recipe_file_names_the_file(complaint: Run, here: Path, content: str, expected: str) -> None:
    (here / "mine.yaml").write_text(content + "\n")
    assert complaint(sft.main, "recipe=mine.yaml").startswith(expected)
    assert files(here) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.budget=many", "data.budget=many: expected int"),
        ("data.policy=clever", "data.policy=clever: "),
        ("eval.seeds=[0,x]", "eval.seeds=[0, x]: expected list of int"),
        ("trainer.learning_rate=fast", "trainer.learning_rate=fast: expected float"),
        ("trainer.bf16=maybe", "trainer.bf16=maybe: expected bool"),
        ("trainer.lr_scheduler_type=cosin", "trainer"),
        ("trainer.optim=adamm", "trainer"),
        ("eval.conditions=[discovry]", ""),
        ("data.budget", "expected key=value, got 'data.budget'"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(
    complaint: Run, here: Path, checkpoint: Path, word: str, expected: str
) -> None:
    line = complaint(sft.main, *SMALL, f"model={checkpoint}", word)
    assert expected in line and word.partition("=")[2].strip("[]").split(",")[-1] in line
    assert files(here) == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("limit=0", "limit=0: should be greater than or equal to 1"),
        ("limit=some", "limit=some: expected int"),
        ("conditions=[discovry]", "did you mean discovery?"),
        ("conditions=[fixed(0)]", "fixed(k) with k of 1 or more"),
        ("scenarios=pocket:tset", "unknown split 'tset'; there are pocket:train, pocket:test and pocket:heldout"),
        ("judge=strict", "judge=strict: unknown judge"),
        ("user=rude", "user=rude: unknown user"),
    ],
)
def test_a_wrong_value_of_an_evaluation_says_what_there_is(
    complaint: Run, here: Path, checkpoint: Path, word: str, expected: str
) -> None:
    assert expected in complaint(cli.main, "evaluate", f"agent={checkpoint}", word).replace(
        "should be one", "expected one"
    )
    assert files(here) == []


# checkpoints


@pytest.mark.parametrize("where", ["nowhere/x", "/nowhere/x", "./nowhere", "nowhere"])
def test_a_missing_checkpoint_is_named_and_the_run_folder_stays_free(complaint: Run, here: Path, where: str) -> None:
    for main, *words in (
        (cli.main, "evaluate", f"agent={where}", "limit=1", "run=out"),
        (sft.main, *SMALL, f"model={where}", "run=out"),
        (sft.main, *SMALL, f"model={where}", "run=out", "--dry-run"),
    ):
        line = complaint(main, *words)
        assert line.startswith(f"model {where}: no such folder")
        assert files(here) == []  # the command with the right model must not be told that the folder is another's


@pytest.mark.parametrize(
    ("name", "content"),
    [("model.safetensors", b"half"), ("config.json", b"{"), ("tokenizer.json", b"{"), ("config.json", b"{}")],
)
def test_a_broken_checkpoint_is_one_line(
    complaint: Run, here: Path, checkpoint: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in checkpoint.iterdir():
        (broken / path.name).write_bytes(content if path.name == name else path.read_bytes())
    assert complaint(cli.main, "evaluate", f"agent={broken}", "limit=1").startswith(f"model {broken}: ")
    assert files(here) == []


# scenarios


def broken_scenarios() -> dict[str, tuple[bytes, str]]:
    """What stands on line 2 -> what must follow `FILE:2: `."""

    def changed(**fields: Any) -> bytes:
        return json.dumps({**SCENARIO, **fields}).encode()

    weights = [{**p, "weight": 0.9} for p in SCENARIO["profile"]]
    problem = {key: value for key, value in SCENARIO["problem"].items() if key != "answer"}
    return {
        "cut off": (changed()[:100], "line: Invalid JSON"),
        "missing field": (changed(problem=problem), "problem.answer: Field required"),
        "unknown field": (changed(colour="red"), "colour: Extra inputs are not permitted"),
        "wrong type": (changed(id=3), "id: Input should be a valid string"),
        "weights": (changed(profile=weights), "profile: Value error, weights sum to"),
        "no profile": (changed(profile=[]), "profile: Tuple should have at least 1 item"),
        "not UTF-8": (b"\xff\xfe", "line: "),
        "not an object": (b"3", "line: "),
    }


@pytest.mark.parametrize("case", sorted(broken_scenarios()))
def test_a_broken_line_is_named_by_file_line_and_field(complaint: Run, here: Path, checkpoint: Path, case: str) -> None:
    content, expected = broken_scenarios()[case]
    (here / "mine.jsonl").write_bytes(json.dumps(SCENARIO).encode() + b"\n" + content + b"\n")
    assert complaint(cli.main, "validate", "mine.jsonl").startswith(f"mine.jsonl:2: {expected}")
    line = complaint(cli.main, "evaluate", f"agent={checkpoint}", "scenarios=mine.jsonl")
    assert line.startswith(f"mine.jsonl:2: {expected}")
    assert files(here) == ["mine.jsonl"]


def test_a_missing_or_empty_scenario_file_is_named(complaint: Run, here: Path, checkpoint: Path) -> None:
    (here / "empty.jsonl").write_text("\n")
    agent = f"agent={checkpoint}"
    assert complaint(cli.main, "evaluate", agent, "scenarios=none.jsonl") == "none.jsonl: no such file"
    assert complaint(cli.main, "evaluate", agent, "scenarios=empty.jsonl") == (
        "scenarios=empty.jsonl: the file has no scenarios"
    )
    assert "expected one file" in complaint(cli.main, "validate")
    assert files(here) == ["empty.jsonl"]


# run folders


@pytest.mark.parametrize("run", ["file/run", "file", "/proc/run", "/dev/null/run"])
def test_an_unwritable_run_folder_is_named(complaint: Run, here: Path, checkpoint: Path, run: str) -> None:
    """A folder below a file, and /proc: nobody can write there, not even root."""
    (here / "file").write_text("mine")
    for main, *words in (
        (cli.main, "evaluate", f"agent={checkpoint}", "limit=1"),
        (sft.main, *SMALL, f"model={checkpoint}"),
        (pretrain.main, "recipe=pocket", "corpus.documents=50"),
    ):
        line = complaint(main, *words, f"run={run}")
        assert line.startswith(run) and line.endswith("; choose another run folder")
    assert files(here) == ["file"] and (here / "file").read_text() == "mine"


def test_what_a_training_cannot_be_merged_with_is_refused_before_it(
    complaint: Run, here: Path, checkpoint: Path
) -> None:
    words = [*SMALL, f"model={checkpoint}", "run=out"]
    assert complaint(sft.main, *words, "merge.share=0.5") == (
        "command line: merge.share: merged with what? set merge.model=CHECKPOINT"
    )
    assert "merge.model=runs/none/checkpoint: no such checkpoint" in complaint(
        sft.main, *words, "merge.model=runs/none/checkpoint"
    )
    line = complaint(sft.main, *words, "merge.model=pocket-base")
    assert f"model={checkpoint} and merge.model=pocket-base are not of one shape" in line
    assert not (here / "out" / "config.yaml").exists()


def test_a_run_folder_of_other_settings_is_refused_and_left_alone(complaint: Run, here: Path, checkpoint: Path) -> None:
    words = [f"agent={checkpoint}", "limit=1", "max_tokens=4", "conditions=[baseline]", "run=out"]
    assert cli.main(["evaluate", *words]) == 0
    before = {name: (here / name).read_bytes() for name in files(here)}
    line = complaint(cli.main, "evaluate", *words, "temperature=0.5")
    assert "made with temperature=1.0, not 0.5" in line and "run=FOLDER" in line
    assert {name: (here / name).read_bytes() for name in files(here)} == before


# a full disk


class Disk:
    """Runs full: writes of records beyond the first `room` put down half of a line, then nothing more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, records: int | None = None, syncs: int | None = None) -> None:
        self.records, self.syncs = records, syncs
        self.write, self.sync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.fill)
        monkeypatch.setattr(os, "fsync", self.flush)

    def fill(self, descriptor: int, data: bytes) -> int:
        if self.records is None or not data.startswith(b"{"):
            return self.write(descriptor, data)
        self.records -= 1
        if self.records >= 0:
            return self.write(descriptor, data)
        if self.records == -1:
            return self.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self, descriptor: int) -> None:
        if self.syncs is not None:
            self.syncs -= 1
            if self.syncs < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.sync(descriptor)


FULL = "the disk is full; free some space and run the same command again"


@pytest.mark.parametrize(
    ("room", "where", "left"),
    [
        ({"syncs": 0}, "out/config.yaml", []),
        ({"records": 0}, "out/episodes.jsonl", ["out/agent.json", "out/config.yaml", "out/episodes.jsonl"]),
        ({"records": 2}, "out/episodes.jsonl", ["out/agent.json", "out/config.yaml", "out/episodes.jsonl"]),
        ({"syncs": 1, "records": 0}, "out/agent.json", ["out/config.yaml"]),
        ({"syncs": 2}, "out/summary.json", ["out/agent.json", "out/config.yaml", "out/episodes.jsonl"]),
    ],
)
def test_a_full_disk_leaves_whole_records_and_the_same_command_goes_on(
    complaint: Run,
    here: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    room: dict[str, int],
    where: str,
    left: list[str],
) -> None:
    words = ["evaluate", f"agent={checkpoint}", "limit=3", "max_tokens=4", "conditions=[discovery]", "run=out"]
    with monkeypatch.context() as patch:
        Disk(patch, **room)
        assert complaint(cli.main, *words) == f"{where}: {FULL}"
    assert files(here) == left and whole(here)
    assert len(load_episodes(here / "out/episodes.jsonl")) == min(room.get("records", 3), 3) * bool(left)
    assert cli.main(words) == 0
    assert json.loads((here / "out/summary.json").read_text())["conditions"]["discovery"]["n"] == 3


def test_a_disk_that_fills_while_data_is_made_is_one_line(
    complaint: Run, here: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SMALL, f"model={checkpoint}", "run=runs/out"]
    with monkeypatch.context() as patch:
        Disk(patch, records=3)  # two episodes of the evaluation before, one scenario of data
        line = complaint(sft.main, *words)
    assert line.startswith("runs/data/") and line.endswith(f"outcomes.jsonl: {FULL}")
    outcomes = next(here.glob("runs/data/*/outcomes.jsonl"))
    assert whole(here) and len(outcomes.read_text().splitlines()) == 1


@pytest.mark.parametrize("shortage", ["checkpoint", "trainer"])
def test_a_disk_that_fills_while_weights_are_saved_is_one_line_and_the_run_goes_on(
    complaint: Run, here: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, shortage: str
) -> None:
    """safetensors writes through Rust and reports a full disk as text."""
    import safetensors
    import transformers.modeling_utils as saving

    def full(tensors: Any, filename: Any, *args: Any, **kwargs: Any) -> None:
        if shortage in str(filename):
            raise safetensors.SafetensorError(
                "Error while serializing: I/O error: No space left on device (os error 28)"
            )
        return save(tensors, filename, *args, **kwargs)

    save = saving.safe_save_file
    monkeypatch.setattr(
        selfdistill, "verdict", lambda *arguments: "kept"
    )  # a random model writes nothing worth keeping
    words = [*SMALL, f"model={checkpoint}", "run=runs/out", "trainer.max_steps=2", "trainer.save_steps=1"]
    with monkeypatch.context() as patch:
        patch.setattr(saving, "safe_save_file", full)
        line = complaint(sft.main, *words, bars=True)
    assert line.startswith("runs/out") and line.endswith(FULL)
    assert not (here / "runs/out/trained.json").exists() and not (here / "runs/out/summary.json").exists()
    sft.main()  # sys.argv still holds the same words
    assert json.loads((here / "runs/out/trained.json").read_text())["steps"] == 2
    assert (here / "runs/out/checkpoint/model.safetensors").exists() and whole(here)


def test_no_surviving_example_is_one_line_that_points_at_the_card(complaint: Run, here: Path, checkpoint: Path) -> None:
    line = complaint(sft.main, *SMALL, f"model={checkpoint}", "run=runs/out")
    assert "no trace survived the filters" in line
    assert "| all | 2 | 0 |" in next(here.glob("runs/data/*/card.md")).read_text()


# the scripts themselves


@pytest.mark.parametrize(
    ("script", "words", "expected"),
    [
        ("train/sft.py", ["recipe=selfdistil"], "sft: error: command line: no recipe 'selfdistil'"),
        ("train/sft.py", ["recipe=selfdistill", "model=nowhere"], "sft: error: model nowhere: no such folder"),
        ("eval/run.py", ["agent=/nowhere/x", "limit=1"], "prefdisco: error: model /nowhere/x: no such folder"),
    ],
)
def test_a_script_says_one_line_and_exits_with_2(here: Path, script: str, words: list[str], expected: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=here, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(expected) and done.stderr.count("\n") == 1, done.stderr
    assert files(here) == []
