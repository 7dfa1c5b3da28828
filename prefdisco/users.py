"""The simulated person. Pocket's is computed; a user behind an LLM implements the same protocol.

class Silent:
    name = "silent"

    async def reply(self, scenario, messages, question, seed):
        return Reply("I have no preference.", revealed=None)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from prefdisco.config import ConfigError
from prefdisco.extensions import is_own, load_own
from prefdisco.llm.base import Model
from prefdisco.schema import Message, Scenario, Usage

STOP = "###STOP###"  # a reply that carries this ends the questions; a final-answer request follows
POCKET_USERS = ("passive", "collaborative", "nostop")
LAPSING = ("forgetful", "noisy")  # a patient person who fails to say a preference now and then (user_variants.py)


class Reply(NamedTuple):
    """What the person says, and the attribute whose preference that revealed: for the record, no agent sees it."""

    text: str
    revealed: str | None
    usage: Usage = Usage()


class User(Protocol):
    """Answers the agent's questions as the scenario's persona would."""

    @property
    def name(self) -> str: ...

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """Answer `question`; `messages` is the dialogue before it, without system prompt, thinking and wire format."""
        ...


@runtime_checkable
class TransparentUser(Protocol):
    """A user whose understanding of a question can be looked up: what adaptivity is measured with."""

    def attribute_of(self, question: str) -> str | None:
        """The attribute that `question` is about, or None."""
        ...

    def counterfactual(self, scenario: Scenario, question: str, seed: int) -> Reply | None:
        """What this persona would not answer: another value, or "no preference"; None where there is no such thing."""
        ...


def load_user(
    name: str, scenarios: Sequence[Scenario], model: Callable[[str], Model] | None = None, variant: str = "passive"
) -> User:
    """The user called `name`: one of POCKET_USERS or LAPSING on Pocket scenarios, FILE.py:CLASS, else `model(name)` as
    `variant`.

    Raises ConfigError for a name that is none of these.
    """
    if is_own(name):
        own: User = load_own(name, "user")()
        return own
    computed = (*POCKET_USERS, *LAPSING)
    if name not in computed:
        if "/" not in name or model is None:
            raise ConfigError(
                f"user={name}: unknown user; choose {', '.join(computed)} (Pocket), a model: provider/name, or "
                "FILE.py:CLASS"
            )
        from prefdisco.llm_users import LLMUser

        return LLMUser(model(name), variant)
    if not is_pocket(scenarios):
        raise ConfigError(f"user={name}: only Pocket scenarios have a computed user; name a model: user=provider/name")
    from prefdisco.pocket.users import PocketUser

    if name in LAPSING:
        from prefdisco.pocket.attributes import ATTRIBUTES
        from prefdisco.user_variants import Lapsing

        return Lapsing(PocketUser("nostop"), name, lambda preference: ATTRIBUTES[preference.attribute].values)
    user: User = PocketUser(name)
    return user


def is_pocket(scenarios: Sequence[Scenario]) -> bool:
    """True where every scenario comes from the embedded world, so that its user and judge can be computed."""
    return bool(scenarios) and all(scenario.problem.task == "pocket" for scenario in scenarios)


class Shuffled:
    """`user`, answering for another scenario's person: a control. An agent that listens must lose its gain.

    The partners are a permutation of the scenarios without fixed points, drawn by `seed`; partners are of different
    persona types. Where one type holds more than half of the scenarios there is no such permutation, and the others
    stand in several times. With one type only, partners are different people. An answer counts as revealing only where
    both profiles agree on it. Raises ConfigError where all scenarios have the same person.
    """

    def __init__(self, user: User, scenarios: Sequence[Scenario], seed: int = 0) -> None:
        if len({scenario.persona.id for scenario in scenarios}) < 2:
            raise ConfigError(
                f"condition swapped: needs scenarios of at least 2 people to swap, got {len(scenarios)} of 1; "
                "raise limit, or leave swapped out"
            )
        self.user = user
        self.name = f"shuffled({user.name})"
        order = sorted(scenarios, key=lambda scenario: scenario.id)
        random.Random(seed).shuffle(order)
        order.sort(key=_kind_of_person)
        # Sorted by type, a shift by the largest type's size leaves no type on itself unless that type holds over half.
        largest = max(Counter(map(_kind_of_person, order)).values())
        shift = min(largest, len(order) - 1)
        self.partner: dict[str, Scenario] = {}
        for index, scenario in enumerate(order):
            other = order[(index + shift) % len(order)]
            if _kind_of_person(other) == _kind_of_person(scenario):
                strangers = [each for each in order if _kind_of_person(each) != _kind_of_person(scenario)]
                strangers = strangers or [each for each in order if each.persona.id != scenario.persona.id]
                other = strangers[index % len(strangers)]
            self.partner[scenario.id] = other

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The partner's answer to `question`."""
        other = self.partner[scenario.id]
        person = {"persona": other.persona, "profile": other.profile, "rubric": other.rubric}
        text, revealed, usage = await self.user.reply(scenario.model_copy(update=person), messages, question, seed)
        own, told = (side.preference(revealed) if revealed else None for side in (scenario, other))
        agree = own is not None and told is not None and own.value == told.value
        return Reply(text, revealed if agree else None, usage)


def _kind_of_person(scenario: Scenario) -> str:
    return scenario.persona.type or scenario.persona.id
