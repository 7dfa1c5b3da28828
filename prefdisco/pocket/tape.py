"""A derivation as it is written down: steps on a tape, and how a mistake gets onto it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

Facts = dict[str, Any]  # what a problem is made of
NAMES = (
    "Ann",
    "Bob",
    "Cid",
    "Dora",
    "Eva",
    "Finn",
    "Gus",
    "Hana",
    "Ivo",
    "Jill",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Ola",
    "Pia",
)
# op -> (symbol, word)
OPS: dict[str, tuple[str, str]] = {
    "add": ("+", "plus"),
    "sub": ("-", "minus"),
    "mul": ("*", "times"),
    "div": ("/", "over"),
    "above": (">", "beats"),
    "not": ("!=", "is not"),
    "has": ("&", "has"),
    "lacks": ("!&", "lacks"),
    "meets": ("&&", "meets"),
    "needs": ("->", "calls for"),
    "suits": ("~", "suits"),
    "saw": ("@", "saw"),
    "missed": ("!@", "missed"),
    "after": (">>", "came after"),
    "before": ("<<", "came before"),
    "likes": ("<3", "likes"),
    "of": (":", "belongs to"),
}


class Step(NamedTuple):
    """`a op b = result`; relations have no result."""

    a: str
    op: str
    b: str
    result: str = ""


class Tape:
    """Records the steps of one derivation; with `slip` set, the result of that step (0-based) comes out wrong."""

    def __init__(self, slip: int | None = None, rng: random.Random | None = None) -> None:
        self.steps: list[Step] = []
        self._slip, self._rng = slip, rng or random.Random(0)

    def _number(self, a: int, op: str, b: int, result: int) -> int:
        if self._slip == len(self.steps):
            wrong = {result + delta for delta in (-10, -2, -1, 1, 2, 10)}
            result = self._rng.choice(sorted(value for value in wrong if value > 0))
        self.steps.append(Step(str(a), op, str(b), str(result)))
        return result

    def add(self, a: int, b: int) -> int:
        return self._number(a, "add", b, a + b)

    def sub(self, a: int, b: int) -> int:
        return self._number(a, "sub", b, a - b)

    def mul(self, a: int, b: int) -> int:
        return self._number(a, "mul", b, a * b)

    def div(self, a: int, b: int) -> int:
        return self._number(a, "div", b, a // b)

    def say(self, a: str, op: str, b: str) -> None:
        self.steps.append(Step(a, op, b))

    def pick(self, answer: str, others: Sequence[str]) -> str:
        """The answer, or on a slip another option; the steps that follow then argue for it."""
        if self._slip is None:
            return answer
        return self._rng.choice([other for other in others if other != answer])
