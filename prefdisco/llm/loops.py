"""State that belongs to one event loop, for objects that outlive it: each `asyncio.run` is a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


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
