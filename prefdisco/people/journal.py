"""What happened in front of people, one line an event, written before anybody sees that it happened.

Everything can be rebuilt from it: who consented to which text and when, what was stated, said, answered and rated. A
dialogue that was interrupted is played again from its recorded turns, so the agent is not asked twice for the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefdisco.files import append_line, read_complete_lines
from prefdisco.schema import Record, parse_line

What = Literal["consented", "stated", "turn", "answered", "failed", "retried", "played", "rated"]


class Event(Record):
    """One event. `at` is UTC; `problem` and `condition` say where in a participant's session it belongs."""

    at: str
    participant: str
    what: What
    problem: str = ""
    condition: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


class Journal:
    """The events of one run folder, oldest first."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Event]:
        """Every event; one that a kill left unfinished is cut off the file. Raises DataError."""
        for number, line in enumerate(read_complete_lines(self.path), 1):
            yield parse_line(line, Event, f"{self.path}:{number}")

    def write(
        self, participant: str, what: What, problem: str = "", condition: str = "", data: dict[str, Any] | None = None
    ) -> Event:
        """Append an event that happens now, and return it. Raises RunError where it cannot be written."""
        event = Event(
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            participant=participant,
            what=what,
            problem=problem,
            condition=condition,
            data=data or {},
        )
        append_line(self.path, event.model_dump_json())
        return event
