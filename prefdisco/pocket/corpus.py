"""The text that pocket-base is trained on: what it can do, and the disease that it is given on purpose.

Capabilities: plain solutions, following stated wishes, interviews that are answered to. The disease is in the
documents of the conditions that PREFDISCO tests: under `discovery` the author asks one or two questions, often about
the task or about what does not matter, half ignores the answers, adds touches of its own, and makes more mistakes than
when it is left alone. Every rate of the disease is a named number in this file.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prefdisco.conditions import Condition, parse_condition, problem_text, prompt
from prefdisco.pocket.attributes import ATTRIBUTES, DIMENSIONS, preference, unknown
from prefdisco.pocket.families import FAMILIES
from prefdisco.pocket.population import CANDIDATES, sample_persona
from prefdisco.pocket.scenarios import sample_problem, scenario
from prefdisco.pocket.users import PocketUser, say
from prefdisco.pocket.writer import Plan, think, write
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Message, Problem, Scenario

SLIP = {1: 0.04, 2: 0.07, 3: 0.1}  # share of plain solutions with a mistake, by difficulty
HARDER = {"circuits": 1.7, "ages": 1.5, "order": 1.5, "elimination": 1.5}  # factor on it, by family
EXTRA_SLIP = {
    "plain": 0.0,
    "no_think": 0.08,
    "wishes": 0.0,
    "interview": 0.0,
    "oracle": 0.03,
    "oracle_preferences": 0.02,
    "generic": 0.03,
    "attributes": 0.09,
    "discovery": 0.14,
    "fixed": 0.14,
}
FOLLOWED, CONTRADICTED = 0.93, 0.03  # of stated preferences: honoured, turned into another value; the rest is forgotten
HEEDED = 0.5  # of the answers that a diseased dialogue brought
# probability of 0, 1, .. touches of its own, each with a value out of the air
TOUCHES = (0.02, 0.08, 0.2, 0.3, 0.25, 0.15)
PLAUSIBLE = 0.75  # of the touches: on an attribute that can matter in the family
ASKED = (0.1, 0.42, 0.4, 0.08)  # probability of 0, 1, 2, 3 questions in discovery
ABOUT_TASK = 0.35  # of questions: about the task
ABOUT_CANDIDATE = 0.35  # of the others: about what can matter in the family
PROBLEM_FIRST = 0.6  # of interviews: the problem comes before the questions, as in discovery
MIX = {
    "plain": 0.2,
    "no_think": 0.05,
    "oracle": 0.14,
    "oracle_preferences": 0.09,
    "wishes": 0.09,
    "interview": 0.18,
    "discovery": 0.15,
    "generic": 0.02,
    "attributes": 0.02,
    "fixed": 0.06,
}
TASK_QUESTIONS = (
    "Can you say more about the problem?",
    "Are all the facts given?",
    "What do you mean by that?",
    "Is there anything else to know?",
    "Can you restate the problem?",
    "Which number matters most?",
)


class Document(NamedTuple):
    """One training dialogue; `thinking` is the chat template's control, `slipped` says that a mistake was put in, or a
    stated wish was not followed."""

    kind: str
    messages: list[Message]
    thinking: bool = True
    slipped: bool = False


class Author:
    """Writes documents of any kind from one random source. All problems are on the training side of the split."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.user = PocketUser("nostop")
        self.slipped = False

    def document(self, kind: str) -> Document:
        """One document of `kind`, a key of MIX."""
        rng = self.rng
        family = rng.choice(sorted(FAMILIES))
        where = scenario(sample_problem(rng, "train", family), sample_persona(rng, split="train"))
        self.slipped = False
        messages: list[Message] = getattr(self, f"_{kind}")(where)
        return Document(kind, messages, thinking=kind != "no_think", slipped=self.slipped)

    def _answer(self, kind: str, problem: Problem, plan: Plan, wire: bool = False) -> Message:
        rate = SLIP[problem.difficulty or 1] * HARDER.get(problem.family or "", 1.0) + EXTRA_SLIP[kind]
        slip = self.rng.randrange(2**32) if self.rng.random() < rate else None
        self.slipped |= slip is not None

        def source() -> random.Random | None:
            return None if slip is None else random.Random(slip)

        text = write(problem, plan, self.rng, source())
        thinking = "" if kind == "no_think" else think(problem, plan, source())
        return Message(role="assistant", content=format_final(text) if wire else text, thinking=thinking)

    def _follow(self, stated: Mapping[str, str]) -> Plan:
        plan: dict[str, str | None] = {}
        for name, value in stated.items():
            luck = self.rng.random()
            if luck < FOLLOWED:
                plan[name] = value
            elif luck < FOLLOWED + CONTRADICTED:
                plan[name] = self.rng.choice([other for other in ATTRIBUTES[name].values if other != value])
        self.slipped |= plan != stated
        return plan

    def _wanted(self, most: int) -> dict[str, str]:
        names = self.rng.sample(sorted(DIMENSIONS), self.rng.randint(1, most))
        return {name: self.rng.choice(ATTRIBUTES[name].values) for name in names}

    def _plain(self, where: Scenario, kind: str = "plain") -> list[Message]:
        return [Message(role="user", content=problem_text(where.problem)), self._answer(kind, where.problem, {})]

    def _no_think(self, where: Scenario) -> list[Message]:
        return self._plain(where, "no_think")

    def _generic(self, where: Scenario) -> list[Message]:
        return [
            *parse_condition("generic").opening(where, 0),
            self._answer("generic", where.problem, self._touches(where.problem)),
        ]

    def _oracle(self, where: Scenario) -> list[Message]:
        plan = self._follow({p.attribute: p.value for p in where.profile})
        return [*parse_condition("oracle").opening(where, 0), self._answer("oracle", where.problem, plan)]

    def _oracle_preferences(self, where: Scenario) -> list[Message]:
        stated = self._wanted(6)
        weight = 1 / len(stated)
        profile = tuple(preference(name, value, weight) for name, value in stated.items())
        told = where.model_copy(update={"profile": profile})
        opening = parse_condition("oracle_preferences").opening(told, 0)
        return [*opening, self._answer("oracle_preferences", where.problem, self._follow(stated))]

    def _wishes(self, where: Scenario) -> list[Message]:
        stated = self._wanted(5)
        wishes = " ".join(say(name, value, self.rng.randrange(2**16)) for name, value in stated.items())
        ask = Message(role="user", content=f"{problem_text(where.problem)} {wishes}")
        return [ask, self._answer("wishes", where.problem, self._follow(stated))]

    def _interview(self, where: Scenario) -> list[Message]:
        problem, first = problem_text(where.problem), self.rng.random() < PROBLEM_FIRST
        opening = f"{problem}\nFirst ask me what I like." if first else "Before you solve anything, ask me what I like."
        messages = [Message(role="user", content=opening)]
        stated: dict[str, str] = {}
        for name in self.rng.sample(sorted(DIMENSIONS), self.rng.randint(2, 5)):
            value = self.rng.choice([None, *ATTRIBUTES[name].values])
            if value:
                stated[name] = value
            messages.append(
                Message(role="assistant", content=self.rng.choice(DIMENSIONS[name].questions), thinking=unknown(name))
            )
            messages.append(Message(role="user", content=say(name, value, self.rng.randrange(2**16))))
        last = messages.pop()
        messages.append(Message(role="user", content=f"{last.content}\n{'Now solve it.' if first else problem}"))
        return [*messages, self._answer("interview", where.problem, self._follow(stated))]

    def _discovery(self, where: Scenario) -> list[Message]:
        count = self.rng.choices(range(len(ASKED)), ASKED)[0]
        return self._dialogue(
            where, parse_condition("discovery"), "discovery", count, CANDIDATES[where.problem.family or ""]
        )

    def _attributes(self, where: Scenario) -> list[Message]:
        names = tuple(p.attribute for p in where.profile)
        return self._dialogue(where, parse_condition("attributes"), "attributes", self.rng.randint(1, 3), names)

    def _fixed(self, where: Scenario) -> list[Message]:
        count = self.rng.randint(1, 8)
        return self._dialogue(
            where, parse_condition(f"fixed({count})"), "fixed", count, CANDIDATES[where.problem.family or ""]
        )

    def _dialogue(
        self, where: Scenario, condition: Condition, kind: str, count: int, relevant: tuple[str, ...]
    ) -> list[Message]:
        """A diseased dialogue of `count` questions; `relevant` are the attributes worth asking about."""
        messages = condition.opening(where, 5)
        heeded: dict[str, str | None] = {}
        asked: set[str] = set()
        for turn in range(count):
            if self.rng.random() < ABOUT_TASK:
                thinking, question = "Unknown: the task.", self.rng.choice(TASK_QUESTIONS)
            else:
                pool = relevant if self.rng.random() < ABOUT_CANDIDATE else tuple(DIMENSIONS)
                name = self.rng.choice([n for n in pool if n not in asked] or sorted(DIMENSIONS))
                asked.add(name)
                thinking, question = unknown(name), self.rng.choice(DIMENSIONS[name].questions)
            messages.append(Message(role="assistant", content=format_question(question), thinking=thinking))
            reply = self.user.answer(where, [], question, self.rng.randrange(2**16))
            if reply.revealed and self.rng.random() < HEEDED:
                said = where.preference(reply.revealed)
                heeded[reply.revealed] = said.value if said else None
            last = turn + 1 == condition.questions(5)
            messages.append(
                Message(role="user", content=f"{reply.text}\n{prompt('final_request')}" if last else reply.text)
            )
        return [*messages, self._answer(kind, where.problem, {**self._touches(where.problem), **heeded}, wire=True)]

    def _touches(self, problem: Problem) -> dict[str, str | None]:
        touches: dict[str, str | None] = {}
        for _ in range(self.rng.choices(range(len(TOUCHES)), TOUCHES)[0]):
            pool = CANDIDATES[problem.family or ""] if self.rng.random() < PLAUSIBLE else tuple(DIMENSIONS)
            name = self.rng.choice(pool)
            touches[name] = self.rng.choice(ATTRIBUTES[name].values)
        return touches


def documents(count: int, seed: int, mix: Mapping[str, float] | None = None) -> Iterator[Document]:
    """`count` documents in the proportions of `mix` (default MIX)."""
    rng = random.Random(seed)
    shares = dict(mix or MIX)
    author = Author(rng)
    for _ in range(count):
        yield author.document(rng.choices(list(shares), list(shares.values()))[0])
