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
from dataclasses import replace

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, DataConfig
from prefdisco.dialogue import play
from prefdisco.elicitation import Policy
from prefdisco.elicitation.hearing import asked_by, heard
from prefdisco.engine.dialogues import DISCOVERY, Interview, ScenarioFailed, before_the_answer, close, interview, told
from prefdisco.engine.drafts import BestQuestion
from prefdisco.engine.filters import Verdict, best, verdict
from prefdisco.engine.outcomes import Kind, Outcome, Talk
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.judges import OpenJudge
from prefdisco.llm.base import Conversation, Model, Sampling
from prefdisco.llm.chat import Chat
from prefdisco.llm.tokens import TokenModel
from prefdisco.schema import Episode, Message, Preference, Scenario, Tokens
from prefdisco.world import World


class SelfDistill:
    """Turns scenarios into outcomes; the same scenario, model, configuration and seed give the same outcome."""

    def __init__(self, writer: Model, chat: Chat, world: World, data: DataConfig, seed: int) -> None:
        """`writer` is the model that learns, wherever it is served; `chat` has its tokens."""
        self.writer, self.chat, self.world, self.data, self.seed = writer, chat, world, data, seed
        self.costs = data.question_cost if isinstance(data.question_cost, list) else [data.question_cost]
        self.policies: dict[float, Policy] = (
            {} if data.policy == "self" else world.policies(data.policy, data.budget, self.costs, data.belief)
        )
        self.belief = world.belief(data.belief) if data.inferred or data.drafts > 1 else None
        if data.inferred and not isinstance(world.judge, OpenJudge):
            raise ConfigError(
                "data.inferred: what was not told has no rubric, and this judge grades nothing else; set it to 0"
            )
        self.drafter: TokenModel | None = None
        if data.drafts > 1:
            if not isinstance(writer, TokenModel):
                raise ConfigError(f"data.drafts: only a model that writes here drafts, not {writer.name}; set it to 1")
            self.drafter = writer
        self.sampling = Sampling(temperature=data.temperature, max_tokens=data.max_tokens)
        self._generic: dict[tuple[str, int], asyncio.Task[Episode]] = {}

    async def run(self, scenario: Scenario) -> Outcome:
        """The whole pipeline for one scenario."""
        generic, dialogue = await asyncio.gather(self.generic(scenario), self.dialogue(scenario))
        whole(generic)
        trace, counts = await self.trace(scenario, dialogue, generic)
        talks = []
        if trace is not None:
            messages = close(dialogue, trace.thinking, trace.response)
            talks.append(Talk.of("discovery", messages, self.tokens(messages)))
            talks.append(self.talk("stated", trace))
            if right := await self.right_generic(scenario):
                talks.append(self.talk("generic", right))
            talks += await self.mixed(scenario, generic)
        return outcome(scenario, dialogue, talks, counts, bool(generic.correct))

    async def interview(self, scenario: Scenario) -> Outcome:
        """The interview alone, up to the last question that was answered."""
        dialogue = await self.dialogue(scenario)
        talks = [Talk.of("interview", dialogue.messages, self.tokens(dialogue.messages))] if dialogue.questions else []
        return outcome(scenario, dialogue, talks, {}, False)

    async def play(self, scenario: Scenario, condition: str, number: int = 0, thinking: bool = True) -> Episode:
        """One graded episode of the model under `condition`; `number` tells samples apart."""
        seed = stable_seed("data", self.seed, number)
        played = await play(
            scenario,
            parse_condition(condition),
            self.writer,
            self.world.user,
            self.sampling,
            seed,
            self.data.budget,
            thinking,
        )
        return await graded(played, scenario, self.world.judge)

    async def generic(self, scenario: Scenario, number: int = 0) -> Episode:
        """The model's generic answer: once a problem and `number`."""
        key = (scenario.problem.id, number)
        if key not in self._generic:
            self._generic[key] = asyncio.ensure_future(self.play(scenario, "baseline", number))
        return await self._generic[key]

    async def right_generic(self, scenario: Scenario) -> Episode | None:
        """A right generic answer, for recipes that teach it; None where as many tries as traces get bring none."""
        for number in range(max(self.data.samples, self.data.most_samples)):
            episode = await self.generic(scenario, number)
            if self.judge(episode, scenario, None, ()) == "kept":
                return episode
        return None

    async def dialogue(self, scenario: Scenario) -> Interview:
        """The elicitation dialogue: the policy's, or with policy `self` the model's own, or the best of its drafts."""
        cost = self.costs[stable_seed("cost", self.seed, scenario.id) % len(self.costs)]
        if self.policies:
            return await interview(scenario, self.policies[cost], self.world, self.data.budget, self.seed)
        if self.drafter is not None and self.belief is not None:
            both = BestQuestion(self.drafter, self.world, scenario, self.belief(scenario), self.data, cost)
            seed = stable_seed("data", self.seed, 0)
            played = await play(scenario, parse_condition(DISCOVERY), both, both, self.sampling, seed, self.data.budget)
            return replace(before_the_answer(played, scenario), lost=tuple(both.lost))
        return before_the_answer(await self.play(scenario, DISCOVERY), scenario)

    async def trace(
        self, scenario: Scenario, dialogue: Interview, generic: Episode
    ) -> tuple[Episode | None, dict[str, int]]:
        """The best trace that uses what the dialogue revealed, and the verdicts on all that were written.

        Where none is kept, more are written: hard problems get more tries (DART-Math, arXiv 2407.13690), or only easy
        ones would be learned. Where nothing is known, the generic answer is the trace.
        """
        preferences = (*dialogue.revealed, *self.inferred(scenario, dialogue))
        if not preferences:
            outcomes = [(generic.model_copy(update={"weights": {}}), self.judge(generic, scenario, None, ()))]
        else:
            known = told(scenario, preferences)
            floor = await self.graded_for(known, generic)
            allowed, outcomes = tuple(weights(known)), []
            while best(outcomes) is None and len(outcomes) < max(self.data.samples, self.data.most_samples):
                numbers = range(len(outcomes), len(outcomes) + self.data.samples)
                traces = await asyncio.gather(*(self.play(known, "oracle_preferences", n) for n in numbers))
                outcomes += [(trace, self.judge(trace, scenario, floor.alignment, allowed)) for trace in traces]
            if all(outcome == "error" for _, outcome in outcomes):
                whole(outcomes[0][0])
        return best(outcomes), dict(Counter(outcome for _, outcome in outcomes))

    def inferred(self, scenario: Scenario, dialogue: Interview) -> list[Preference]:
        """What the belief makes of the answers and a trace is to follow besides, the highest gain first."""
        if self.belief is None or not self.data.inferred:
            return []
        belief, asked = self.belief(scenario), asked_by(self.world.user)
        for question in dialogue.questions:
            belief = heard(belief, scenario, question.text, question.revealed, asked)
        weights = belief.wanted()
        return [self.world.preference(*each, weights[each]) for each in belief.inferred(self.data.inferred)]

    async def graded_for(self, scenario: Scenario, generic: Episode) -> Episode:
        """The generic answer, graded on this scenario's preferences."""
        update = {"weights": weights(scenario)}
        return whole(await graded(generic.model_copy(update=update), scenario, self.world.judge))

    def judge(self, trace: Episode, scenario: Scenario, floor: float | None, allowed: Sequence[str]) -> Verdict:
        """The verdict of the filters on one trace."""
        return verdict(trace.model_copy(update={"weights": dict.fromkeys(allowed, 0.0)}), floor, self.data.margin)

    async def mixed(self, scenario: Scenario, generic: Episode) -> list[Talk]:
        """The plain, oracle and no-think talks that go with this scenario, drawn by `data.mix`."""
        mix = self.data.mix
        dialogues = max(1.0 - mix.plain - mix.oracle - mix.no_think, 0.05)
        found: list[Talk] = []
        shares: tuple[tuple[Kind, float], ...] = (
            ("plain", mix.plain),
            ("oracle", mix.oracle),
            ("no_think", mix.no_think),
        )
        for kind, share in shares:
            if stable_seed(kind, self.seed, scenario.id) / 2**32 >= share / dialogues:
                continue
            if kind == "plain":
                episode, floor = generic, None
            elif kind == "no_think":
                episode, floor = await self.play(scenario, "baseline", 1, thinking=False), None
            else:
                floor = (await self.graded_for(scenario, generic)).alignment
                episode = await self.play(scenario, "oracle")
            allowed = tuple(weights(scenario)) if kind == "oracle" else ()
            if self.judge(episode, scenario, floor, allowed) == "kept":
                found.append(self.talk(kind, episode, kind != "no_think"))
        return found

    def talk(self, kind: Kind, episode: Episode, thinking: bool = True) -> Talk:
        """What was played as a talk: its tokens as they were generated, or, from a server, tokenized here."""
        tokens = episode.tokens or self.tokens(episode.messages, thinking)
        return Talk.of(kind, episode.messages, tokens, thinking)

    def tokens(self, messages: Sequence[Message], thinking: bool = True) -> Tokens:
        """A written dialogue as tokens: each of the agent's turns tokenized once, as if it had been generated."""
        conversation = Conversation(messages=[], thinking=thinking)
        for message in messages:
            if message.role == "assistant":
                self.chat.forced(conversation, self.chat.spelled(message.thinking, message.content))
            conversation.messages.append(message)
        return Tokens(ids=conversation.ids, mask=conversation.mask, logprobs=conversation.logprobs)


def outcome(
    scenario: Scenario, dialogue: Interview, talks: Sequence[Talk], verdicts: dict[str, int], generic_correct: bool
) -> Outcome:
    """The record of a scenario."""
    problem = scenario.problem
    return Outcome(
        scenario_id=scenario.id,
        family=problem.family,
        domain=problem.domain,
        difficulty=problem.difficulty,
        questions=len(dialogue.questions),
        revealed=len(dialogue.revealed),
        lost=dialogue.lost,
        verdicts=verdicts,
        generic_correct=generic_correct,
        talks=tuple(talks),
    )


def whole(episode: Episode) -> Episode:
    """The episode. Raises ScenarioFailed for one that failed: what is compared with it would pass unseen."""
    if episode.error is not None:
        raise ScenarioFailed(f"{episode.scenario_id}: {episode.error}")
    return episode


def unmade(scenario: Scenario, error: str) -> Outcome:
    """The record of a scenario that failed."""
    return outcome(scenario, Interview((), (), ()), (), {}, False).model_copy(update={"error": error})


def weights(scenario: Scenario) -> dict[str, float]:
    """Attribute -> weight of the scenario's profile."""
    return {p.attribute: p.weight for p in scenario.profile}
