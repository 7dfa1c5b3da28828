"""The agent's turn: think tags, then one action in the published wire format (PrefDisco, arXiv 2510.00177).

    <think>...</think>###ACTION###: 'ask_question'
    ###RESPONSE###: Do you like tables?

This is the only place that reads or writes that format. Reading is as lenient as a regular expression can be about
quotes, case and white space; what it cannot read is `malformed`, and the dialogue loop counts it and takes the visible
text as the final answer.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

TurnKind = Literal["question", "final", "malformed"]

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
THINK_BLOCK = re.compile(r"<think>(.*?)</think>", re.DOTALL)
# possessive quantifiers: text of any length is read in linear time
ACTION = re.compile(
    r"(?<!#)#{2,}+\s*+action\s*+#*+\s*+[:=]?+\s*+[\"'`*\[(<]*+\s*+(ask[\s_-]*question|final[\s_-]*answer)\b[\"'`*\])>]*",
    re.IGNORECASE,
)
ANY_ACTION = re.compile(r"(?<!#)#{2,}+\s*+action\b", re.IGNORECASE)
RESPONSE = re.compile(r"(?<!#)#{2,}+\s*+response\s*+#*+\s*+[:=]?", re.IGNORECASE)


class Turn(NamedTuple):
    """One parsed turn. `text` is the question, or the answer; for a malformed turn all of the visible text."""

    kind: TurnKind
    text: str


class SplitThinking(NamedTuple):
    """A raw completion in its two parts; `join_thinking` puts a well-formed one together again."""

    thinking: str
    visible: str
    well_formed: bool


def split_thinking(raw: str) -> SplitThinking:
    """Separate what the agent thought from what it shows.

    No tags at all is well formed (thinking was off). A close without an open is too: some chat templates write the
    open tag into the prompt. An open without a close hides all that follows: that is still thinking. Text or a second
    block around the first, or an open tag within it, is shown (or hidden) as written, but is not well formed.
    """
    first_open, first_close = raw.find(THINK_OPEN), raw.find(THINK_CLOSE)
    if first_open < 0 and first_close < 0:
        return SplitThinking("", raw, True)
    if first_close >= 0 and (first_open < 0 or first_close < first_open):
        raw, first_open = THINK_OPEN + raw, 0
    blocks, kept, at = [], [], 0
    while (start := raw.find(THINK_OPEN, at)) >= 0 and (end := raw.find(THINK_CLOSE, start)) >= 0:
        blocks.append(raw[start + len(THINK_OPEN) : end])
        kept.append(raw[at:start])
        at = end + len(THINK_CLOSE)
    outside = "".join(kept) + raw[at:]
    visible, unclosed, rest = outside.partition(THINK_OPEN)
    if unclosed:
        return SplitThinking("\n".join([*blocks, rest]), visible.replace(THINK_CLOSE, ""), False)
    once = len(blocks) == 1 and THINK_OPEN not in blocks[0]
    well_formed = once and not raw[:first_open].strip() and THINK_CLOSE not in visible
    return SplitThinking("\n".join(blocks), visible.replace(THINK_CLOSE, ""), well_formed)


def join_thinking(thinking: str, content: str) -> str:
    """The raw text of an assistant message; the inverse of `split_thinking` for a well-formed completion."""
    return f"{THINK_OPEN}{thinking}{THINK_CLOSE}{content}" if thinking else content


def parse_turn(visible: str) -> Turn:
    """Read one turn. The first valid action counts; further ones, which nobody was there to answer, are dropped."""
    action = ACTION.search(visible)
    if action is None:
        return Turn("malformed", visible.strip())
    rest = visible[action.end() :]
    following = ANY_ACTION.search(rest)
    if following:
        rest = rest[: following.start()]
    response = RESPONSE.search(rest)
    text = _unquote(rest[response.end() :] if response else rest)
    if not text:
        return Turn("malformed", visible.strip())
    return Turn("question" if action[1].lower().startswith("ask") else "final", text)


def wire_span(raw: str) -> tuple[int, int] | None:
    """Where the markers of a raw completion's action stand: (start, end) in characters, None where there is none.

    From `###ACTION###` to the end of `###RESPONSE###:`, of what follows the thinking.
    """
    closed = raw.find(THINK_CLOSE)
    action = ACTION.search(raw, 0 if closed < 0 else closed + len(THINK_CLOSE))
    if action is None:
        return None
    response = RESPONSE.search(raw, action.end())
    return action.start(), response.end() if response else action.end()


def format_question(text: str) -> str:
    """A question turn in the wire format."""
    return f"###ACTION###: 'ask_question'\n###RESPONSE###: {text}"


def format_final(text: str) -> str:
    """A final-answer turn in the wire format."""
    return f"###ACTION###: 'final_answer'\n###RESPONSE###: {text}"


def _unquote(text: str) -> str:
    """`text` without surrounding white space and without one pair of quotes around all of it."""
    text = text.strip()
    for quote in ('"', "'"):
        if len(text) > 1 and text[0] == text[-1] == quote and quote not in text[1:-1]:
            return text[1:-1].strip()
    return text
