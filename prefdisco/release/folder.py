"""The folder to publish: what is in it, and writing it so that the same release again changes nothing.

The weights, the tokenizer and the chat template are the checkpoint's own files, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from transformers import GenerationConfig

from prefdisco.config import ConfigError
from prefdisco.files import RunError, atomic_write, writing
from prefdisco.release.checks import Finished
from prefdisco.release.config import ReleaseConfig
from prefdisco.training.card import Published, data_card, has_data, inherited, model_card

SUMS, DATA_CARD, BENCHMARK = "SHA256SUMS", "data_card.md", ".eval_results/prefdisco.yaml"
OURS = ("config.yaml", "summary.json", "README.md", "generation_config.json", DATA_CARD, BENCHMARK, SUMS)
KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")  # of a checkpoint: weights, tokenizer; nothing pickled
LEFT = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")  # as files.atomic_write and _place name what is not whole yet
Content = Path | bytes


def contents(run: Finished, config: ReleaseConfig) -> dict[str, Content]:
    """Every file of the release but the checksums: its content, or the file that it is a copy of.

    `config.yaml` comes first: it says whose folder it is. Raises ConfigError where nobody says what the licence is.
    """
    name = config.push.partition("/")[2] if config.push else run.recipe.name
    copies: dict[str, Content] = {
        path.name: path
        for path in sorted(run.checkpoint.iterdir())
        if path.suffix in KEPT and path.name not in OURS and path.is_file()
    }
    hashes = {name: sha256(path) for name, path in copies.items() if name.endswith(".safetensors")}
    published = Published(name, config.push or ".", config.license, hashes)
    if inherited(run.recipe, published)[0] is None:
        raise ConfigError(
            f"license: the card of {run.recipe.model} names none, or is not here; give license=ID, an identifier of "
            "https://huggingface.co/docs/hub/repositories-licenses"
        )
    card = model_card(run.recipe, run.summary, run.data, published)
    files: dict[str, Content] = {
        "config.yaml": (run.folder / "config.yaml").read_bytes(),
        "summary.json": (run.folder / "summary.json").read_bytes(),
        "README.md": card.encode(),
        "generation_config.json": generation(run).to_json_string(use_diff=True).encode(),
        **copies,
    }
    if has_data(run.recipe):
        files[DATA_CARD] = (data_card(run.data) or "").encode()
    if config.benchmark:
        files[BENCHMARK] = leaderboard(run, config.benchmark).encode()
    return files


def generation(run: Finished) -> GenerationConfig:
    """How the model is sampled where nobody says otherwise: as it was evaluated, to the end of one turn."""
    play, tokenizer = run.recipe.eval, run.tokenizer
    sampled = {"temperature": play.temperature, "top_p": 1.0, "top_k": 0} if play.temperature else {}
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=list(run.ends),
        pad_token_id=run.ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        max_new_tokens=play.max_tokens,
        do_sample=bool(play.temperature),
        **sampled,
    )


def leaderboard(run: Finished, benchmark: str) -> str:
    """The Hub's `.eval_results/*.yaml`: the normalized alignment under discovery, for the benchmark's leaderboard."""
    dataset, _, task = benchmark.partition("#")
    value = run.summary["after"]["discovery"]["normalized_alignment"]["mean"]
    if value is None:
        raise RunError(f"benchmark={benchmark}: this run has no normalized alignment; leave it out")
    notes = f"normalized alignment under discovery, %, {run.recipe.eval.budget} questions"
    entry = EvalResultEntry(dataset_id=dataset, task_id=task, value=value, notes=notes)
    return yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)


def check_place(out: Path, files: Mapping[str, Content]) -> None:
    """Raise RunError where `out` holds anything but an earlier release of this run."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: is a file; choose another folder with out=DIR")
    there, claim = names(out), out / "config.yaml"
    strange = [name for name in there if name not in files and name not in OURS and not is_left(name, files)]
    if strange:
        raise RunError(f"{out}: holds something else: {strange[0]}; choose another folder with out=DIR")
    if there and not (claim.is_file() and claim.read_bytes() == files["config.yaml"]):
        raise RunError(f"{out}: holds something else: files of another model; choose another folder with out=DIR")


def write(out: Path, files: Mapping[str, Content]) -> list[str]:
    """Write the folder, which `check_place` found ours, and its checksums; returns the names.

    Files that are there already stay as they are; those of an earlier release that are not in this one go.
    """
    for name in names(out):
        if name not in files and name != SUMS:
            (out / name).unlink()
    sums = {}
    for name, content in files.items():
        sums[name] = _place(content, out / name)
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _place(listing.encode(), out / SUMS)
    return [*sorted(files), SUMS]


def names(folder: Path) -> list[str]:
    """The files below a folder; none where there is no folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def is_left(name: str, files: Mapping[str, Content]) -> bool:
    """Whether `name` is what a killed release left of one of its files."""
    found = LEFT.fullmatch(Path(name).name)
    return found is not None and Path(name).with_name(found[1]).as_posix() in {*files, *OURS}


def sha256(content: Content) -> str:
    """The hash of a file or of bytes, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(content: Content, target: Path) -> str:
    """Have `content` at `target`, whole or not at all; returns its hash."""
    digest = sha256(content)
    if target.is_file() and sha256(target) == digest:
        return digest
    if isinstance(content, bytes):
        atomic_write(target, content)
        return digest
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(content, beside)
            os.replace(beside, target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    return digest
