"""An evaluation knows whose weights it played, and a model what it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from prefdisco.config import EvaluateConfig, load
from prefdisco.evaluate import AGENT, evaluate, identity_in, load_episodes
from prefdisco.files import RunError
from prefdisco.llm.local import LocalModel
from prefdisco.training.lineage import Lineage, lineage
from tests.tiny import tiny_checkpoint


def config(checkpoint: Path, run: Path, *words: str) -> EvaluateConfig:
    few = ["limit=2", "max_tokens=4", "conditions=[baseline,oracle]"]
    return load(EvaluateConfig, [f"agent={checkpoint}", f"run={run}", *few, *words])


def retrain(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    save_file({name: 1.5 * tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def test_an_evaluation_notes_its_weights_and_takes_no_others(tmp_path: Path) -> None:
    checkpoint, run = tiny_checkpoint(tmp_path / "model"), tmp_path / "run"
    evaluate(config(checkpoint, run))
    assert identity_in(run) == LocalModel(str(checkpoint)).identity()
    evaluate(config(checkpoint, run, "seeds=[0,1]"))  # the same weights may go on
    played = load_episodes(run / "episodes.jsonl")
    retrain(checkpoint)
    with pytest.raises(RunError, match="the agent's weights changed since these episodes were played; remove"):
        evaluate(config(checkpoint, run))
    assert load_episodes(run / "episodes.jsonl") == played
    (run / "episodes.jsonl").unlink()
    evaluate(config(checkpoint, run))
    assert identity_in(run) == LocalModel(str(checkpoint)).identity()


def test_a_template_is_part_of_the_identity(tmp_path: Path) -> None:
    checkpoint, run = tiny_checkpoint(tmp_path / "model"), tmp_path / "run"
    evaluate(config(checkpoint, run))
    template = checkpoint / "chat_template.jinja"
    template.write_text(template.read_text() + "\n")
    with pytest.raises(RunError, match="the agent's tokenizer changed"):
        evaluate(config(checkpoint, run))


def test_episodes_of_an_earlier_version_go_on_without_a_note(tmp_path: Path) -> None:
    checkpoint, run = tiny_checkpoint(tmp_path / "model"), tmp_path / "run"
    evaluate(config(checkpoint, run))
    (run / AGENT).unlink()
    retrain(checkpoint)  # who could tell?
    evaluate(config(checkpoint, run, "seeds=[0,1]"))
    assert len(load_episodes(run / "episodes.jsonl")) == 8 and identity_in(run) is None


def test_dialogues_that_are_graded_anew_keep_whose_they_are(tmp_path: Path) -> None:
    checkpoint, run = tiny_checkpoint(tmp_path / "model"), tmp_path / "run"
    evaluate(config(checkpoint, run))
    noted = identity_in(run)
    retrain(checkpoint)
    evaluate(config(checkpoint, tmp_path / "again", f"episodes={run}"))
    assert noted == json.loads((tmp_path / "again" / AGENT).read_text())


def card(folder: Path, front_matter: str) -> str:
    folder.mkdir()
    (folder / "README.md").write_text(f"---\n{front_matter}\n---\n\n# A model\n")
    return str(folder)


def test_licence_and_base_are_those_of_the_models_before(tmp_path: Path) -> None:
    first = card(tmp_path / "first", "base_model: someone/large\nlicense: mit")
    second = card(tmp_path / "second", f"base_model: {first}")
    assert lineage(second) == Lineage("mit", "someone/large")
    assert lineage("pocket-base") == Lineage("apache-2.0", None)
    assert lineage("someone/large") == Lineage(None, "someone/large")  # its card is not on this machine
    assert lineage(card(tmp_path / "broken", "license: [")) == lineage(str(tmp_path / "none")) == Lineage()
    circle = card(tmp_path / "circle", f"base_model: {tmp_path / 'back'}")
    assert lineage(card(tmp_path / "back", f"base_model: {circle}")) == Lineage()
