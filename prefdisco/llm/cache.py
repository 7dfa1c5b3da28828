"""Answers that were paid for, on disk: the same request is not sent twice, in this run or in any later one.

One SQLite file, keyed by the SHA-256 of the whole request (endpoint, model, messages, sampling, schema). It holds
answers only, neither requests nor headers. In WAL mode, several processes can share it, and a killed one loses nothing
that was committed; answers are used only once they are. Network file systems lack the shared memory that WAL needs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

from prefdisco.llm.base import ModelError
from prefdisco.llm.loops import PerLoop
from prefdisco.llm.wire import Answer

FILE = "responses.sqlite"
VERSION = 1  # of the table, kept as the file's user_version
TABLE = (
    "CREATE TABLE responses (key BLOB PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL, "
    "prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, usd REAL NOT NULL)"
)
Row = tuple[bytes, Answer]


def request_key(endpoint: str, payload: bytes) -> bytes:
    """What a request is known by; `payload` is its body in JSON, model included."""
    return sha256(endpoint.encode() + b"\n" + payload).digest()


class Cache:
    """The answers below `folder`, which is made when first needed. All errors are ModelErrors of one line."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / FILE
        self.reader: sqlite3.Connection | None = None
        self.writer: sqlite3.Connection | None = None
        self.writes = PerLoop(_Writes)

    def get(self, key: bytes) -> Answer | None:
        """The answer to a request, or None."""
        try:
            if self.reader is None:
                self.reader = self.connect()
            row = self.reader.execute(
                "SELECT text, finish, prompt_tokens, completion_tokens, usd FROM responses WHERE key = ?", (key,)
            ).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise self.explain(error) from None
        return None if row is None else Answer(*row)

    async def put(self, key: bytes, answer: Answer) -> None:
        """Keep an answer; returns once it is safe from a kill of this process.

        Answers that arrive while others are being written share the next transaction, off the event loop.
        """
        loop, writes = asyncio.get_running_loop(), self.writes.here()
        done = loop.create_future()
        writes.waiting.append(((key, answer), done))
        if writes.task is None:
            writes.task = loop.create_task(self.drain(writes))
        await done

    async def drain(self, writes: _Writes) -> None:
        """Write until nothing is waiting, and tell those who wait."""
        while writes.waiting:
            batch, writes.waiting = writes.waiting, []
            rows, waiters = zip(*batch, strict=True)
            failed: Exception | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(None, self.write, rows)
            except Exception as error:  # raised again where each answer is waited for
                failed = error
            for waiter in waiters:
                if waiter.done():  # cancelled
                    continue
                if failed is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(failed)
        writes.task = None

    def write(self, rows: Sequence[Row]) -> None:
        """One transaction. Two answers to one request, from two processes, are as good as each other: one stays."""
        try:
            if self.writer is None:
                self.writer = self.connect()
            with self.writer:
                self.writer.executemany(
                    "INSERT OR IGNORE INTO responses VALUES (?, ?, ?, ?, ?, ?)",
                    [(key, *answer) for key, answer in rows],
                )
        except (sqlite3.Error, OSError) as error:
            raise self.explain(error) from None

    def connect(self) -> sqlite3.Connection:
        """A connection to the file, which is made if missing."""
        if not self.path.exists():
            self.create()
        # A busy writer of another process is waited for; the executor's threads take turns with one connection.
        connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA synchronous=NORMAL")  # safe from kills; a power cut can lose the last answers
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            connection.close()
            raise sqlite3.DatabaseError(f"it is of version {version}, expected {VERSION}")
        return connection

    def create(self) -> None:
        """Make the file beside its place and link it there: no other process ever opens half of one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{FILE}.{secrets.token_hex(4)}.tmp")
        try:
            with closing(sqlite3.connect(beside)) as connection, connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(TABLE)
                connection.execute(f"PRAGMA user_version={VERSION}")
            with suppress(FileExistsError):
                os.link(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)

    def explain(self, error: Exception) -> ModelError:
        """What went wrong with the file, and what to do."""
        return ModelError(
            f"{self.path}: the response cache cannot be used: {error}; "
            "free some space, choose another folder, or do without (cache=null)"
        )


class _Writes:
    """The answers of one event loop on their way to the file."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self.task: asyncio.Task[None] | None = None
