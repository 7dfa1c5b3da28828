"""Turns to choose from: at each place the agent drafts several, and the dialogue goes on from the best.

What a question is expected to bring is known before it is asked, from a belief about the person; what an answer earns,
the judge says. So the drafts of a turn can be compared at one and the same place, and neither the person nor what
was said before is in the difference:

    q(question about a) = E[rise of the expected alignment | a is asked] - price
    loss(question)      = q(question) - max(0, best q), less the price of its form where its thinking cannot be read
    loss(answer)        = -(the best q that are above 0, as many as questions are left, added up)
                          and so a question that was asked before: people who are asked again leave
    credit              = information * (loss(taken) - mean loss of the drafts)   where the agent may still ask
                        + reward(taken) - mean reward of the drafts that answer   where the taken one answers
                        + imitation                                               where nothing could have been better
                        0                                                         where the answer is wrong

in units of the attainable gain, for each token of the turn. Where the differences are `scaled`, each is divided by the
standard deviation of what was compared, as GRPO does with a group: then the best of several is learned as firmly where
little is at stake, and does not fade as drafts become alike.

The credit is the advantage. This is best-of-n distillation, a step of expert iteration (Anthony et al., 2017) at every
turn: a policy gradient whose baseline is the mean of the drafts. Imitation is the likelihood besides, as in rejection
sampling, of right answers that do not come too early and of the best questions there are: it holds what the agent can
do already, where its drafts agree. Later turns are learned where a better questioner would be.

What a question brings is expected, not what this person happened to say; so is what an answer earns by what was not
told. A guess that most people like who answered so is good even where this person does not, and the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import NamedTuple

from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig
from prefdisco.elicitation.grades import NEUTRAL
from prefdisco.elicitation.policies import Belief
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.judges import OpenJudge
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.tokens import Draft, TokenModel
from prefdisco.protocol import SplitThinking, Turn, format_final, parse_turn, split_thinking
from prefdisco.schema import Episode, Message, Scenario
from prefdisco.training.credit import TINY, asked_by, heard
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.users import STOP, Reply
from prefdisco.world import World


@dataclass(frozen=True)
class Drafting:
    """How turns are drafted: `count` of them, of which the best by `reward` is taken, and with `inferred` above 0 one
    answer more, as to somebody who has said what is expected to gain so many points; `budget` questions are allowed,
    and credits are `scaled` or not."""

    reward: RewardConfig
    count: int
    budget: int
    scaled: bool = False
    inferred: float = 0.0


class Drafted(NamedTuple):
    """A draft and what it says."""

    draft: Draft
    read: SplitThinking
    turn: Turn


class Deliberation:
    """Agent and user of one episode in one: drafts are weighed by what the user has said so far.

    `credits` has a value for each turn of the agent; `right` says of each draft that answered whether it was right: the
    agent's own accuracy, where that of the best draft is higher.
    """

    def __init__(
        self,
        agent: TokenModel,
        world: World,
        scenario: Scenario,
        condition: str,
        belief: Belief,
        reference: Reference,
        drafting: Drafting,
    ) -> None:
        self.agent, self.world, self.scenario, self.condition = agent, world, scenario, condition
        self.belief, self.reference = belief, reference
        self.reward, self.drafting = drafting.reward, drafting
        self.asked, self.left = asked_by(world.user), parse_condition(condition).questions(drafting.budget)
        self.name = agent.name
        self.told: dict[str, int] = {}  # attribute that was revealed -> how many were before
        self.credits: list[float] = []
        self.right: list[bool] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: the best of several."""
        drafts, more = await asyncio.gather(self.drafts(conversation, sampling), self.informed(conversation, sampling))
        losses, best = [0.0] * len(drafts), drafts
        if self.left:
            losses = [self.loss(draft) for draft in drafts]
            best = [draft for draft, loss in zip(drafts, losses, strict=True) if loss == max(losses)]
        credit = self.reward.information * self.above(losses, max(losses))
        credit += self.reward.imitation if max(losses) >= 0 else 0.0  # nothing there could have been better
        taken = best[0]
        if not self.left or taken.turn.kind != "question":
            own, best = len(best), [*best, *more]
            answers = await asyncio.gather(*map(self.answered, best))
            rewards, right = [reward for reward, _ in answers], [correct for _, correct in answers]
            place = rewards.index(max(rewards))
            taken = best[place]
            self.right += right[:own]
            credit = credit + self.above(rewards, rewards[place]) if right[place] else 0.0
        self.credits.append(credit)
        return self.agent.adopt(conversation, taken.draft)

    async def drafts(self, conversation: Conversation, sampling: Sampling) -> list[Drafted]:
        """The agent's own."""
        count = self.drafting.count
        samplings = [replace(sampling, seed=stable_seed(sampling.seed, "draft", i)) for i in range(count)]
        return [parsed(draft) for draft in await self.agent.drafts(conversation, samplings)]

    async def informed(self, conversation: Conversation, sampling: Sampling) -> list[Drafted]:
        """The agent's own answer to somebody who states all that the belief assumes, first what was told and in
        the order of the dialogue, as its next turn; none where it may still ask, where nothing is assumed but what was
        told, and where the answer is no whole one.

        So what is to be inferred from answers is found, which an agent that was taught to heed them never tries.
        """
        assumed, weights = self.belief.assumed(self.drafting.inferred), self.belief.wanted()
        if not self.drafting.inferred or self.left or self.condition != DISCOVERY or len(assumed) <= len(self.told):
            return []
        stated = [self.world.preference(*each, weights.get(each, 0.0)) for each in assumed.items()]
        stated.sort(key=lambda each: (self.told.get(each.attribute, len(self.told)), -each.weight))
        teller = self.scenario.model_copy(update={"profile": tuple(stated)})
        opening = parse_condition("oracle_preferences").opening(teller, 0)
        apart = Conversation(opening, thinking=conversation.thinking)
        (draft,) = await self.agent.drafts(apart, [replace(sampling, seed=stable_seed(sampling.seed, "informed"))])
        split = split_thinking(draft.completion.text)
        if draft.completion.finish == "length" or not split.well_formed:
            return []
        content = split.visible if parse_turn(split.visible).kind == "final" else format_final(split.visible)
        text = self.agent.chat.spelled(split.thinking, content)
        return [parsed(self.agent.given(conversation, text))]

    def above(self, values: Sequence[float], value: float) -> float:
        """How far a value is above the mean of all, in standard deviations where credits are scaled."""
        return (value - fmean(values)) / (spread(values) if self.drafting.scaled else 1.0)

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's answer, which changes the belief about the person."""
        reply = await self.world.user.reply(scenario, messages, question, seed)
        self.left = 0 if STOP in reply.text else self.left - 1
        if reply.revealed:
            self.told.setdefault(reply.revealed, len(self.told))
        self.belief = heard(self.belief, scenario, question, reply.revealed, self.asked)
        return reply

    def loss(self, drafted: Drafted) -> float:
        """What a drafted turn loses against the best question; 0 is the best. An answer's form is in its reward."""
        turn = drafted.turn
        price, gains = self.reward.question * self.reference.unit, self.belief.gains()
        about = self.asked(turn.text) if turn.kind == "question" else None
        if turn.kind != "question" or about in {name for name, _ in self.belief.answered}:
            return -worth(gains, price, self.left) / self.reference.unit
        gain = gains.get(about or "", 0.0)
        form = 0.0 if drafted.read.well_formed else self.reward.format
        return (gain - price - worth(gains, price, 1)) / self.reference.unit - form

    async def answered(self, drafted: Drafted) -> tuple[float, bool]:
        """The reward of an episode that ends with this draft, whatever was asked before, and whether it is right.

        Where the judge can grade for anybody, the alignment is the one that the belief expects: luck in what was not
        told is no merit. Raises ModelError where the judge failed.
        """
        draft, split, turn = drafted
        scenario = self.scenario
        well_finished = turn.kind == "final" or (self.condition != DISCOVERY and turn.kind != "question")
        episode = Episode(
            scenario_id=scenario.id,
            problem_id=scenario.problem.id,
            persona_id=scenario.persona.id,
            condition=self.condition,
            seed=0,
            response=turn.text,
            malformed_turns=int(not well_finished or not split.well_formed),
            truncated=draft.completion.finish == "length",
            weights={preference.attribute: preference.weight for preference in scenario.profile},
        )
        verdict = await graded(episode, scenario, self.world.judge)
        if verdict.error is not None:
            raise ModelError(verdict.error)
        if isinstance(self.world.judge, OpenJudge) and self.condition == DISCOVERY:
            wanted = [
                self.world.preference(*which, weight) for which, weight in self.belief.wanted().items() if weight > 0
            ]
            grades = self.world.judge.grades(scenario, turn.text, wanted)
            pairs = zip(wanted, grades, strict=True)
            above = sum(each.weight * (grade.score - NEUTRAL) for each, grade in pairs)
            verdict = verdict.model_copy(update={"alignment": NEUTRAL + above})
        return earned(verdict, self.reference, self.reward), bool(verdict.correct)


def parsed(draft: Draft) -> Drafted:
    """What a draft says."""
    split = split_thinking(draft.completion.text)
    return Drafted(draft, split, parse_turn(split.visible))


def spread(values: Sequence[float]) -> float:
    """The standard deviation, never 0."""
    return (stdev(values) if len(values) > 1 else 0.0) + TINY


def worth(gains: Mapping[str, float], price: float, most: int) -> float:
    """What up to `most` questions are expected to bring beyond their price, as if none told of another."""
    return sum(sorted((gain - price for gain in gains.values() if gain > price), reverse=True)[:most])
