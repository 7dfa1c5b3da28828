"""A model's answer as a record: JSON that follows a pydantic model, checked, and asked for again where it does not fit.

answer = await ask(model, [Message(role="user", content="..")], Persona, Sampling(temperature=0.4))
answer.value   # a Persona
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, Model, ModelError, Sampling
from prefdisco.protocol import THINK_CLOSE
from prefdisco.schema import Message, Usage

T = TypeVar("T", bound=BaseModel)

MOST_ECHO = 2000  # characters of a faulty answer that are sent back
MOST_TEXT = 200_000  # characters of an answer that are looked at; more is refused, not parsed


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was understood, and what all attempts cost together."""

    value: T
    usage: Usage


async def ask(
    model: Model, messages: Sequence[Message], record: type[T], sampling: Sampling, repairs: int = 2
) -> Answer[T]:
    """Ask for a `record`; a text that is none is shown to the model with its fault, at most `repairs` times.

    Raises ModelError, one line, where no attempt was valid, and what the model itself raises.
    """
    talk = list(messages)
    usage, fault = Usage(), ""
    for attempt in range(repairs + 1):
        seed = stable_seed(sampling.seed, "repair", attempt) if attempt else sampling.seed
        conversation = Conversation(messages=list(talk), thinking=False, schema=record.model_json_schema())
        try:
            completion = await model.complete(conversation, replace(sampling, seed=seed))
        except ModelError as error:
            raise type(error)(str(error), usage + error.usage) from None
        usage += completion.usage
        try:
            return Answer(parse(completion.text, record), usage)
        except ValueError as error:
            fault = str(error)
            talk += [
                Message(role="assistant", content=echo(completion.text)),
                Message(role="user", content=f"That is not valid: {fault}. Answer again with valid JSON only."),
            ]
    raise ModelError(f"model {model.name}: no valid {record.__name__} after {repairs + 1} attempts: {fault}", usage)


def echo(text: str) -> str:
    """The start of a faulty answer as plain characters, to be shown to its author."""
    return text[:MOST_ECHO].encode("utf-8", "replace").decode().replace("<|", "< |")


def bare(text: str) -> str:
    """The JSON in a completion, without the thinking before it and the code fence around it."""
    text = text.strip()
    if not text.startswith(("{", "```")):  # JSON may quote think tags, thinking comes before it
        text = text.partition(THINK_CLOSE)[2].strip() or text
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[3:-3].removeprefix("json").strip()
    return text


def parse(text: str, record: type[T]) -> T:
    """A completion as a `record`; thinking and a code fence around the JSON are taken off. ValueError, one line."""
    if len(text) > MOST_TEXT:
        raise ValueError(f"the answer has {len(text)} characters, at most {MOST_TEXT} are read")
    try:
        return record.model_validate_json(bare(text))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{field}: {first['msg']}" if field else str(first["msg"])) from None
