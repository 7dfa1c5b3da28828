"""A person in the user's seat of the one dialogue loop, and an agent whose turns are kept.

Both remember what was said before, so a dialogue that was interrupted is played again up to where it stopped, without
the agent or the person being asked anything twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from pydantic import Field

from prefdisco.llm.base import Completion, Conversation, Finish, Model, Sampling
from prefdisco.llm.data import spoken
from prefdisco.people.config import PERSON
from prefdisco.schema import Message, Record, Scenario, Usage
from prefdisco.users import STOP, Reply

LONGEST_ANSWER = 1000  # characters of what a person says in one turn


class Taken(Record):
    """A turn that the agent took: what it wrote, and the token ids that it read and wrote for it, if it has any."""

    text: str
    finish: Finish
    usage: Usage
    ids: list[int] = Field(default_factory=list)
    mask: list[int] = Field(default_factory=list)


class Answer(Record):
    """What a person said to a question, and the attribute whose preference it tells, by the person's own account."""

    text: str
    revealed: str | None = None


class Kept:
    """`agent`, each of whose turns goes to `keep` before anybody hears of it; those in `taken` are not asked for."""

    def __init__(self, agent: Model, taken: Sequence[Taken], keep: Callable[[Taken], None]) -> None:
        self.name = agent.name
        self.agent, self.keep = agent, keep
        self.waiting = list(taken)

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The next turn: a recorded one where there is one, else the agent's."""
        if self.waiting:
            turn = self.waiting.pop(0)
            conversation.ids += turn.ids
            conversation.mask += turn.mask
            conversation.logprobs += [0.0] * len(turn.ids)  # not kept: only training needs them
            return Completion(turn.text, turn.finish, turn.usage)
        before = len(conversation.ids)
        made = await self.agent.complete(conversation, sampling)
        ids, mask = conversation.ids[before:], conversation.mask[before:]
        self.keep(Taken(text=made.text, finish=made.finish, usage=made.usage, ids=ids, mask=mask))
        return made


class Person:
    """A user that is somebody: `ask` puts a question to them; the answers in `given` are not asked for again."""

    name = PERSON

    def __init__(self, given: Sequence[Answer], ask: Callable[[str], Awaitable[Answer]]) -> None:
        self.waiting = list(given)
        self.ask = ask

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The person's answer."""
        answer = self.waiting.pop(0) if self.waiting else await self.ask(question)
        return Reply(answer.text, answer.revealed)


class NothingSaid(ValueError):
    """An answer without words."""


def answer_of(text: str, revealed: str | None, scenario: Scenario, stop: bool = False) -> Answer:
    """What somebody typed as an answer: words only, nothing that a model or the loop takes for more.

    `stop` ends the questions. `revealed` counts where it is one of the profile's attributes. Raises NothingSaid.
    """
    if stop:
        return Answer(text=STOP)
    words = spoken(text, LONGEST_ANSWER)
    if not words:
        raise NothingSaid
    return Answer(text=words, revealed=revealed if revealed and scenario.preference(revealed) else None)
