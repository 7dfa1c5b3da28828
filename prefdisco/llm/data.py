"""Text of others as data: how it is put before a model, and how what a model says is taken out of its mouth.

`as_data` writes whatever it is given as one line of JSON that cannot close itself or speak in another role; `spoken`
takes a model's words and leaves words only.
"""

from __future__ import annotations

import json
import re
from typing import Any

from prefdisco.protocol import ACTION, ANY_ACTION, RESPONSE, THINK_BLOCK

LONGEST_SPOKEN = 300  # characters of what is said in one turn

# Control characters, and those that change direction or are not seen: soft hyphens, zero widths, bidirectional marks
# and overrides, line separators, byte order marks, lone surrogates, tags.
INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e0fff]"
)
# What could be a special token of some chat template: <|im_end|>, </s>, <think>, [INST]. Local models and servers read
# these in any text, quoted or not, so only an escape keeps a text from speaking in another role.
SPECIAL = re.compile(r"<(?=[^\s<>]{1,80}>)|\[(?=/?[A-Z_]{1,40}\])")
HAZARD = re.compile(f"{INVISIBLE.pattern}|{SPECIAL.pattern}")

STOP_MARK = re.compile(r"#{2,}\s*stop\s*#*", re.IGNORECASE)
NOT_SPOKEN = (
    THINK_BLOCK,
    re.compile(r"</?think(?:ing)?>", re.IGNORECASE),
    re.compile(r"<[|｜][^<>]{0,80}[|｜]>|</?s>|\[/?[A-Z_]{1,40}\]"),
    STOP_MARK,
    ACTION,
    ANY_ACTION,
    RESPONSE,
    re.compile(r"#{3,}"),
)


def as_data(**fields: Any) -> str:
    """One line of JSON that holds `fields`, safe to stand in a message whoever wrote them.

    A parser gets back exactly what went in. Invisible characters and the first character of anything that looks like a
    special token are JSON escapes (`\\u202e`, `\\u003c|im_end|>`), so a model sees them as text; quotes and line breaks
    are escaped by JSON itself, so no text can end its own field.
    """
    return HAZARD.sub(_escape, json.dumps(fields, ensure_ascii=False))


def _escape(hit: re.Match[str]) -> str:
    raw = hit[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at : at + 2].hex()}" for at in range(0, len(raw), 2))


def cut(text: str, most: int) -> tuple[str, int]:
    """(`text` of at most about `most` characters, how many were taken out of its middle); a marker stands there."""
    left_out = max(len(text) - most, 0)
    if not left_out:
        return text, 0
    head = most // 2
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[head + left_out :]}", left_out


def spoken(text: str, most: int = LONGEST_SPOKEN) -> str:
    """`text` as words on one line, at most `most` characters, that no program takes for more than words.

    Taken out: think tags and what they enclose, the wire format's markers, ###STOP###, special tokens of chat
    templates, invisible characters. It may come out empty.
    """
    text = text[: 4 * most]
    before = None
    while text != before:  # taking one thing out may bring the halves of another together
        before = text
        text = INVISIBLE.sub("", " ".join(text.split()))
        for pattern in NOT_SPOKEN:
            text = pattern.sub(" ", text)
    if len(text) > most:
        text = text[:most].rsplit(" ", 1)[0]
    return text.strip()
