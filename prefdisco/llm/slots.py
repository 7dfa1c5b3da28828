"""A key-value cache for rows of different lengths that come and go, behind transformers' cache interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

GROW = 128  # positions by which the cache grows

Snapshot = list[tuple[torch.Tensor, torch.Tensor]]  # a row's keys and values, [heads, length, head size] a layer


class SlotCache(Cache):
    """Keys and values of the live rows: [slots, heads, capacity, head size] a layer.

    The last position of every slot is a dump for padding. `aim` says where the next forward pass reads and writes.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.store: list[list[torch.Tensor]] = []
        self.rows, self.positions, self.span = slice(0, 0), torch.zeros(0, 0, dtype=torch.long), 0
        self.slots = torch.zeros(0, 1, dtype=torch.long)

    def aim(self, rows: slice, positions: torch.Tensor, span: int) -> None:
        """The next pass writes at `positions` [rows, t] (-1: dump) and reads the first `span` positions of `rows`."""
        self.rows, self.positions, self.span = rows, positions, span
        self.slots = torch.arange(rows.start, rows.stop, device=positions.device)[:, None]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values [rows, heads, t, head size]; return all that the rows may attend to."""
        if layer_idx == len(self.store):
            self.store.append(
                [states.new_zeros(0, states.shape[1], 0, states.shape[3]) for states in (key_states, value_states)]
            )
        pair = self.store[layer_idx]
        read = []
        for which, states in enumerate((key_states, value_states)):
            pair[which] = grown(pair[which], self.rows.stop, self.span + 1)
            pair[which][self.slots, :, self.positions] = states.transpose(1, 2)
            read.append(pair[which][self.rows, :, : self.span])
        return read[0], read[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions that the next pass can see."""
        return self.span

    def copy(self, source: int, target: int, length: int) -> None:
        """Make slot `target` the same as `source`, for the first `length` positions."""
        for pair in self.store:
            for which in (0, 1):
                pair[which] = grown(pair[which], target + 1, length + 1)
                pair[which][target, :, :length] = pair[which][source, :, :length]

    def snapshot(self, slot: int, places: Sequence[int]) -> Snapshot:
        """A copy of these positions of a slot, one after the other."""
        index = torch.tensor(places, device=self.store[0][0].device)
        return [(keys[slot].index_select(1, index), values[slot].index_select(1, index)) for keys, values in self.store]

    def restore(self, slot: int, snapshot: Snapshot) -> None:
        """Put a snapshot into a slot."""
        for layer, pasts in enumerate(snapshot):
            if layer == len(self.store):
                self.store.append([past.new_zeros(0, past.shape[0], 0, past.shape[2]) for past in pasts])
            pair = self.store[layer]
            for which, past in enumerate(pasts):
                pair[which] = grown(pair[which], slot + 1, past.shape[1] + 1)
                pair[which][slot, :, : past.shape[1]] = past


def grown(store: torch.Tensor, slots: int, capacity: int) -> torch.Tensor:
    """`store` [slots, heads, capacity, head size], made larger where `slots` or `capacity` ask for it."""
    have, heads, room, size = store.shape
    if slots <= have and capacity <= room:
        return store
    slots = have if slots <= have else max(slots, 2 * have)
    capacity = room if capacity <= room else -(-capacity // GROW) * GROW
    larger = store.new_zeros(slots, heads, capacity, size)
    larger[:have, :, :room] = store
    return larger
