"""`prefdisco release`: check a training run, write the folder to publish, and upload it where that was asked for."""

from __future__ import annotations

from pathlib import Path

from prefdisco.files import RunError, lock
from prefdisco.release import hub
from prefdisco.release.checks import finished
from prefdisco.release.config import ReleaseConfig
from prefdisco.release.folder import SUMS, Content, check_place, contents, write


def release(folder: Path, config: ReleaseConfig, dry_run: bool = False) -> str:
    """Release the training run in `folder`; returns what was done, or with `dry_run` would be, in words.

    The same call again changes nothing. Raises ConfigError, RunError, ModelError or DataError, each of one line, with
    nothing written or sent, where the run should not be published as it is.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder")
    if config.push:
        hub.check_name(config.push)
    out = Path(config.out or folder / "release")
    with lock(folder):
        run = finished(folder, config.max_errors)
        files = contents(run, config)
        check_place(out, files)
        if dry_run:
            return plan(out, files, config)
        if config.push:
            hub.token_here()  # before anything is written
        names = write(out, files)
    lines = [f"{out}: {len(names)} files, {megabytes(sum((out / name).stat().st_size for name in names))}"]
    if config.push:
        lines.append(f"uploaded to {hub.push(out, names, config)}")
    return "\n".join(lines)


def plan(out: Path, files: dict[str, Content], config: ReleaseConfig) -> str:
    """What would be written and sent."""
    sizes = {name: len(part) if isinstance(part, bytes) else part.stat().st_size for name, part in files.items()}
    lines = [f"would write {out}, {megabytes(sum(sizes.values()))}:"]
    lines += [f"  {name}  {size:,} bytes" for name, size in sorted(sizes.items())]
    lines.append(f"  {SUMS}")
    if config.push:
        kind = "private" if config.private else "public"
        lines.append(f"would upload it to {hub.endpoint(config)}/{config.push}, {kind} where it is made new")
    else:
        lines.append("would upload nothing: no push=OWNER/NAME")
    return "\n".join(lines)


def megabytes(size: int) -> str:
    """A size in MB."""
    return f"{size / 1e6:,.1f} MB"
