"""Which options a response to a multiple-choice question chooses: by letter, or by an option's text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from prefdisco.tasks.answers import DENIED, bolds, lines, sentence, statements, tidy, window

_LETTER = re.compile(
    r"[\s*\"'$]*(?:(?:either|both)\s+)?(?P<named>(?:options?|choices?|letters?|answers?|is)[\s:*]+)?"
    r"(?P<open>[(\[{]\s?)?(?P<letter>[A-Za-z])(?![\w'’])(?P<close>\s?[)\]}])?[*\"$]*",
    re.IGNORECASE,
)
_SO = re.compile(
    r"^(?:(?:so|thus|therefore|hence|then|ok(?:ay)?|i say|i think|i believe|it(?:'s|’s| is| must be)|that(?:'s|’s| is)"
    r"|my answer|the answer)\b[\s,:]{1,3}){0,3}",
    re.IGNORECASE,
)
# What may follow a bare letter, if it is not the article "a", the pronoun "I" or a word such as "C-reactive".
_FOLLOWS = re.compile(
    r"\s*$|[.](?:\s|$)|\s?[:;!?)]|,|\s?[–—/&=]|\s-\s|\s\(|\s(?:because|since|and|or|is|which|due|given|as it|where)\b"
)
_MORE = re.compile(
    r"\s*(?:,\s*(?:and\b|or\b)?|and/or\b|\band\b|\bor\b|[&/+]|\(\s*or\b)\s*(?:also\s|maybe\s|possibly\s|perhaps\s)?\s*"
    r"(?:option\s|choice\s)?[(\[\"*$]*([A-Za-z])[)\]\"*$]*(?=\s*(?:$|[.,;:&/)!?]|and\b|or\b))",
    re.IGNORECASE,
)
_ALSO = re.compile(
    r"(?:\bor\b|\band\b|[,/;])\s{0,3}(?:option\s)?\(?([A-Z])\)"
    r"(?!\s(?:is|are|was|were|would|has|had|does|do|can|cannot|could|also|seems)\b)"
)
_NEGATED = re.compile(r"\b(?:not|never|neither|nor|unlike|rather than|instead of)\b|n['’]t\b", re.IGNORECASE)


def chosen(response: str, options: Sequence[str], count: int) -> frozenset[int]:
    """The options, from 0, that a response chooses; several where it contradicts itself, none where it cannot be read.

    `options` may be empty where their texts are not known: then only the letters of the first `count` are read.
    """
    text = window(response)
    union: frozenset[int] = frozenset()
    for weak in (False, True):
        for statement in statements(text, denied=True, weak=weak):
            union |= _read(statement.text, options, count)
        if union:
            return union
    return _unstated(text, options, count)


def _unstated(text: str, options: Sequence[str], count: int) -> frozenset[int]:
    """The choice of a text that announces none: in bold, as its last line, or as a line of its own."""
    rest = lines(text)
    if not rest:
        return frozenset()
    bold = {each: read for each in bolds(text) if (read := _strict(each, options, count))}
    union: frozenset[int] = frozenset().union(*bold.values())
    last = rest[-1]
    closing = _strict(last, options, count)
    if closing and union and closing != union:
        # "**A) coffee** is bitter. .. So B." chooses; "**A** .. B" says two things, and so does "**A** .. **B**".
        headings = len(union) > 1 or all(len(tidy(each)) > 3 for each in bold)
        return closing if headings and "**" not in last else union | closing
    if union or closing:
        return union or closing
    if not _NEGATED.search(last) and (mentioned := _mentioned(last, options)):
        return mentioned
    return frozenset().union(*(_strict(line, options, count) for line in rest))


def inline_options(question: str) -> tuple[str, ...]:
    """The options that a question lists itself, "... (A) iron (B) tin (C) lead": the last such list, or ()."""
    marks = list(re.finditer(r"\(([A-H])\)\s*", question))
    starts = [index for index, mark in enumerate(marks) if mark[1] == "A"]
    if not starts:
        return ()
    run = [mark for offset, mark in enumerate(marks[starts[-1] :]) if mark[1] == chr(ord("A") + offset)]
    ends = [*(mark.start() for mark in run[1:]), len(question)]
    return tuple(question[mark.end() : end].strip() for mark, end in zip(run, ends, strict=True))


def plain(text: str) -> str:
    """Text for comparing words: case, punctuation and spacing do not matter, signs and decimals of numbers do."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").replace("’", "'")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    return " ".join(re.findall(r"(?<!\w)-\d+(?:\.\d+)?|\d+(?:\.\d+)?|\w+", text.replace("'", "")))


