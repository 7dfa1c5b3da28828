"""From what the engine kept to what a student reads and learns: the recipes differ here, and nowhere else.

All recipes share the talks of one data folder. `teach` says whether the student sees the dialogue or the preferences,
whose thinking comes before the answer, and which answer it is:

recipe          dialogue   thinking   answer
selfdistill     yes        own        personalized
generic_cot     yes        generic    personalized
fast_thinking   yes        none       personalized
oracle_only     no         own        personalized
dialogue_only   yes        generic    generic
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prefdisco.config import TeachConfig
from prefdisco.engine.outcomes import Outcome, Talk
from prefdisco.llm.chat import Chat
from prefdisco.protocol import format_final, parse_turn
from prefdisco.schema import Message

IGNORED = -100  # label of a token that the loss leaves out
BESIDE = ("plain", "oracle", "no_think")  # taught as they are, whatever the recipe


def lessons(outcomes: Iterable[Outcome], teach: TeachConfig, chat: Chat) -> list[Talk]:
    """The training examples, in the order of the outcomes: the main talk of each that survived, then its mixed ones."""
    return [lesson for outcome in outcomes if outcome.talks for lesson in _lessons(outcome, teach, chat)]


def rows(talks: Sequence[Talk]) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of every talk; the loss is on the agent's own tokens."""
    return [
        {
            "input_ids": talk.ids,
            "labels": [token if own else IGNORED for token, own in zip(talk.ids, talk.mask, strict=True)],
        }
        for talk in talks
    ]


def _lessons(outcome: Outcome, teach: TeachConfig, chat: Chat) -> Iterable[Talk]:
    main, generic = outcome.talk("discovery" if teach.dialogue else "stated"), outcome.talk("generic")
    turn = last_turn(main, generic, teach) if main else None
    if main is not None and turn is not None:
        yield retold(main, [*main.messages[:-1], turn], teach, chat)
    for talk in outcome.talks:
        if talk.kind in BESIDE or (talk.kind == "interview" and teach.dialogue):
            yield retold(talk, talk.messages, teach, chat)


def last_turn(main: Talk, generic: Talk | None, teach: TeachConfig) -> Message | None:
    """The answer to learn, made of the personalized turn and the generic one; None where that is needed and missing."""
    own = main.messages[-1]
    if teach.thinking != "generic" and teach.answer == "personalized":
        return own
    if generic is None:
        return None
    other, content = generic.messages[-1], own.content
    if teach.answer == "generic":
        content = format_final(other.content) if parse_turn(content).kind == "final" else other.content
    return Message(
        role="assistant", content=content, thinking=other.thinking if teach.thinking == "generic" else own.thinking
    )


def retold(talk: Talk, messages: Sequence[Message], teach: TeachConfig, chat: Chat) -> Talk:
    """`talk` with the agent's turns as in `messages`; what it read, and every turn that stays, keeps its tokens."""
    before = [message for message in talk.messages if message.role == "assistant"]
    after = [message for message in messages if message.role == "assistant"]
    if teach.thinking == "none":
        after = [message.model_copy(update={"thinking": ""}) for message in after]
    if before == after:
        return talk
    ids: list[int] = []
    mask: list[int] = []
    turns = iter(zip(before, after, strict=True))
    for own, start, end in spans(talk.mask):
        span = talk.ids[start:end]
        if own:
            old, new = next(turns)
            span = span if old == new else chat.turn(chat.spelled(new.thinking, new.content), talk.thinking)
        ids += span
        mask += [own] * len(span)
    told = iter(after)
    said = tuple(next(told) if message.role == "assistant" else message for message in talk.messages)
    return talk.model_copy(update={"messages": said, "ids": ids, "mask": mask})


def spans(mask: Sequence[int]) -> Iterable[tuple[int, int, int]]:
    """The runs of equal entries: (entry, start, end)."""
    start = 0
    for place in range(1, len(mask) + 1):
        if place == len(mask) or mask[place] != mask[start]:
            yield mask[start], start, place
            start = place
