"""What the agent is told and whether it may ask: one condition, one text file in `prompts/`.

`baseline` is told nothing and has no file. The three conditions of PrefDisco differ in prompt as well as in
information; the controls take that apart: `generic` has discovery's wish and no information, `oracle_preferences` has
no persona, `attributes` knows what matters but not how, `fixed(k)` asks exactly k questions, and in `swapped`, which is
discovery in all else, somebody else answers them. `carried` and `carried_discovery` are told what an earlier problem of
the same person revealed (carried.py): instead of asking, and before it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prefdisco.config import ConfigError
from prefdisco.schema import Message, Preference, Problem, Scenario

PROMPTS = Path(__file__).parent / "prompts"
MAY_ASK = {
    "baseline": False,
    "discovery": True,
    "oracle": False,
    "generic": False,
    "oracle_preferences": False,
    "attributes": True,
    "swapped": True,
    "carried": False,
    "carried_discovery": True,
}
FIXED = re.compile(r"fixed\(\s*(\d+)\s*\)")
CARRIED = "{carried}"
PERSONAL = ("{persona}", "{preferences}", "{attributes}", CARRIED)
FIELDS = ("budget", "persona", "preferences", "attributes", "carried")
SWAPPED, DISCOVERY, GENERIC = "swapped", "discovery", "generic"


@cache
def prompt(name: str) -> str:
    """The text of `prompts/<name>.txt` without its last newline."""
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Condition:
    """One condition. `template` is its system prompt, not filled in, or None; `exactly` is the k of fixed(k).

    `carried` holds attribute and value of the preferences that an episode begins with, where the condition carries.
    """

    name: str
    template: str | None
    may_ask: bool
    exactly: int | None = None
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def shared(self) -> bool:
        """True where the answer cannot depend on the persona: generated once a (problem, seed), graded for each."""
        return not self.may_ask and not any(field in (self.template or "") for field in PERSONAL)

    @property
    def swapped(self) -> bool:
        """True where the user answers for another scenario's person."""
        return self.name == SWAPPED

    @property
    def carries(self) -> bool:
        """True where the prompt tells what an earlier problem of the same person revealed."""
        return CARRIED in (self.template or "")

    @property
    def drawn_as(self) -> str:
        """The name that seeds are made of. `swapped` and `carried_discovery` draw as discovery does: they differ
        from it in the answers alone, and in what is carried alone."""
        return DISCOVERY if self.swapped or (self.carries and self.may_ask) else self.name

    @property
    def states_preferences(self) -> bool:
        """True where the prompt states the whole profile, attributes with their values."""
        return "{preferences}" in (self.template or "")

    @property
    def states_attributes(self) -> bool:
        """True where the prompt names the attributes of the profile, with or without their values."""
        return self.states_preferences or "{attributes}" in (self.template or "")

    def questions(self, budget: int) -> int:
        """How many questions the agent may ask when an evaluation grants `budget`."""
        if not self.may_ask:
            return 0
        return budget if self.exactly is None else self.exactly

    def opening(self, scenario: Scenario, budget: int) -> list[Message]:
        """The messages before the agent's first turn: the system prompt, if any, and the problem."""
        messages = [Message(role="user", content=problem_text(scenario.problem))]
        template = self.template
        if self.carries and not self.carried:  # nothing to tell: as without an earlier problem
            template = prompt(DISCOVERY if self.may_ask else GENERIC)
        if template is not None:
            system = template.format(
                budget=self.questions(budget),
                persona=" ".join(scenario.persona.description.split()),
                preferences="\n".join(preference_line(preference) for preference in scenario.profile),
                attributes=", ".join(_plain(preference.attribute) for preference in scenario.profile),
                carried="\n".join(f"- {_plain(name)}: {_plain(value)}" for name, value in self.carried),
            )
            messages.insert(0, Message(role="system", content=system))
        return messages


def parse_condition(name: str) -> Condition:
    """The condition called `name`, such as "discovery" or "fixed(3)", or that of a prompt of one's own, FILE.txt.

    Raises ConfigError, with the nearest name.
    """
    name = name.strip()
    if name.endswith(".txt"):
        return _own(name)
    if name in MAY_ASK:
        template = None if name == "baseline" else prompt(DISCOVERY if name == SWAPPED else name)
        return Condition(name, template, MAY_ASK[name])
    fixed = FIXED.fullmatch(name)
    if fixed and int(fixed[1]) > 0:
        return Condition(f"fixed({int(fixed[1])})", prompt("fixed"), may_ask=True, exactly=int(fixed[1]))
    known = [*MAY_ASK, "fixed(k)", "FILE.txt"]
    nearest = "fixed(k) with k of 1 or more" if name.startswith("fixed") else _nearest(name, known)
    raise ConfigError(f"conditions: unknown condition {name!r}; did you mean {nearest}? Known: {', '.join(known)}")


def _own(name: str) -> Condition:
    """The condition whose prompt is the text file `name`; it may ask if the prompt says how often: `{budget}`."""
    try:
        template = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"conditions: {name}: cannot be read: {error}") from None
    try:
        template.format(**dict.fromkeys(FIELDS, ""))
    except (LookupError, ValueError) as error:
        fields = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise ConfigError(
            f"conditions: {name}: cannot be filled in ({error!r}); there are {fields}, and other braces are doubled"
        ) from None
    return Condition(name, template, may_ask="{budget}" in template)


def problem_text(problem: Problem) -> str:
    """The problem as the person states it: the question, then its options, lettered, one a line."""
    options = [f"{chr(ord('A') + index)}. {option}" for index, option in enumerate(problem.options or ())]
    return "\n".join([problem.question, *options])


def preference_line(preference: Preference) -> str:
    """`- representation: table`, with the description behind it where the record has one."""
    description = f" ({' '.join(preference.description.split())})" if preference.description else ""
    return f"- {_plain(preference.attribute)}: {_plain(preference.value)}{description}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _nearest(name: str, known: list[str]) -> str:
    return max(known, key=lambda other: difflib.SequenceMatcher(None, name.lower(), other).ratio())
