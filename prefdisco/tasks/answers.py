"""What a response in free text states as its answer: `\\boxed{}`, "Answer: X", "the answer is X", bold, a last line.

A statement counts unless it is negated, a question, or taken back ("wait, ..."). All looks go over the last WINDOW
characters, with patterns whose repetitions are bounded: a long response costs no more than a short one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WINDOW = 20_000  # characters at the end of a response in which its answer is looked for
MOST_TEXT = 400  # characters of one statement
MOST_STATEMENTS = 50  # the last ones; who states more than that has no answer

_IS = r"(?:(?:is|was|would\ be|must\ be|should\ be|has\ to\ be)\b|=>?|:|：|→|->|⇒)"
_GAP = r"[\s*_`\"'“]{0,6}"
_ANSWER = re.compile(
    rf"""(?<![\w-])(?:
      (?:(?:final|correct|best|right)\s)?answer(?:\ (?:to|for|of)\ [^.\n:=]{{1,80}}?)?
      | (?:final|correct|best|right|my)\s(?:option|choice|pick|result)
      )\b (?:\ here|\ then|\ therefore|\ thus)? {_GAP} (?:{_IS}{_GAP}){{1,3}}
      | (?:^|\n)[#*\ ]{{0,8}}(?:final\ |correct\ |the\ |my\ )?answer[*\ ]{{0,6}}\n\s{{0,4}}(?=\S)
      | (?:^|\n)\#{{4}}\ {{0,3}}(?=[-+$\d.(])
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Weaker: said of the answer, but of other things as well ("we choose x = 3").
_CHOSEN = re.compile(
    r"\b(?:[Ii]|[Ww]e)(?:['’](?:d|ll)|\s(?:would|will|have to))?\s(?:choose|pick|select|go (?:with|for))"
    rf"(?::|{_GAP})|"
    r"(?:^|[.!?:;,]\s|\n|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ss]o|[Tt]hus|[Tt]herefore|[Hh]ence)\s)[\s*]{0,4}"
    r"(?=(\(?[A-Z]\)?)[*]{0,2}(?:[):.]\s?[^\n.]{0,80})?\s(?:is|must be)\s(?:the\s)?[*]{0,2}"
    r"(?:correct|right|best)\b(?!\s(?:that|about|in)\b))"
)
DENIED = re.compile(
    r"\s*(?:not\b|neither\b|n't|unlikely\b|wrong\b|incorrect\b|what\b|which\b|whether\b)", re.IGNORECASE
)
_DOUBTED = re.compile(
    r"\b(?:not|never|if|unless|whether|why|tempt\w*|mistak\w*|incorrect\w*|wrong\w*|initially|at first|thought|until)\b"
    r"|n['’]t\b|\b(?:might|may|could|would|people|many|students|some)\s(?:\w+\s)?(?:think|say|guess|assume|believe)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.!?,;:]\s|\n|\b(?:but|so|and|thus|therefore|hence)\b|[—–]")
_WITHDRAWN = re.compile(
    r"\b(?:wait|actually|correction|on second thought|scratch that|let me (?:re\w+|correct)"
    r"|I made an? (?:mistake|error)|that(?:'s|’s| is| was) (?:wrong|incorrect|not right))\b",
    re.IGNORECASE,
)
# The end of a sentence; not the stop of "B. tea", "E. coli", "3.5", "Mt. Fuji".
_STOP = re.compile(r"(?<!\b[A-Z])(?<!\b(?:Mt|St|Dr|Mr|Ms|vs|No))[.!?](?=[\s*]|$)")
_QUESTION = re.compile(r"[^.!?\n]{0,200}\?")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*(?!\s{0,3}:)")
_WRAPPER = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox|boxed|fbox|operatorname)\s*\{([^{}]*)\}")


class Statement(NamedTuple):
    """Something stated as the answer: where, the text to the end of its line, and whether it was boxed."""

    start: int
    text: str
    boxed: bool = False

    @property
    def sentence(self) -> str:
        """The text to the end of its sentence."""
        return self.text if self.boxed else sentence(self.text)


