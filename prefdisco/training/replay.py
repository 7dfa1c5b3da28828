"""Dialogues of before, learned again in every step: what they need is not forgotten where no episode asks for it.

    loss = loss of the episodes + weight * mean over the agent's tokens of the replayed dialogues of -log p(token)

The pretraining mix of InstructGPT (arXiv 2203.02155, section 3.4). With Muon and Adam, whose steps have their full size
however small the gradient is, it is a gradient where there would be none but noise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from transformers import PreTrainedTokenizerBase

from prefdisco.config import ConfigError, RLRecipe
from prefdisco.engine.teaching import IGNORED
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation
from prefdisco.llm.chat import Chat
from prefdisco.schema import DataError, Message, Record, read_jsonl

POCKET = "pocket"


class Told(Record):
    """A line of a file: a dialogue, whatever else the line has. With `answer_only` only its last turn is learned."""

    model_config = ConfigDict(extra="ignore")
    messages: tuple[Message, ...]
    answer_only: bool = False


class Replay:
    """The dialogues of a recipe, tokenized once; `loss` is that of one micro-batch of them."""

    def __init__(self, recipe: RLRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self.settings, self.seed = recipe.replay, recipe.seed
        chat = Chat(tokenizer, recipe.model)
        self.rows = [encoded(told, chat) for told in dialogues(recipe)]
        self.padding = int(tokenizer.pad_token_id or 0)

    def loss(self, model: Any, place: Sequence[int]) -> torch.Tensor:
        """The mean over tokens, unweighted. `place` (step, micro-batch, process, ..) decides which dialogues."""
        rng = random.Random(stable_seed("replay", self.seed, *place))
        rows = rng.sample(self.rows, min(self.settings.batch_size, len(self.rows)))
        batch = torch.full((3, len(rows), max(len(ids) for ids, _ in rows)), self.padding)
        batch[1], batch[2] = 0, IGNORED
        for row, (ids, labels) in enumerate(rows):
            batch[:, row, : len(ids)] = torch.tensor([ids, [1] * len(ids), labels])
        ids, mask, labels = batch.to(next(model.parameters()).device)
        loss: torch.Tensor = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        return loss


def check_replay(recipe: RLRecipe) -> None:
    """Raise ConfigError or DataError, of one line, for a source that cannot be read or is empty."""
    if recipe.replay.weight and next(dialogues(recipe), None) is None:
        raise DataError(f"{recipe.replay.source}: there is no dialogue in it to replay")


def dialogues(recipe: RLRecipe) -> Iterator[Told]:
    """Each of them. Raises ConfigError for a source that there is not, DataError for a line that is none."""
    settings, where = recipe.replay, f"{recipe.where('replay.source')}: replay.source={recipe.replay.source}"
    if settings.source == POCKET:
        if recipe.scenarios.source != POCKET:
            raise ConfigError(
                f"{where}: the scenarios are not Pocket's; name a JSON Lines file, or set replay.weight=0"
            )
        from prefdisco.pocket.corpus import documents

        mix = settings.mix.model_dump()
        if not any(mix.values()):
            raise ConfigError(
                f"{recipe.where('replay.mix')}: replay.mix: all shares are 0; set replay.weight=0 instead"
            )
        written = documents(2 * settings.limit, settings.seed, mix)  # enough without those with mistakes
        for each in islice((each for each in written if not each.slipped), settings.limit):
            yield Told(messages=tuple(each.messages), answer_only=each.kind == "interview")
        return
    path = Path(settings.source)
    if not path.is_file():
        raise ConfigError(f"{where}: no such file; choose pocket, or a JSON Lines file")
    for number, line in enumerate(islice(read_jsonl(path, Told), settings.limit), 1):
        if all(message.role != "assistant" for message in line.messages):
            raise DataError(f"{path}:{number}: messages: none is the assistant's; there is nothing to learn")
        yield line


def encoded(told: Told, chat: Chat) -> tuple[list[int], list[int]]:
    """Ids and labels of a dialogue in the template; labels are those of the agent's turns, or of the last one."""
    talk, start = Conversation([]), 0
    for message in told.messages:
        if message.role == "assistant":
            start = len(talk.ids) if told.answer_only else 0
            chat.forced(talk, chat.spelled(message.thinking, message.content))
        talk.messages.append(message)
    learned = [own and place >= start for place, own in enumerate(talk.mask)]
    return talk.ids, [token if own else IGNORED for token, own in zip(talk.ids, learned, strict=True)]
