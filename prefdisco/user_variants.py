"""People who fail to say what they prefer: forgetful ones and noisy ones, as a wrapper of any user.

    user = Lapsing(PocketUser("nostop"), "forgetful")     # what `user=forgetful` makes

A *lapse* is drawn for every answer and every preference anew, with probability RATE, by the seed of the answer. The
forgetful person then answers as somebody without that preference; the noisy one names another value of the attribute.
Both are patient (`nostop`), so an agent may ask again: the forgetful person may remember by then, the noisy one may
contradict itself. An answer with a lapse reveals nothing: nobody learns the preference from it.

A language model in the user's seat has the same lapses, drawn here, and is told them (llm_users.py): it knows no list
of values to choose another from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefdisco.hashing import stable_seed
from prefdisco.schema import Message, Preference, Scenario
from prefdisco.users import LAPSING, Reply, User

RATE = 0.3  # of the preferences asked about, those that a person fails to say


class Lapsing:
    """`user`, forgetful or noisy. `values` lists the values of a preference's attribute; only noise needs it.

    A preference without another value is told as it is. Raises ValueError for another kind, or for noise without
    `values`.
    """

    def __init__(
        self,
        user: User,
        kind: str,
        values: Callable[[Preference], Sequence[str]] | None = None,
        rate: float = RATE,
    ) -> None:
        if kind not in LAPSING or (kind == "noisy" and values is None):
            raise ValueError(f"lapsing user: {kind!r} with values={values}: choose {' or '.join(LAPSING)}, with values")
        self.user, self.kind, self.values, self.rate = user, kind, values, rate
        self.name = f"{kind}({user.name})"

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The answer to `question` of the person who has this answer's lapses."""
        lapsed = lapses(self.kind, scenario, seed, self.rate)
        kept = [preference for each in scenario.profile if (preference := self._told(each, lapsed, seed)) is not None]
        person = scenario.model_copy(update={"profile": tuple(kept)})
        text, revealed, usage = await self.user.reply(person, messages, question, seed)
        own, told = (side.preference(revealed) if revealed else None for side in (scenario, person))
        return Reply(text, revealed if own == told else None, usage)

    def _told(self, preference: Preference, lapsed: frozenset[str], seed: int) -> Preference | None:
        """The preference as the person would tell it now; None where it is forgotten."""
        if preference.attribute not in lapsed:
            return preference
        if self.values is None or self.kind == "forgetful":
            return None
        others = [value for value in self.values(preference) if value != preference.value]
        if not others:
            return preference
        value = others[stable_seed("another value", seed, preference.attribute) % len(others)]
        return preference.model_copy(update={"value": value})


def lapses(kind: str, scenario: Scenario, seed: int, rate: float = RATE) -> frozenset[str]:
    """The attributes of the profile whose preference the person fails to say in the answer with this seed."""
    return frozenset(
        preference.attribute
        for preference in scenario.profile
        if stable_seed(kind, seed, preference.attribute) < rate * 2**32
    )
