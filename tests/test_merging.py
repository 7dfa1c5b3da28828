"""Weights between two checkpoints, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_checkpoint, tiny_llama, tiny_tokenizer

from prefdisco.cli import main
from prefdisco.config import SFTRecipe
from prefdisco.config import load as load_config
from prefdisco.llm.local import LocalModel, load
from prefdisco.training.card import merged_with
from prefdisco.training.stages import save


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and one of the same shape with other weights, in bfloat16."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    tiny_checkpoint(first)
    model, tokenizer = load(str(first), device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    model.bfloat16().save_pretrained(second)
    tokenizer.save_pretrained(second)
    return first, second


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_merged_checkpoint_is_the_weighted_mean_and_plays(
    pair: tuple[Path, Path], share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "merged"
    main(["merge", *map(str, pair), f"share={share}", f"out={out}"])
    assert capsys.readouterr().out.strip() == str(out)
    first, second, merged = (load(str(path), device="cpu")[0].state_dict() for path in (*pair, out))
    for name, tensor in merged.items():
        expected = ((1 - share) * first[name] + share * second[name]).bfloat16().float()
        torch.testing.assert_close(tensor, expected, rtol=0.01, atol=0.01)
    note = json.loads((out / "merge.json").read_text())
    assert (note["first"], note["share"]) == (str(pair[0]), share) and note["weights"]["first"]
    assert LocalModel(str(out)).chat.ends


def test_a_training_may_end_with_a_merge(pair: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = map(str, pair)
    words = [f"model={first}", f"merge.model={second}", "merge.share=0.75", f"run={tmp_path}"]
    recipe = load_config(SFTRecipe, ["recipe=selfdistill", *words])
    model, tokenizer = load(first, device="cpu")
    save(recipe, model, tokenizer, 1, 1, [])
    trained, other, saved = (
        load(name, device="cpu")[0].state_dict() for name in (first, second, f"{tmp_path}/checkpoint")
    )
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, 0.75 * trained[name] + 0.25 * other[name])
    assert merged_with(recipe)[0].startswith(f"- Weights: 0.75 x the trained ones + 0.25 x those of `{second}`")
    assert not merged_with(load_config(SFTRecipe, ["recipe=selfdistill"]))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["merge", *words])
    line = capsys.readouterr().err
    assert ended.value.code == 2 and line.count("\n") == 1
    return line


def test_what_cannot_be_merged_is_refused_on_one_line(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = map(str, pair)
    assert "expected two checkpoints" in refused([first, f"out={tmp_path / 'a'}"], capsys)
    assert "out" in refused([first, second], capsys)
    assert "share" in refused([first, second, "share=2", f"out={tmp_path / 'a'}"], capsys)
    assert "nowhere" in refused([first, "runs/nowhere", f"out={tmp_path / 'a'}"], capsys)
    assert "there is something already" in refused([first, second, f"out={second}"], capsys)
    other, tokenizer = tmp_path / "other", tiny_tokenizer(300)
    tiny_llama(tokenizer).save_pretrained(other)
    tokenizer.save_pretrained(other)
    assert "not of one shape: " in refused([first, str(other), f"out={tmp_path / 'a'}"], capsys)
    swapped = shutil.copytree(first, tmp_path / "swapped")
    written = json.loads((swapped / "tokenizer.json").read_text())
    vocabulary = written["model"]["vocab"]
    one, two = list(vocabulary)[-2:]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (swapped / "tokenizer.json").write_text(json.dumps(written))
    assert "do not share their tokens" in refused([first, str(swapped), f"out={tmp_path / 'a'}"], capsys)
    assert not (tmp_path / "a").exists()
