"""Writing run folders so that a kill, a full disk or a second process never leaves half of anything.

Three rules: whole files appear by rename, records are appended a line at a time, and one process owns a run folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

# How torch and safetensors, which write through C++ and Rust, report a full disk: as text, in errors of their own.
DISK_FULL_TEXTS = ("No space left on device", "os error 28", "PytorchStreamWriter failed writing", "unexpected pos")


class RunError(RuntimeError):
    """A run that cannot go on; the message is one line that says what, where, and what to do."""


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while writing `path` (no permission, full disk, not a folder) into a one-line RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(_explain(path, error)) from error
    except Exception as error:
        if any(text in str(error) for text in DISK_FULL_TEXTS):
            raise RunError(_explain(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))) from error
        raise


def _explain(path: str | Path, error: OSError) -> str:
    advice = {
        errno.ENOSPC: "the disk is full; free some space and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
        errno.EACCES: "no permission to write here; choose another run folder",
        errno.EPERM: "no permission to write here; choose another run folder",
        errno.EROFS: "the file system is read-only; choose another run folder",
        errno.ENOTDIR: "a part of this path is a file, not a folder; choose another run folder",
        errno.EEXIST: "a part of this path is a file, not a folder; choose another run folder",
        errno.EISDIR: "is a folder, expected a file; move it, or choose another run folder",
    }
    other = f"cannot write: {error.strerror or error}; choose another run folder"
    return f"{path}: {advice.get(error.errno or 0, other)}"


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` whole or not at all; folders are made, an existing file is replaced.

    The bytes go to a hidden file beside `path` and reach the disk before the rename. Raises RunError.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def append_line(path: str | Path, line: str) -> None:
    """Append `line` (without its line break) to `path` in one system call: whole or, with a RunError, not at all.

    A line that a killed process left unfinished is not looked for here: `read_complete_lines` removes it on resuming.
    """
    if "\n" in line:
        raise ValueError(f"{path}: a record must be one line, got {line[:60]!r}")
    path = Path(path)
    data = line.encode() + b"\n"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            if os.write(descriptor, data) < len(data):
                os.ftruncate(descriptor, before)  # the disk filled up within the line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def read_complete_lines(path: str | Path) -> list[str]:
    """The lines of `path`, without line breaks; none where there is no file.

    A last line without its line break is what a kill left: it is cut off the file, so that appending can go on.
    Raises RunError when the file cannot be read, or is not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        lines = data[:end].decode().split("\n")[:-1]
    except OSError as error:
        raise RunError(f"{path}: cannot read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text at byte {error.start}; remove the file to start again") from error
    if end < len(data):
        with writing(path):
            os.truncate(path, end)
    return lines


@contextmanager
def lock(run_dir: str | Path, wait: bool = False) -> Iterator[Path]:
    """Own `run_dir` (made if missing) until the block ends, or the process does, however it dies.

    With several ranks, the main one takes the lock. Where another process holds it, this one waits, or raises RunError.
    """
    run_dir = Path(run_dir)
    name = run_dir / ".lock"
    with writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with writing(run_dir):
            try:
                # A record lock (not flock): children that outlive a killed run do not inherit it.
                fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except (BlockingIOError, PermissionError):
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "?"
                raise RunError(
                    f"{run_dir}: process {holder} is using this run folder; wait for it, or choose run=OTHER"
                ) from None
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield run_dir
    finally:
        os.close(descriptor)


def claim(
    run_dir: str | Path, config: str, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> None:
    """Write `config` (YAML) to `config.yaml`: this folder now belongs to it.

    `defaults` are those of every dotted key that there is: one that the folder does not have, being of an earlier
    version, counts as its default, and of a key whose value is a mapping nothing may be missing now either.

    Raises RunError, naming the first difference, where the folder was made with other `settings`.
    """
    path = Path(run_dir) / "config.yaml"
    if path.exists():
        earlier = OmegaConf.to_container(OmegaConf.load(path))
        held = earlier if isinstance(earlier, dict) else {}
        before, now, inner = dict(_leaves(held)), dict(_leaves(settings)), dict[str, None]()
        for key, default in (defaults or {}).items():
            within = dict.fromkeys(name for name in before if name.startswith(f"{key}."))
            inner |= within
            if not within and key not in before:
                before |= dict(_leaves({key: default}))
        for name in now | inner:
            if before.get(name) != now.get(name):
                raise RunError(
                    f"{path}: this run folder was made with {name}={before.get(name)}, not {now.get(name)}; "
                    "choose another with run=FOLDER"
                )
    atomic_write(path, config)


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
