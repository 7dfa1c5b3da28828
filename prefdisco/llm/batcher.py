"""Brings concurrent dialogues together: whoever waits for a completion is served by one decode loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from prefdisco.llm.rows import Row

QUIET_PASSES = 3  # passes of the event loop without a newcomer, after which decoding starts


class Serving(Protocol):
    """Where rows are filled, such as `Decoder`."""

    def serve(self, take: Callable[[int], list[Row]], waiting: Callable[[], int]) -> None:
        """Serve until `take(most)`, which hands over at most that many waiting rows, has none and all rows are done;
        `waiting` says how many there are."""
        ...


class Batcher:
    """Hands rows to a decoder's thread, which runs while there is work. Serves any event loop."""

    def __init__(self, decoder: Serving) -> None:
        self.decoder = decoder
        self.lock = threading.Lock()
        self.waiting: list[Row] = []
        self.taken: list[Row] = []
        self.arrived = 0
        self.running = False

    async def submit(self, row: Row) -> None:
        """Wait until `row` is done. Raises the error of the pass that failed it."""
        with self.lock:
            self.waiting.append(row)
            self.arrived += 1
        seen, quiet = self.arrived, 0
        while not self.running and quiet < QUIET_PASSES:  # let everyone who can arrive now do so
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.arrived == seen else 0
            seen = self.arrived
        self.start()
        await asyncio.wrap_future(row.future)

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self.lock:
            if self.running or not self.waiting:
                return
            self.running = True
        # not a daemon: one killed inside torch at interpreter exit aborts the process
        threading.Thread(target=self.work, name="prefdisco-decoder").start()

    def work(self) -> None:
        """Decode until nobody waits."""
        while True:
            try:
                self.decoder.serve(self.take, lambda: len(self.waiting))
            except Exception as error:  # nobody else would hear of it: the callers raise it
                with self.lock:
                    rows, self.waiting = self.taken + self.waiting, []
                for row in rows:
                    if not row.future.done():
                        row.settle(error)
            with self.lock:
                if not self.waiting:
                    self.running = False
                    return

    def take(self, most: int) -> list[Row]:
        """Up to `most` waiting rows, the shortest first: rows of similar length waste the least together."""
        with self.lock:
            self.waiting = [row for row in self.waiting if not row.future.cancelled()]
            self.waiting.sort(key=lambda row: len(row.prompt))
            taken, self.waiting = self.waiting[:most], self.waiting[most:]
            self.taken = [row for row in self.taken if not row.future.done()] + taken
        return taken
