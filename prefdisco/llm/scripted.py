"""A model that says what it is told to: for tests, and for policies that are not language models. It records no ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.schema import Usage

Script = Callable[[Conversation, Sampling], str]


class ScriptedModel:
    """Answers with the replies in turn, or with what a function of (conversation, sampling) returns.

    `calls` keeps the (conversation, sampling) of every call. Raises ModelError when the replies have run out.
    """

    def __init__(self, replies: Script | Iterable[str], name: str = "scripted") -> None:
        self.name = name
        self.script: Script | None = replies if callable(replies) else None
        self.replies: Iterator[str] = iter(()) if callable(replies) else iter(replies)
        self.calls: list[tuple[Conversation, Sampling]] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The next reply; tokens are counted in words, and a reply is never cut."""
        self.calls.append((conversation, sampling))
        text = self.script(conversation, sampling) if self.script else next(self.replies, None)
        if text is None:
            raise ModelError(f"model {self.name}: call {len(self.calls)} has no reply left; give it more")
        read = sum(len(message.content.split()) for message in conversation.messages)
        return Completion(text, "stop", Usage(calls=1, prompt_tokens=read, completion_tokens=len(text.split())))
