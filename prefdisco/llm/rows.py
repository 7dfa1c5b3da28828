"""What is decoded: requests, and those that share a slot of the cache because they continue the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from prefdisco.llm.base import Finish, Sampling
from prefdisco.llm.slots import Snapshot


@dataclass(eq=False)
class Row:
    """One request while it is served; `future` is done when the row is, or gets the error that ended it.

    It must not hold the row: a row in a cycle keeps its tensors until the garbage collector comes by.

    Rows of the same `family` (any object) have the same prompt and `past`; let in together, they share a slot.

    `past` holds the keys and values of the first tokens of `prompt` where they are known, and with `keep` those of the
    whole row when it is done.
    """

    prompt: list[int]
    sampling: Sampling
    room: int  # tokens to write at most
    past: Snapshot | None = None
    keep: bool = False
    family: object = None
    future: Future[None] = field(default_factory=Future)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish = "length"
    draws: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def known(self) -> int:
        """Tokens at the start of the prompt whose keys and values are at hand."""
        return self.past[0][0].shape[1] if self.past else 0

    def settle(self, error: Exception | None = None) -> None:
        """Tell the caller, unless it has gone away."""
        if self.future.set_running_or_notify_cancel():
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(error)


class Lane:
    """The rows of one slot: `open` are the places of those still decoded, `steps` the tokens of each in the cache."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.open = list(range(len(rows)))
        self.steps = 0

    @property
    def prompt(self) -> list[int]:
        """What all rows continue."""
        return self.rows[0].prompt

    @property
    def past(self) -> Snapshot | None:
        """Keys and values of the prompt's first tokens, where they are known."""
        return self.rows[0].past

    @property
    def known(self) -> int:
        """How many those are."""
        return self.rows[0].known

    @property
    def length(self) -> int:
        """Positions of the slot that are taken."""
        return len(self.prompt) + self.steps * len(self.rows)

    def places(self, row: int) -> list[int]:
        """Where the tokens of one row lie in the slot: the prompt, then its own."""
        own = range(len(self.prompt) + row, self.length, len(self.rows))
        return [*range(len(self.prompt)), *own]


def lanes_of(rows: Sequence[Row]) -> list[Lane]:
    """Families together, all others alone, in the order of their first rows."""
    families: dict[int, list[Row]] = {}
    for row in rows:
        families.setdefault(id(row if row.family is None else row.family), []).append(row)
    return [Lane(family) for family in families.values()]
