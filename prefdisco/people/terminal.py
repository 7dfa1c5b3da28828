"""Talking with a person in a terminal or through a pipe: what others wrote is shown as text and nothing else."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from prefdisco.people.text import plain

T = TypeVar("T")


class Left(BaseException):
    """The person closed the input. Not an Exception, so that the dialogue loop does not take it for a failure."""


class Terminal:
    """Lines to a person and from one. Colours, where there is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if sys.stdin.isatty():
            with suppress(ImportError):
                import readline  # noqa: F401  # input() then has arrow keys and a history

    def say(self, text: str, style: str = "") -> None:
        """A paragraph of ours."""
        self.console.print(Text(plain(text), style))

    def quote(self, who: str, text: str, style: str = "") -> None:
        """What somebody wrote, under who it was."""
        self.console.print(Text(who, f"bold {style}"))
        self.console.print(Padding(Text(plain(text)), (0, 0, 1, 2), expand=False))

    def rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.console.print(Text(plain(f"  {line}")))

    def line(self, prompt: str) -> str:
        """One line from the person. Raises Left at the end of the input, KeyboardInterrupt at Ctrl-C."""
        # asyncio's own handler only notes Ctrl-C; input() must raise it
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            said = input(f"{prompt} ")
        except EOFError:
            print()
            raise Left from None
        finally:
            signal.signal(signal.SIGINT, before)
        if not sys.stdin.isatty():
            print()  # a pipe does not echo the line break
        return said.strip()

    def ask(self, prompt: str, read: Callable[[str], T]) -> T:
        """One line that `read` can read; its ValueError says what is wrong, and the person is asked again."""
        while True:
            try:
                return read(self.line(prompt))
            except ValueError as error:
                self.say(str(error), "yellow")
