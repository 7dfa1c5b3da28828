"""What keeps calls within bounds: retries, the pace an endpoint allows, and the spending cap.

Nothing here knows HTTP or a provider: a call that failed says so with a `Fault`, which tells whether to try again.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from prefdisco.llm.base import ModelError
from prefdisco.llm.loops import PerLoop

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

RETRIED = frozenset({408, 409, 425, 429})  # of the statuses below 500; those from 500 on are all retried
LONGEST_BACKOFF = 30.0  # seconds
LONGEST_RETRY_AFTER = 120.0  # seconds; a server that asks for more is asked again after this


class SpendingCapReached(ModelError):
    """No further call is paid for in this run; those in flight end normally, and cached answers stay available."""


class Fault(Exception):
    """One attempt that failed; its text has no keys in it.

    `again` tells whether another may help, `after` is the seconds that the server asked to wait, `status` its answer.
    """

    def __init__(self, what: str, again: bool = True, after: float | None = None, status: int | None = None) -> None:
        super().__init__(what)
        self.again, self.after, self.status = again, after, status


def retried(status: int) -> bool:
    """Whether a request that met this HTTP status is worth sending again."""
    return status in RETRIED or status >= 500


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), at most LONGEST_RETRY_AFTER; or None."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


# Its own generator: drawing from the shared one would make a caller's seeded draws depend on the network's mood.
_jitter = random.Random()


def delay(failed: int, base: float, after: float | None) -> float:
    """Seconds to wait after `failed` failed attempts: exponential backoff with jitter, at least what was asked for."""
    backoff = min(base * 2 ** (failed - 1), LONGEST_BACKOFF) * _jitter.uniform(0.5, 1.0)
    return max(backoff, after or 0.0)


async def persist(
    attempt: Callable[[], Awaitable[T]], retries: int, base: float, sleep: Sleep = asyncio.sleep
) -> tuple[T, int]:
    """What `attempt` returns, and how often it had failed before; the last Fault is raised when nothing helped."""
    failed = 0
    while True:
        try:
            return await attempt(), failed
        except Fault as fault:
            failed += 1
            if not fault.again or failed > retries:
                raise
            wait = delay(failed, base, fault.after)
        await sleep(wait)


class Pacer:
    """So many units a minute, evenly spaced: no window of a minute holds more than that and the last taker's own."""

    def __init__(
        self, per_minute: float, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.interval = 60 / per_minute
        self.clock, self.sleep = clock, sleep
        self.free = -math.inf  # when the next unit may be taken

    async def take(self, units: float = 1) -> None:
        """Wait until `units` may be taken."""
        now = self.clock()
        start = max(now, self.free)
        self.free = start + units * self.interval
        if start > now:
            await self.sleep(start - now)

    def correct(self, units: float) -> None:
        """So many more (or, negative, fewer) units were used than were taken."""
        self.free += units * self.interval


class Gate:
    """What one endpoint lets through: `slots` calls in flight, and a pace of requests and of tokens.

    A call keeps its slot while it waits for a retry: an endpoint that is overrun then gets less, not more.
    """

    def __init__(
        self, concurrency: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.slots = PerLoop(lambda: asyncio.Semaphore(concurrency))
        self.requests = Pacer(requests_per_minute) if requests_per_minute else None
        self.tokens = Pacer(tokens_per_minute) if tokens_per_minute else None
        self.written: float | None = None  # tokens that a call writes, a running mean

    async def pace(self, read: float, most: int) -> float:
        """Wait for one request of about `read` tokens that may write `most`; returns the tokens it was booked with."""
        booked = 0.0
        if self.tokens is not None:
            booked = read + (most if self.written is None else min(self.written, most))
            await self.tokens.take(booked)
        if self.requests is not None:
            await self.requests.take()
        return booked

    def used(self, read: int, written: int, booked: float) -> None:
        """Book what an answered request really used, where the endpoint reports it."""
        if self.tokens is None or read + written == 0:
            return
        self.tokens.correct(read + written - booked)
        self.written = written if self.written is None else 0.9 * self.written + 0.1 * written


class Budget:
    """The dollars of a run, shared by all its models. `max_usd` None: no cap."""

    def __init__(self, max_usd: float | None = None, spent: float = 0.0) -> None:
        self.max_usd, self.spent = max_usd, spent

    @property
    def reached(self) -> bool:
        """Whether the cap is used up."""
        return self.max_usd is not None and self.spent >= self.max_usd

    def check(self) -> None:
        """Raise SpendingCapReached where nothing is left."""
        if self.reached:
            raise SpendingCapReached(
                f"spending cap of ${self.max_usd:g} reached (${self.spent:.4f} spent); "
                "raise max_usd and run the same command again, what is paid for is kept"
            )
