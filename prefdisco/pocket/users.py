"""The computed person of Pocket: answers what was asked, in one short phrase, and nothing else.

The question is understood from its text alone: the attribute with most of its keywords in the question, the first one
where two tie. The wording of an answer is drawn independently of everything but the answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefdisco.hashing import stable_seed
from prefdisco.pocket.attributes import DIMENSIONS
from prefdisco.schema import Message, Scenario
from prefdisco.users import STOP, Reply

VALUE_FORMS = ("{value}, please.", "I prefer {value}.", "I would like {value}.")
NO_PREFERENCE = ("No preference.", "I do not mind.", "Either is fine.")
UNHELPFUL = ("That is for you to work out.", "I only know what I wrote.", "I cannot say.")
REDIRECT = "No preference there, but I care about this: {value}."

_WORD = re.compile(r"[a-z]+")
_ATTRIBUTE_OF = {word: name for name, dimension in DIMENSIONS.items() for word in dimension.keywords}


def attribute_of(question: str) -> str | None:
    """The attribute that `question` asks about; None where it asks about none."""
    hits: dict[str, int] = {}
    for word in _WORD.findall(question.lower()):
        name = _ATTRIBUTE_OF.get(word)
        if name is not None:
            hits[name] = hits.get(name, 0) + 1
    return max(hits, key=lambda name: hits[name]) if hits else None


def say(attribute: str, value: str | None, seed: int) -> str:
    """A phrase that states `value` of `attribute`, or that there is no preference; `seed` chooses the wording."""
    if value is None:
        return NO_PREFERENCE[seed % len(NO_PREFERENCE)]
    ways = DIMENSIONS[attribute].values[value]
    text = VALUE_FORMS[seed % len(VALUE_FORMS)].format(value=ways[seed // 7 % len(ways)])
    return text[0].upper() + text[1:]


def understand(attribute: str, answer: str) -> str | None:
    """The value that an answer to a question about `attribute` states, None for no preference: `say` backwards."""
    text = answer.lower()
    ways = [(way, value) for value, forms in DIMENSIONS[attribute].values.items() for way in forms if way in text]
    return max(ways, key=lambda way: len(way[0]))[1] if ways else None


class PocketUser:
    """`passive` stops when asked the same again; `nostop` never does; `collaborative` answers an idle question with
    the weightiest preference that has not been talked about."""

    def __init__(self, variant: str = "passive") -> None:
        self.name = variant

    def attribute_of(self, question: str) -> str | None:
        """The attribute that `question` is understood to ask about."""
        return attribute_of(question)

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The answer to `question`; see the class for what sets the variants apart."""
        return self.answer(scenario, messages, question, seed)

    def answer(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """`reply` without a coroutine."""
        attribute = attribute_of(question)
        before = {attribute_of(message.content) for message in messages if message.role == "assistant"}
        if self.name == "passive" and attribute is not None and attribute in before:
            return Reply(STOP, None)
        preference = scenario.preference(attribute) if attribute else None
        if attribute and preference:
            return Reply(say(attribute, preference.value, seed), attribute)
        if self.name == "collaborative":
            for other in sorted(scenario.profile, key=lambda p: -p.weight):
                if other.attribute not in before:
                    way = DIMENSIONS[other.attribute].values[other.value][0]
                    return Reply(REDIRECT.format(value=way), other.attribute)
        if attribute:
            return Reply(say(attribute, None, seed), None)
        return Reply(UNHELPFUL[seed % len(UNHELPFUL)], None)

    def counterfactual(self, scenario: Scenario, question: str, seed: int) -> Reply | None:
        """Another answer than the true one: another value, or none at all. None for a question about no attribute."""
        attribute = attribute_of(question)
        if attribute is None:
            return None
        own = scenario.preference(attribute)
        choices: list[str | None] = [
            value for value in DIMENSIONS[attribute].values if own is None or value != own.value
        ]
        if own is not None:
            choices.append(None)
        value = choices[stable_seed("counterfactual", seed) % len(choices)]
        return Reply(say(attribute, value, seed), attribute if value else None)
