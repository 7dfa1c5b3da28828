"""From messages to token ids, through the tokenizer's chat template, without ever tokenizing a history again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase

from prefdisco.llm.base import Conversation, ModelError
from prefdisco.protocol import THINK_CLOSE, THINK_OPEN, join_thinking
from prefdisco.schema import Message

END = "<|im_end|>"
MARK = "~assistant~"  # stands for any assistant turn when the template is asked what follows one


def chatml() -> str:
    """The Jinja text of our own ChatML template (think tags, `enable_thinking`), for tokenizers that we make."""
    return files("prefdisco.llm").joinpath("chatml.jinja").read_text(encoding="utf-8")


class Chat:
    """A tokenizer and its template. `ends`: ids of the tokens that end an assistant turn."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str, generation_ends: Sequence[int] = ()) -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                f"model {name}: its tokenizer has no chat template; save one with it, as chat_template.jinja"
            )
        self.tokenizer, self.name = tokenizer, name
        known = tokenizer.get_vocab()
        own = {known[END]} if END in known else set()
        own |= {tokenizer.eos_token_id} if tokenizer.eos_token_id is not None else set()
        self.ends = frozenset(own or generation_ends)
        if not self.ends:
            raise ModelError(f"model {name}: no end token; give its tokenizer an eos_token")
        self.closings: dict[bool, str] = {}

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, in which special tokens may be spelled out."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of a turn, without its end token; other special tokens, such as think tags, stay."""
        body = ids[:-1] if ids and ids[-1] in self.ends else ids
        return str(self.tokenizer.decode(body, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def prompt(self, conversation: Conversation) -> list[int]:
        """The ids that the agent still has to read before its next turn; they go behind `conversation.ids`.

        Raises ModelError where the template cannot render the messages, or does not continue what it rendered before.
        """
        if not conversation.ids:
            return self.encode(self.render(list(conversation.messages), conversation.thinking, True))
        ids = self.encode(self.continuation(conversation))
        if ids[:1] == conversation.ids[-1:] and ids[0] in self.ends:  # generated, not to be read once more
            return ids[1:]
        return ids

    def turn(self, text: str, thinking: bool = True) -> list[int]:
        """The ids of an assistant turn with this text, end token included."""
        end = self.encode(self.closing(thinking))[:1]
        if not end or end[0] not in self.ends:
            raise ModelError(f"model {self.name}: its chat template does not close assistant turns with an end token")
        return self.encode(text) + end

    def spelled(self, thinking: str, content: str) -> str:
        """The raw text of an assistant turn as the model itself writes it, with its template's line breaks at tags."""
        within, behind = self.gaps
        if not thinking or not (within or behind):
            return join_thinking(thinking, content)
        return join_thinking(f"{within}{thinking.strip()}{within}", f"{behind}{content.lstrip()}")

    @cached_property
    def gaps(self) -> tuple[str, str]:
        """What stands on either side of a thought within its tags, and behind them: read off the empty block that a
        template begins a turn without thinking with, such as Qwen3's."""
        text = self.render([Message(role="user", content=".")], thinking=False, prompt=True)
        empty = re.search(rf"{THINK_OPEN}(\s*){THINK_CLOSE}(\s*)$", text)
        return (empty[1][: (len(empty[1]) + 1) // 2], empty[2]) if empty else ("", "")

    def forced(self, conversation: Conversation, text: str) -> None:
        """Record an assistant turn that is given, not sampled: tokens of the prompt, then of `text` and the end token.

        `text` is raw (think tags included, unless `conversation.thinking` is off). Its tokens have mask 1 and
        log-probability 0.0. Leaves `conversation.messages` alone.
        """
        new, written = self.prompt(conversation), self.turn(text, conversation.thinking)
        conversation.read(new)
        conversation.wrote(written, [0.0] * len(written))

    def continuation(self, conversation: Conversation) -> str:
        """The template's text from the end of the last assistant turn to the start of the next one."""
        last = max((i for i, m in enumerate(conversation.messages) if m.role == "assistant"), default=None)
        if last is None:
            raise ModelError(
                f"model {self.name}: the conversation has tokens but no assistant message; append its turns"
            )
        dummy = [Message(role="user", content="."), Message(role="assistant", content=MARK)]
        text = self.render(dummy + list(conversation.messages[last + 1 :]), conversation.thinking, True)
        _, found, after = text.partition(MARK)
        if not found or not after.startswith(self.closing(conversation.thinking)):
            raise ModelError(
                f"model {self.name}: its chat template rewrites earlier turns; use one that keeps them as they were"
            )
        return after

    def closing(self, thinking: bool) -> str:
        """What the template writes behind an assistant turn."""
        if thinking not in self.closings:
            dummy = [Message(role="user", content="."), Message(role="assistant", content=MARK)]
            self.closings[thinking] = self.render(dummy, thinking, False).partition(MARK)[2]
        return self.closings[thinking]

    def render(self, messages: list[Message], thinking: bool, prompt: bool) -> str:
        """The template's text of `messages`, with the generation prompt behind it where `prompt`."""
        turns: list[dict[str, Any]] = [
            {"role": message.role, "content": join_thinking(message.thinking, message.content)} for message in messages
        ]
        try:
            text = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=prompt, enable_thinking=thinking
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise ModelError(f"model {self.name}: its chat template refuses the turns ({roles}): {error}") from error
        return str(text)
