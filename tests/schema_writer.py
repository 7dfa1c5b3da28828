"""A model that answers any JSON schema with valid random content, and can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.schema import Usage

Json = dict[str, Any]
Twist = Callable[["SchemaWriter", Conversation, Json], str | Json | None]
COST = 0.001  # dollars a call


def instance(schema: Json, rng: random.Random, defs: Json | None = None) -> Any:
    """A random value that follows a schema. Of an object's nullable fields, half or more are not null, at least 3."""
    defs = schema.get("$defs", {}) if defs is None else defs
    if "$ref" in schema:
        return instance(defs[schema["$ref"].rpartition("/")[2]], rng, defs)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return instance(rng.choice(schema["anyOf"]), rng, defs)
    match schema["type"]:
        case "object":
            fields = schema.get("properties", {})
            nullable = [name for name, inner in fields.items() if {"type": "null"} in inner.get("anyOf", ())]
            least = min(len(nullable), max(3, len(nullable) // 2))
            given = rng.sample(nullable, rng.randint(least, len(nullable)))
            return {
                name: None if name in nullable and name not in given else instance(_first(inner), rng, defs)
                for name, inner in fields.items()
            }
        case "array":
            few, many = schema.get("minItems", 0), schema.get("maxItems", schema.get("minItems", 0) + 2)
            return [instance(schema["items"], rng, defs) for _ in range(rng.randint(few, min(many, few + 5)))]
        case "integer":
            return rng.randint(schema.get("minimum", 0), schema.get("maximum", 9))
        case "number":
            return rng.uniform(schema.get("minimum", 0), schema.get("maximum", 9))
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3))


def _first(schema: Json) -> Json:
    """What is not null of a nullable schema; others as they are."""
    first: Json = schema.get("anyOf", [schema])[0]
    return first


class SchemaWriter:
    """Answers each call with an instance of its schema. `twist` may replace it, or fail it by returning None.

    `asked` keeps (stage, material) of every call that came through, `conversations` the whole of them.
    """

    def __init__(self, twist: Twist | None = None, name: str = "test/writer") -> None:
        self.name, self.twist = name, twist
        self.asked: list[tuple[str, Json]] = []
        self.conversations: list[tuple[Conversation, Sampling]] = []
        self.in_flight = self.most_in_flight = 0

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        schema = conversation.schema
        assert schema is not None
        said: str | Json | None = instance(schema, random.Random(sampling.seed))
        if self.twist is not None and isinstance(said, dict):
            said = self.twist(self, conversation, said)
        if said is None:
            raise ModelError("model test/writer: the server is gone")
        self.asked.append((schema["title"], json.loads(conversation.messages[1].content)))
        self.conversations.append((conversation, sampling))
        text = said if isinstance(said, str) else json.dumps(said)
        return Completion(text, "stop", Usage(calls=1, prompt_tokens=100, completion_tokens=10, usd=COST))

    def calls(self, stage: str | None = None) -> int:
        """Calls that came through, of one sort of answer or of all."""
        return sum(stage in (None, title) for title, _ in self.asked)