def final_answer(response: str) -> str | None:
    """The stated answer as text, or None for an empty response.

    The last \\boxed{}, else the last statement, else the only bold text, else the last line.
    """
    raw = raw_answer(window(response))
    return (tidy(raw) or None) if raw else None


def raw_answer(text: str) -> str:
    """`final_answer` of a window, with the markup around it; "" where there is nothing."""
    if best := strongest(text):
        return best[-1].sentence
    if len(set(bold := bolds(text))) == 1:
        return bold[0]
    return next(reversed(lines(text)), "")


def window(response: str) -> str:
    """The part of a response that is looked at: its end."""
    return response[-WINDOW:].replace("\r\n", "\n")


def statements(text: str, denied: bool = False, weak: bool = False) -> list[Statement]:
    """All that `text` states as its answer, in order; what was taken back since is left out.

    With `denied`, what the answer is said not to be, too: "not enough information" may be an option. With `weak`, what
    is said to be right, or chosen.
    """
    found = _boxed(text)
    for match in (_CHOSEN if weak else _ANSWER).finditer(text):
        rest = text[match.end() : match.end() + MOST_TEXT].partition("\n")[0]
        if "\\boxed" in rest or not rest.strip(" *_`$") or _QUESTION.match(rest):
            continue
        until = match.end() if weak else match.start() + 1
        clause = _CLAUSE.split(text[max(0, match.start() - 120) : until])[-1]
        if not _DOUBTED.search(clause):
            found.append(Statement(match.end(), rest))
    found = sorted(found, key=lambda statement: statement.start)[-MOST_STATEMENTS:]
    affirmed = [statement for statement in found if not DENIED.match(statement.text)]
    last = affirmed[-1].start if affirmed else 0
    since = max((match.start() for match in _WITHDRAWN.finditer(text) if match.start() < last), default=-1)
    return [statement for statement in (found if denied else affirmed) if statement.start > since]


def strongest(text: str) -> list[Statement]:
    """The statements that count, in order: the boxed ones where there are any."""
    found = statements(text)
    return [statement for statement in found if statement.boxed] or found


def bolds(text: str) -> list[str]:
    """What stands in bold, in order, headings ("**Step 1**: ...") left out."""
    return [match.strip() for match in _BOLD.findall(text) if match.strip() and not match.rstrip().endswith(":")]


def lines(text: str) -> list[str]:
    """The lines with something on them, in order."""
    return [line.strip() for line in text.split("\n") if line.strip(" \t*_`#>-=|")]


def sentence(text: str) -> str:
    """The text up to the end of its first sentence."""
    stop = _STOP.search(text)
    return text[: stop.start()] if stop else text


def tidy(text: str) -> str:
    """The text without markdown, quotes and LaTeX wrappers around it, and without its full stop."""
    text = _WRAPPER.sub(r"\1", text[:MOST_TEXT])
    text = re.sub(r"\*\*|__|`", "", text).strip().lstrip("#> ").strip()
    for opening, closing in (
        ("$", "$"),
        ("\\(", "\\)"),
        ("\\[", "\\]"),
        ('"', '"'),
        ("“", "”"),
        ("'", "'"),
        ("*", "*"),
    ):
        inner = text.removesuffix(".").removesuffix(",")
        if len(inner) > len(opening + closing) and inner.startswith(opening) and inner.endswith(closing):
            inside = inner[len(opening) : len(inner) - len(closing)]
            text = inside.strip() if opening not in inside else text
    return text.strip().removesuffix(".").strip()


def _boxed(text: str) -> list[Statement]:
    """The last ten \\boxed{...} whose braces close within MOST_TEXT characters."""
    found: list[Statement] = []
    end = len(text)
    for _ in range(10):
        start = text.rfind("\\boxed", 0, end)
        if start < 0:
            break
        end = start
        opening = re.compile(r"\\boxed\s{0,3}\{").match(text, start)
        if not opening:
            continue
        depth = 1
        for offset, letter in enumerate(text[opening.end() : opening.end() + MOST_TEXT]):
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                content = text[opening.end() : opening.end() + offset]
                if content.strip():
                    found.append(Statement(start, content, boxed=True))
                break
    return found
