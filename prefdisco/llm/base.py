"""What a language model is to the rest of prefdisco: a conversation goes in, a completion comes out.

Token in, token out: a local model records the ids of everything it read and wrote as it happens, so that training never
has to tokenize a history again. The smallest model is an object with a `name` and an async `complete`; see scripted.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from prefdisco.schema import Message, Usage

Finish = Literal["stop", "length"]

NOTHING_PAID = Usage()


class ModelError(RuntimeError):
    """A model that cannot be loaded or a call that failed; the message is one line: what, where, what to do.

    `usage` is what was paid for on the way: answers came, but none that was valid.
    """

    def __init__(self, message: str, usage: Usage = NOTHING_PAID) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class Sampling:
    """How to sample one completion: temperature 0 is greedy, `max_tokens` includes the end token.

    The same seed draws the same random numbers, so give each turn of a dialogue its own.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ModelError(f"sampling: temperature is {self.temperature}, expected 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"sampling: top_p is {self.top_p}, expected more than 0 and at most 1")
        if self.max_tokens < 1:
            raise ModelError(f"sampling: max_tokens is {self.max_tokens}, expected at least 1")


@dataclass(eq=False)
class Conversation:
    """One dialogue as the agent sees it. The dialogue loop appends messages, the model extends the token record.

    `ids`, `mask` and `logprobs` have one entry a token; mask is 1 on the agent's own tokens, logprobs is 0.0 elsewhere
    (and on forced tokens). All three stay empty for remote models. `thinking` is the template's `enable_thinking`.
    `schema` is a JSON schema that the completion must follow: remote models send it along, local ones refuse it.
    """

    messages: list[Message]
    thinking: bool = True
    schema: dict[str, Any] | None = None
    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def read(self, ids: list[int]) -> None:
        """Record tokens that the agent was given."""
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)

    def wrote(self, ids: list[int], logprobs: list[float]) -> None:
        """Record tokens that are the agent's own."""
        self.ids += ids
        self.mask += [1] * len(ids)
        self.logprobs += logprobs


@dataclass(frozen=True)
class Completion:
    """What the model wrote: raw text with its think tags, without the end token. "length": it ran out of room."""

    text: str
    finish: Finish
    usage: Usage


class Model(Protocol):
    """Anything that can take the agent's turn."""

    name: str

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's next turn. Does not append to `conversation.messages`; local models extend its token record.

        Raises ModelError when the call failed for good.
        """
        ...


@runtime_checkable
class Identified(Protocol):
    """A model that can tell two checkpoints of the same name apart: one whose weights are on this machine."""

    def identity(self) -> dict[str, str]:
        """What decides its answers, each under a hash: equal hashes, equal parts."""
        ...
