"""Hand-made scenarios, and an agent, a user and a judge simple enough to know every outcome by heart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from prefdisco.judges import Verdict
from prefdisco.llm.base import Completion, Conversation, Finish, Sampling
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import (
    Criterion,
    Episode,
    Grade,
    Message,
    Persona,
    Preference,
    Problem,
    Question,
    Scenario,
    Usage,
)
from prefdisco.users import Reply

PROFILE = {"tone": "formal", "format": "bullets"}
LEVELS = {1: "opposite", 3: "absent", 5: "met"}


def scenario(problem: str = "p1", persona: str = "ann", type: str | None = None, **profile: str) -> Scenario:
    """A scenario named `problem/persona` with equal weights; the answer of every problem is 42."""
    values = profile or PROFILE
    weight = 1 / len(values)
    return Scenario(
        id=f"{problem}/{persona}",
        problem=Problem(id=problem, task="toy", domain="math", question=f"What is {problem}?", answer="42"),
        persona=Persona(id=persona, name=persona, description=f"{persona},\n 40", type=type),
        profile=tuple(Preference(attribute=a, value=v, weight=weight, kind="presentation") for a, v in values.items()),
        rubric=tuple(Criterion(attribute=a, description=v, weight=weight, levels=LEVELS) for a, v in values.items()),
    )


class Agent:
    """Says what `speak` makes of the conversation, a token a character; `seen` keeps what it was asked with."""

    name = "agent"

    def __init__(self, speak: Callable[[Conversation], str], finish: Finish = "stop") -> None:
        self.speak, self.finish = speak, finish
        self.seen: list[tuple[list[Message], Sampling]] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        await asyncio.sleep(0)
        self.seen.append((list(conversation.messages), sampling))
        text = self.speak(conversation)
        conversation.read([1])
        conversation.wrote([2] * len(text), [-0.5] * len(text))
        return Completion(text, self.finish, Usage(calls=1, completion_tokens=len(text)))


def script(*turns: str) -> Agent:
    """An agent that says these turns, one after another, in every dialogue."""
    return Agent(lambda talk: turns[sum(message.role == "assistant" for message in talk.messages)])


def asks(*attributes: str, then: str = "42") -> Agent:
    """An agent that asks about these attributes, then answers."""
    return script(*(format_question(f"Which {attribute}?") for attribute in attributes), format_final(then))


class TruthfulUser:
    """Tells the value of the attribute that the question names."""

    name = "truthful"

    def __init__(self) -> None:
        self.heard: list[list[Message]] = []

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        self.heard.append(list(messages))
        preference = scenario.preference(self.attribute_of(question) or "")
        return Reply(preference.value, preference.attribute) if preference else Reply("No preference.", None)

    def attribute_of(self, question: str) -> str | None:
        return question.removeprefix("Which ").rstrip("?")

    def counterfactual(self, scenario: Scenario, question: str, seed: int) -> Reply | None:
        return Reply("something else", None)


class WordJudge:
    """Right if 42 is in the response; a preference is met (5) if its value is in there, else absent (3)."""

    name = "words"

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        scores = {p.attribute: 5 if p.value in response else 3 for p in scenario.profile}
        return Verdict("42" in response, tuple(Grade(attribute=a, score=s) for a, s in scores.items()))


def episode(
    problem: str,
    condition: str,
    alignment: float,
    persona: str = "ann",
    seed: int = 0,
    correct: bool = True,
    revealed: Sequence[str | None] = (),
    thinking: str = "",
    error: str | None = None,
    weights: dict[str, float] | None = None,
    adaptive: tuple[bool, ...] = (),
    malformed: int = 0,
    before: Sequence[str] = (),
    truncated: bool = False,
    values: dict[str, str] | None = None,
    consistent: bool | None = None,
) -> Episode:
    """A graded episode of the agent's turns alone: their thinking is `before`, and in the last one `thinking`."""
    return Episode(
        scenario_id=f"{problem}/{persona}",
        problem_id=problem,
        persona_id=persona,
        condition=condition,
        seed=seed,
        messages=tuple(Message(role="assistant", content="x", thinking=text) for text in (*before, thinking)),
        thinking=thinking,
        questions=tuple(Question(text="?", answer="!", revealed=name) for name in revealed),
        correct=None if error else correct,
        alignment=None if error else alignment,
        weights=weights or {"tone": 0.6, "format": 0.4},
        adaptive=adaptive,
        malformed_turns=malformed,
        truncated=truncated,
        values=values or {},
        consistent=consistent,
        usage=Usage(calls=1),
        error=error,
    )
