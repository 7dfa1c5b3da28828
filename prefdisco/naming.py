"""Does a text name an attribute, or a value of it? What thinking that heeds a preference can be expected to do.

A text and a name are compared as words: letters and digits, case aside, everything else (underscores too) between them.

- An **attribute** is named where the words of its name stand in the text, side by side and in order ("comfort with
  algebra" for `comfort_with_algebra`). Where two names overlap, the first is meant, and of two that begin together the
  longer.
- A **value** is named in the same way, but some values say nothing alone: a number, a word of fewer than four letters,
  and the words of a scale (SCALE). A value that is made of such words only is never named.

Other words for the same thing are not recognised, so the share of preferences that are named is a lower bound. A word
that happens to stand there ("in order to") counts: names are compared, not meanings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SCALE = frozenset(
    {"average", "false", "high", "higher", "least", "less", "lower", "medium", "moderate", "more", "most", "none"}
    | {"some", "true", "very"}
)
SHORTEST = 4  # letters of a value's word that can say something alone
_WORD = re.compile(r"[^\W_]+")

Words = tuple[str, ...]


def words(text: str) -> Words:
    """The words of a text or of a name, folded to one case."""
    return tuple(_WORD.findall(text.casefold()))


class Vocabulary:
    """The attributes that can be named, found in one pass over the words of a text."""

    def __init__(self, attributes: Iterable[str]) -> None:
        self._starting: dict[str, list[tuple[Words, str]]] = {}
        for attribute in sorted(set(attributes)):
            if name := words(attribute):
                self._starting.setdefault(name[0], []).append((name, attribute))
        for names in self._starting.values():
            names.sort(key=lambda entry: -len(entry[0]))

    def named(self, text: Words) -> set[str]:
        """The attributes that the text names."""
        found, at = set(), 0
        while at < len(text):
            step = 1
            for name, attribute in self._starting.get(text[at], ()):
                if text[at : at + len(name)] == name:
                    found.add(attribute)
                    step = len(name)
                    break
            at += step
        return found


def names_value(text: Words, value: str) -> bool:
    """Whether the text names this value; never for one that says nothing alone."""
    wanted = words(value)
    if all(len(word) < SHORTEST or word.isdigit() or word in SCALE for word in wanted):
        return False
    return f" {' '.join(wanted)} " in f" {' '.join(text)} "