def _read(text: str, options: Sequence[str], count: int) -> frozenset[int]:
    """What a statement such as "(B) tea, because ..." chooses."""
    text = tidy(text)
    matched = _LETTER.match(text)
    by_text = _same(text, options) or _same(sentence(text), options) or _starting(text, options)
    if DENIED.match(text):
        return by_text
    by_letter = _by_letter(text, count, strict=False)
    if by_letter and matched:
        if any(len(plain(options[index]).split()) > 1 and index not in by_letter for index in by_text):
            return by_text  # the option is called "E. coli" or "B cells"
        named = _same(sentence(text[matched.end() :].lstrip(" .:)-–—")), options)
        return by_letter if named & by_letter else by_letter | named
    return by_text or _mentioned(sentence(text), options)


def _strict(text: str, options: Sequence[str], count: int) -> frozenset[int]:
    """What a line chooses that is nothing but a choice: "B", "(B)", "So B.", "B) tea", "tea"."""
    text = _SO.sub("", tidy(text.lstrip("-•> \t")), count=1)
    whole = _same(text, options)
    by_letter = _by_letter(text, count, strict=True)
    matched = _LETTER.match(text)
    if not by_letter or not matched or (whole and " " in text):  # "Both A and C" may be an option
        return whole
    rest = text[matched.end() :].strip(" .:)-–—")
    if not rest or len(by_letter) > 1:
        return by_letter
    return by_letter if by_letter & (_same(rest, options) or _starting(rest, options)) else frozenset()


def _by_letter(text: str, count: int, strict: bool) -> frozenset[int]:
    matched = _LETTER.match(text)
    if not matched:
        return frozenset()
    letter, after = matched["letter"], text[matched.end() :]
    named = matched["named"] and not matched["named"].lower().startswith("is")
    sure = matched["close"] or named or _FOLLOWS.match(after)
    # "the answer is B tea" names B; "the answer is a dog" names no letter, and neither does "I ..." or "A dog ...".
    if not sure and (strict or letter in "AI" or letter.islower() or not after.startswith(" ")):
        return frozenset()
    found = [letter]
    while more := _MORE.match(after):
        found.append(more[1])
        after = after[more.end() :]
    found += _ALSO.findall(sentence(after))
    numbers = [ord(each.upper()) - ord("A") for each in found]
    return frozenset(number for number in numbers if number < count) if numbers[0] < count else frozenset()


def _same(text: str, options: Sequence[str]) -> frozenset[int]:
    """The options whose text is `text`: letter by letter but for case, or, failing that, word by word."""
    raw = tidy(text).casefold()
    exact = [index for index, option in enumerate(options) if raw and tidy(option).casefold() == raw]
    words = plain(text)
    loose = [index for index, option in enumerate(options) if words and plain(option) == words]
    return frozenset(exact or (loose if len({tidy(options[index]).casefold() for index in loose}) == 1 else ()))


def _starting(text: str, options: Sequence[str]) -> frozenset[int]:
    """The options, the longest where several do, that `text` starts with."""
    words = plain(text) + " "
    starts = {index: plain(option) for index, option in enumerate(options) if plain(option)}
    fitting = {index: option for index, option in starts.items() if words.startswith(option + " ")}
    longest = max(fitting.values(), key=len, default="")
    return frozenset(index for index, option in fitting.items() if option == longest)


def _mentioned(text: str, options: Sequence[str]) -> frozenset[int]:
    """The only option that `text` mentions; one within another's mention does not count. None where there are more."""
    words = f" {plain(text)} "
    found = {index: f" {plain(option)} " for index, option in enumerate(options)}
    found = {index: option for index, option in found.items() if option.strip() and option in words}
    outer = {
        i for i, option in found.items() if not any(option in other and option != other for other in found.values())
    }
    return frozenset(outer) if len({found[index] for index in outer}) == 1 else frozenset()
