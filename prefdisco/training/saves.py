"""Where a training run goes on: the trainer's last save that is whole."""

from __future__ import annotations

from pathlib import Path


def last_save(folder: Path) -> str | None:
    """The last `checkpoint-N` below `folder`, None if there is none.

    One that a kill or a full disk left unfinished is passed over: `trainer_state.json` is what the trainer writes last.
    """
    whole = [
        state.parent for state in folder.glob("checkpoint-*/trainer_state.json") if state.read_bytes().endswith(b"}\n")
    ]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None
