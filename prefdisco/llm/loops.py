"""Many calls side by side in one event loop, and state that belongs to one loop: each `run` starts its own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")
AT_ONCE = 2048  # more pending steps slow the event loop and the garbage collector down, and fill no server better
GARBAGE = 20_000  # new objects before the collector looks: none of thousands of pending calls is garbage


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for thousands of calls: the garbage collector looks less often meanwhile."""
    threshold = gc.get_threshold()
    gc.set_threshold(GARBAGE, *threshold[1:])
    try:
        return asyncio.run(main)
    finally:
        gc.set_threshold(*threshold)


async def side_by_side(steps: Iterable[Coroutine[Any, Any, None]], most: int = AT_ONCE) -> None:
    """Run all steps, at most `most` at a time; the first exception cancels the others and comes out as it is."""
    waiting = iter(steps)

    async def work(step: Coroutine[Any, Any, None]) -> None:
        await step
        for following in waiting:
            await following

    tasks = [asyncio.ensure_future(work(step)) for step in islice(waiting, most)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class PerLoop(Generic[T]):
    """A value made anew for every event loop that asks for it; that of the loop before is dropped."""

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make
        self.loop: asyncio.AbstractEventLoop | None = None
        self.value: T

    def here(self) -> T:
        """The value of the running loop."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.value = loop, self.make()
        return self.value
