"""One set of attributes for all problems: which proposed name stands for which attribute.

Names are compared without filler words, plurals, case and order, then by likeness. An attribute that is in the
catalogue keeps its name for good: profiles refer to it, and later runs only add to the catalogue.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from prefdisco.schema import Attribute

LIKE = 0.88  # likeness of two names, filler words aside, from which they are one
FILLER = {
    "a", "an", "and", "the", "of", "for", "with", "in", "to", "on", "level", "degree", "amount", "type", "kind",
    "preference", "preferred", "style", "comfort", "familiarity",
}  # fmt: skip


class Catalogue:
    """The attributes by the key of their name, and the keys of proposed names that go under each."""

    def __init__(self, saved: dict[str, Any] | None = None) -> None:
        self.attributes: dict[str, Attribute] = {}
        self.domains: dict[str, set[str]] = {}  # domain -> keys of the attributes that it brought
        self.alias: dict[str, str] = {}  # key of a proposed name -> key of the attribute
        self._stems: dict[str, set[str]] = {}  # first letters of a word -> keys that have it
        for domain, names in (saved or {}).get("domains", {}).items():
            for name in names:
                self._add(name, Attribute(**(saved or {})["attributes"][name]), domain)
        self.alias |= (saved or {}).get("alias", {})

    def save(self) -> dict[str, Any]:
        """The catalogue as JSON, for `Catalogue(saved)`."""
        return {
            "attributes": {name: each.model_dump(mode="json") for name, each in self.attributes.items()},
            "domains": {domain: sorted(names) for domain, names in self.domains.items()},
            "alias": dict(self.alias),
        }

    def find(self, name: str) -> Attribute | None:
        """The attribute that a proposed name stands for, or None."""
        return self.attributes.get(self.alias.get(key(name), ""))

    def propose(self, attribute: Attribute, domain: str) -> None:
        """Note a proposed attribute: under one that has its name, or almost its name, or as a new one."""
        name = key(attribute.name)
        if name in self.alias:
            return
        if near := self._near(name, attribute):
            self.alias[name] = near
        else:
            self._add(name, attribute, domain)

    def drop(self, gone: str, kept: str) -> None:
        """Let one attribute go under another one."""
        del self.attributes[gone]
        self.alias = {name: kept if target == gone else target for name, target in self.alias.items()}
        for keys in (*self.domains.values(), *self._stems.values()):
            keys.discard(gone)

    def kin(self, domain: str, names: Sequence[str], most: int) -> list[str]:
        """Keys of a domain's attributes that share a word with one of `names`."""
        wanted = set().union(*map(_stems, names)) if names else set()
        return [name for name in sorted(self.domains.get(domain, ())) if _stems(name) & wanted][:most]

    def commonest(self, domain: str) -> list[Attribute]:
        """A domain's attributes but for expertise, those of the most names first."""
        uses = Counter(self.alias.values())
        keys = sorted(self.domains.get(domain, ()), key=lambda name: (-uses[name], name))
        return [self.attributes[name] for name in keys if self.attributes[name].kind != "expertise"]

    def _near(self, name: str, attribute: Attribute) -> str | None:
        kin = set().union(*(self._stems.get(stem, set()) for stem in _stems(name)))
        return next((k for k in sorted(kin) if not apart(self.attributes[k], attribute) and _like(k, name)), None)

    def _add(self, name: str, attribute: Attribute, domain: str) -> None:
        self.attributes[name], self.alias[name] = attribute, name
        self.domains.setdefault(domain, set()).add(name)
        for stem in _stems(name):
            self._stems.setdefault(stem, set()).add(name)


def apart(one: Attribute, other: Attribute) -> bool:
    """Whether two attributes can never be the same: expertise is only ever like expertise."""
    return (one.kind == "expertise") != (other.kind == "expertise")


def key(name: str) -> str:
    """A name without filler words, plurals, case and order: "Level of Detail" and "detail levels" are one."""
    words = [_singular(word) for word in re.findall(r"\w+", name.casefold())]
    return " ".join(sorted(word for word in words if word not in FILLER)) or " ".join(words) or name


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] not in "su" else word


def _stems(name: str) -> set[str]:
    return {word[:4] for word in name.split()}


def _like(one: str, other: str) -> bool:
    matcher = SequenceMatcher(None, one, other)
    return matcher.real_quick_ratio() >= LIKE and matcher.quick_ratio() >= LIKE and matcher.ratio() >= LIKE
