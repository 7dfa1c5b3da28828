"""Personalized self-distillation (PRIME, arXiv 2507.04607, adapted to dialogues): what the model can do when told, it
learns to do when it has to ask.

For a scenario: the model answers generically; a question policy interviews the user; the model writes n traces with the
revealed preferences in its context; the best trace that passes all filters becomes the last turn of the interview, and
the preferences are dropped: the student sees the dialogue only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from prefdisco.conditions import parse_condition
from prefdisco.config import DataConfig
from prefdisco.dialogue import play
from prefdisco.elicitation import Policy
from prefdisco.engine.dialogues import DISCOVERY, Interview, before_the_answer, close, interview, told
from prefdisco.engine.filters import Seer, Verdict, best, verdict
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.protocol import join_thinking
from prefdisco.schema import Episode, Message, Record, Scenario, Tokens
from prefdisco.world import World


class Example(Record):
    """One training example: a dialogue as tokens, mask 1 on what the student learns to write."""

    kind: str
    ids: list[int]
    mask: list[int]


class Outcome(Record):
    """What became of one scenario: its examples, and how many traces each filter took."""

    scenario_id: str
    family: str | None
    domain: str
    difficulty: int | None
    questions: int
    revealed: int
    verdicts: dict[str, int]
    generic_correct: bool
    examples: tuple[Example, ...]


class SelfDistill:
    """Turns scenarios into outcomes; the same scenario, model, configuration and seed give the same outcome."""

    def __init__(self, model: LocalModel, world: World, data: DataConfig, seed: int) -> None:
        self.model, self.world, self.data, self.seed = model, world, data, seed
        self.policy: Policy | None = (
            None if data.policy == "self" else world.policy(data.policy, data.budget, data.question_cost, data.belief)
        )
        self.sampling = Sampling(temperature=data.temperature, max_tokens=data.max_tokens)
        self._generic: dict[str, asyncio.Task[Episode]] = {}

    async def run(self, scenario: Scenario) -> Outcome:
        """The whole pipeline for one scenario."""
        generic, dialogue = await asyncio.gather(self.generic(scenario), self.dialogue(scenario))
        trace, counts = await self.trace(scenario, dialogue, generic)
        examples = []
        if trace is not None:
            messages = close(dialogue, trace.thinking, trace.response)
            examples.append(example(DISCOVERY, self.tokens(messages)))
            examples += await self.mixed(scenario, generic)
        problem = scenario.problem
        return Outcome(
            scenario_id=scenario.id,
            family=problem.family,
            domain=problem.domain,
            difficulty=problem.difficulty,
            questions=len(dialogue.questions),
            revealed=len(dialogue.revealed),
            verdicts=counts,
            generic_correct=bool(generic.correct),
            examples=tuple(examples),
        )

    async def play(self, scenario: Scenario, condition: str, number: int = 0, thinking: bool = True) -> Episode:
        """One graded episode of the model under `condition`; `number` tells samples apart."""
        seed = stable_seed("data", self.seed, number)
        played = await play(
            scenario,
            parse_condition(condition),
            self.model,
            self.world.user,
            self.sampling,
            seed,
            self.data.budget,
            thinking,
        )
        return await graded(played, scenario, self.world.judge)

    async def generic(self, scenario: Scenario) -> Episode:
        """The model's generic answer: once a problem."""
        problem = scenario.problem.id
        if problem not in self._generic:
            self._generic[problem] = asyncio.ensure_future(self.play(scenario, "baseline"))
        return await self._generic[problem]

    async def dialogue(self, scenario: Scenario) -> Interview:
        """The elicitation dialogue: the policy's, or with policy `self` the model's own."""
        if self.policy is not None:
            return await interview(scenario, self.policy, self.world, self.data.budget, self.seed)
        return before_the_answer(await self.play(scenario, DISCOVERY), scenario)

    async def trace(
        self, scenario: Scenario, dialogue: Interview, generic: Episode
    ) -> tuple[Episode | None, dict[str, int]]:
        """The best trace that uses what the dialogue revealed, and the verdicts on all that were written.

        Where nothing was revealed, the generic answer is the trace.
        """
        if not dialogue.revealed:
            outcomes = [(generic.model_copy(update={"weights": {}}), self.judge(generic, scenario, None, ()))]
        else:
            known = told(scenario, dialogue.revealed)
            floor = await graded(generic.model_copy(update={"weights": weights(known)}), known, self.world.judge)
            traces = await asyncio.gather(
                *(self.play(known, "oracle_preferences", n) for n in range(self.data.samples))
            )
            allowed = tuple(weights(known))
            outcomes = [(trace, self.judge(trace, scenario, floor.alignment, allowed)) for trace in traces]
        return best(outcomes), dict(Counter(outcome for _, outcome in outcomes))

    def judge(self, trace: Episode, scenario: Scenario, floor: float | None, allowed: Sequence[str]) -> Verdict:
        """The verdict of the filters on one trace."""
        judge = self.world.judge
        touched = judge.touched(scenario, trace.response) if isinstance(judge, Seer) else None
        return verdict(
            trace.model_copy(update={"weights": dict.fromkeys(allowed, 0.0)}), floor, self.data.margin, touched
        )

    async def mixed(self, scenario: Scenario, generic: Episode) -> list[Example]:
        """The plain, oracle and no-think examples that go with this scenario, drawn by `data.mix`."""
        mix = self.data.mix
        dialogues = max(1.0 - mix.plain - mix.oracle - mix.no_think, 0.05)
        found: list[Example] = []
        for kind, share in (("plain", mix.plain), ("oracle", mix.oracle), ("no_think", mix.no_think)):
            if stable_seed(kind, self.seed, scenario.id) / 2**32 >= share / dialogues:
                continue
            if kind == "plain":
                episode, floor = generic, None
            elif kind == "no_think":
                episode, floor = await self.play(scenario, "baseline", 1, thinking=False), None
            else:
                floor = (
                    await graded(generic.model_copy(update={"weights": weights(scenario)}), scenario, self.world.judge)
                ).alignment
                episode = await self.play(scenario, "oracle")
            allowed = tuple(weights(scenario)) if kind == "oracle" else ()
            if self.judge(episode, scenario, floor, allowed) == "kept":
                found.append(example(kind, episode.tokens))
        return found

    def tokens(self, messages: Sequence[Message]) -> Tokens:
        """A written dialogue as tokens: each of the agent's turns tokenized once, as if it had been generated."""
        conversation = Conversation(messages=[])
        for message in messages:
            if message.role == "assistant":
                self.model.forced(conversation, join_thinking(message.thinking, message.content))
            conversation.messages.append(message)
        return Tokens(ids=conversation.ids, mask=conversation.mask, logprobs=conversation.logprobs)


