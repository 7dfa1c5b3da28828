"""An agent whose every token is known: the model gets ids and gives ids with their log-probabilities, wherever it runs.

What is its own is the record: a conversation's text is turned into ids once, when it is read, and what was generated is
kept as it was drawn.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.chat import Chat
from prefdisco.llm.rows import Row
from prefdisco.llm.slots import Snapshot
from prefdisco.schema import Usage

KEEP_BYTES = 2**29  # keys and values kept between the turns of live dialogues


class Engine(Protocol):
    """Fills rows: continues prompts of ids. Many callers wait at once, in any event loop."""

    async def submit(self, row: Row) -> None:
        """Wait until `row` has its ids, log-probabilities and finish. Raises the error that ended it."""
        ...


class Draft(NamedTuple):
    """A turn that may be taken: what it says, the ids to read before it, and the row that was filled."""

    completion: Completion
    read: list[int]
    row: Row


class Kept(NamedTuple):
    """Keys and values of a conversation's first tokens, and their bytes."""

    ids: list[int]
    snapshot: Snapshot
    size: int


class TokenModel:
    """A `Model` on an `Engine`. `limit`: tokens that fit into its context, None where no limit is known."""

    def __init__(self, chat: Chat, limit: int | None, engine: Engine) -> None:
        self.name, self.chat, self.limit, self.engine = chat.name, chat, limit, engine
        self.kept: weakref.WeakKeyDictionary[Conversation, Kept] = weakref.WeakKeyDictionary()

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's next turn; extends `ids`, `mask` and `logprobs` with what it read and wrote.

        Where the context leaves less room than `max_tokens`, the turn ends there with finish "length"; where it leaves
        none, the completion is empty. A call that fails or is cancelled leaves the conversation as it was.
        """
        (draft,) = await self.drafts(conversation, [sampling])
        return self.adopt(conversation, draft)

    async def drafts(self, conversation: Conversation, samplings: Sequence[Sampling]) -> list[Draft]:
        """Several next turns of the agent, generated together; the conversation stays as it is until one is adopted."""
        new = self.chat.prompt(conversation)
        prompt, past = conversation.ids + new, self.recall(conversation)
        limit = samplings[0].max_tokens if self.limit is None else self.limit - len(prompt)
        family = object() if len(samplings) > 1 else None
        rows = [Row(prompt, each, min(each.max_tokens, limit), past, True, family) for each in samplings]
        if limit > 0:
            try:
                await asyncio.gather(*(self.engine.submit(row) for row in rows))
            except Exception as error:
                first = (str(error) or type(error).__name__).splitlines()[0]
                raise ModelError(
                    f"model {self.name}: generation failed on a prompt of {len(prompt)} tokens: {first}"
                ) from error
        used = [Usage(calls=1, prompt_tokens=len(prompt), completion_tokens=len(row.ids)) for row in rows]
        return [
            Draft(Completion(self.chat.decode(row.ids), row.finish, usage), new, row)
            for row, usage in zip(rows, used, strict=True)
        ]

    def adopt(self, conversation: Conversation, draft: Draft) -> Completion:
        """Record a draft as what was read and written."""
        conversation.read(draft.read)
        conversation.wrote(draft.row.ids, draft.row.logprobs)
        if draft.row.ids:
            self.remember(conversation, draft.row)
        return draft.completion

    def recall(self, conversation: Conversation) -> Snapshot | None:
        """Keys and values of the conversation's first tokens, if they were kept."""
        kept = self.kept.pop(conversation, None)
        return kept.snapshot if kept and conversation.ids[: len(kept.ids)] == kept.ids else None

    def remember(self, conversation: Conversation, row: Row) -> None:
        """Keep a row's keys and values for the next turn while there is room; they go when the conversation does."""
        if row.past and sum(kept.size for kept in list(self.kept.values())) + size(row.past) <= KEEP_BYTES:
            self.kept[conversation] = Kept(conversation.ids[: row.known], row.past, size(row.past))


def size(snapshot: Snapshot) -> int:
    """Bytes of a snapshot; all layers are alike."""
    keys, values = snapshot[0]
    return len(snapshot) * (keys.nbytes + values.nbytes)
