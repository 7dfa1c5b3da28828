"""An agent that writes perfect traces, and the data engine around it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from tiny import tiny_llama, tiny_tokenizer

from prefdisco.config import DataConfig, Mix
from prefdisco.engine.selfdistill import SelfDistill
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.pocket.attributes import DIMENSIONS
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.writer import write
from prefdisco.protocol import join_thinking
from prefdisco.schema import Usage
from prefdisco.world import World, world_of

SCENARIOS = scenarios("train", 30)
BUDGET = 5


def small() -> LocalModel:
    """An untrained model, which lends its tokens."""
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer()
    return LocalModel(tiny_llama(tokenizer), tokenizer)


class Author:
    """A model that writes a perfect trace for whatever is stated in its system prompt, with `extra` on top.

    Speaks through a `LocalModel`, so that its tokens are recorded as any model's are.
    """

    def __init__(self, local: LocalModel, extra: Mapping[str, str] | None = None, wrong: bool = False) -> None:
        self.local, self.extra, self.wrong = local, dict(extra or {}), wrong
        self.name, self.tokenizer, self.chat = "author", local.tokenizer, local.chat
        self.seen: list[Conversation] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        self.seen.append(Conversation(list(conversation.messages)))
        question = conversation.messages[-1].content
        problem = next(s.problem for s in SCENARIOS if s.problem.question == question)
        system = conversation.messages[0].content if conversation.messages[0].role == "system" else ""
        text = write(problem, {**stated(system), **self.extra}, random.Random(sampling.seed))
        text = text.replace(problem.answer, "999") if self.wrong else text
        known = "I know. This is wanted." if system else "I know."
        raw = join_thinking(known if conversation.thinking else "", text)
        self.chat.forced(conversation, raw)
        return Completion(raw, "stop", Usage(calls=1))


def stated(system: str) -> dict[str, str]:
    """The preferences that a system prompt lists."""
    plain = {name.replace("_", " "): name for name in DIMENSIONS}
    lines = [line[2:].partition(": ") for line in system.splitlines() if line.startswith("- ")]
    return {plain[name]: value.partition(" (")[0].replace(" ", "_") for name, _, value in lines if name in plain}


def engine(author: Any, world: World | None = None, **settings: Any) -> SelfDistill:
    data = DataConfig(**{"samples": 2, "mix": Mix(plain=0, oracle=0), **settings})
    return SelfDistill(author, author.chat, world or world_of(SCENARIOS), data, seed=0)


def spans(mask: list[int]) -> list[tuple[int, int]]:
    """The runs of ones."""
    edges = [i for i, (a, b) in enumerate(zip([0, *mask], [*mask, 0], strict=True)) if a != b]
    return list(zip(edges[::2], edges[1::2], strict=True))