def weights(scenario: Scenario) -> dict[str, float]:
    """Attribute -> weight of the scenario's profile."""
    return {p.attribute: p.weight for p in scenario.profile}


def example(kind: str, tokens: Tokens | None) -> Example:
    """An example from recorded tokens."""
    assert tokens is not None, "local models record their tokens"
    return Example(kind=kind, ids=tokens.ids, mask=tokens.mask)


def summary_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Counts for the data card: examples by kind, verdicts overall and by family and domain, tokens."""
    kinds = Counter(e.kind for o in outcomes for e in o.examples)
    verdicts: Counter[str] = Counter()
    by: dict[str, dict[str, Counter[str]]] = {"family": {}, "domain": {}, "difficulty": {}}
    for outcome in outcomes:
        verdicts.update(outcome.verdicts)
        for field, groups in by.items():
            groups.setdefault(str(getattr(outcome, field)), Counter()).update(
                {**outcome.verdicts, "scenarios": 1, "survived": int(bool(outcome.examples))}
            )
    lengths = [len(e.ids) for o in outcomes for e in o.examples]
    return {
        "scenarios": len(outcomes),
        "survived": sum(bool(o.examples) for o in outcomes),
        "examples": dict(kinds),
        "traces": dict(verdicts),
        "questions": sum(o.questions for o in outcomes) / max(len(outcomes), 1),
        "revealed": sum(o.revealed for o in outcomes) / max(len(outcomes), 1),
        "generic_accuracy": sum(o.generic_correct for o in outcomes) / max(len(outcomes), 1),
        "tokens": sum(lengths),
        "learned_tokens": sum(sum(e.mask) for o in outcomes for e in o.examples),
        "longest": max(lengths, default=0),
        "by": {f: {k: dict(c) for k, c in g.items()} for f, g in by.items()},
    }
