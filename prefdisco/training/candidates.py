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
                        + imitation
                        0                                                         where that is wrong

in units of the attainable gain, for each token of the turn. Where the differences are `scaled`, each is divided by the
standard deviation of what was compared, as GRPO does with a group: then the best of several is learned as firmly where
little is at stake, and does not fade as drafts become alike.

The credit is the advantage. This is best-of-n distillation, a step of expert iteration (Anthony et al., 2017) at every
turn: a policy gradient whose baseline is the mean of the drafts. Imitation is the likelihood of right answers besides,
of those that do not come too early, as in rejection sampling: it holds what can be solved already. Later turns are
learned where a better questioner would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig
from prefdisco.elicitation.policies import Belief
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.tokens import Draft, TokenModel
from prefdisco.protocol import SplitThinking, Turn, parse_turn, split_thinking
from prefdisco.schema import Episode, Message, Scenario
from prefdisco.training.credit import TINY, asked_by, heard
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.users import STOP, Reply
from prefdisco.world import World


@dataclass(frozen=True)
class Drafting:
    """How turns are drafted: `count` of them, of which the best by `reward` is taken; `budget` questions are allowed,
    and credits are `scaled` or not."""

    reward: RewardConfig
    count: int
    budget: int
    scaled: bool = False


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
        self.reward, self.count, self.scaled = drafting.reward, drafting.count, drafting.scaled
        self.asked, self.left = asked_by(world.user), parse_condition(condition).questions(drafting.budget)
        self.name = agent.name
        self.credits: list[float] = []
        self.right: list[bool] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: the best of several."""
        samplings = [replace(sampling, seed=stable_seed(sampling.seed, "draft", i)) for i in range(self.count)]
        drafts = await self.agent.drafts(conversation, samplings)
        read = [split_thinking(draft.completion.text) for draft in drafts]
        turns = [parse_turn(split.visible) for split in read]
        losses, best, flat = [0.0] * len(drafts), list(range(len(drafts))), 0.0
        if self.left:
            losses = [self.loss(*each) for each in zip(turns, read, strict=True)]
            best = [place for place, loss in enumerate(losses) if loss == max(losses)]
        taken, wrong = best[0], False
        if not self.left or turns[taken].kind != "question":
            answers = await asyncio.gather(*(self.answered(drafts[i], read[i], turns[i]) for i in best))
            rewards, right = [reward for reward, _ in answers], [correct for _, correct in answers]
            place = rewards.index(max(rewards))
            taken, wrong = best[place], not right[place]
            self.right += right
            flat = (rewards[place] - fmean(rewards)) / (spread(rewards) if self.scaled else 1.0)
            flat += self.reward.imitation if losses[taken] >= 0 else 0.0  # one that comes too early is no example
        weight = self.reward.information / (spread(losses) if self.scaled else 1.0)
        credit = weight * (losses[taken] - fmean(losses)) + flat
        self.credits.append(0.0 if wrong else credit)
        return self.agent.adopt(conversation, drafts[taken])

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's answer, which changes the belief about the person."""
        reply = await self.world.user.reply(scenario, messages, question, seed)
        self.left = 0 if STOP in reply.text else self.left - 1
        self.belief = heard(self.belief, scenario, question, reply.revealed, self.asked)
        return reply

    def loss(self, turn: Turn, read: SplitThinking) -> float:
        """What a drafted turn loses against the best question; 0 is the best. An answer's form is in its reward."""
        price, gains = self.reward.question * self.reference.unit, self.belief.gains()
        about = self.asked(turn.text) if turn.kind == "question" else None
        if turn.kind != "question" or about in {name for name, _ in self.belief.answered}:
            return -worth(gains, price, self.left) / self.reference.unit
        gain = gains.get(about or "", 0.0)
        form = 0.0 if read.well_formed else self.reward.format
        return (gain - price - worth(gains, price, 1)) / self.reference.unit - form

    async def answered(self, draft: Draft, read: SplitThinking, turn: Turn) -> tuple[float, bool]:
        """The reward of an episode that ends with this draft, whatever was asked before, and whether it is right.
        Raises ModelError where the judge failed."""
        scenario = self.scenario
        well_finished = turn.kind == "final" or (self.condition != DISCOVERY and turn.kind != "question")
        episode = Episode(
            scenario_id=scenario.id,
            problem_id=scenario.problem.id,
            persona_id=scenario.persona.id,
            condition=self.condition,
            seed=0,
            response=turn.text,
            malformed_turns=int(not well_finished or not read.well_formed),
            truncated=draft.completion.finish == "length",
            weights={preference.attribute: preference.weight for preference in scenario.profile},
        )
        verdict = await graded(episode, scenario, self.world.judge)
        if verdict.error is not None:
            raise ModelError(verdict.error)
        return earned(verdict, self.reference, self.reward), bool(verdict.correct)


def spread(values: Sequence[float]) -> float:
    """The standard deviation, never 0."""
    return (stdev(values) if len(values) > 1 else 0.0) + TINY


def worth(gains: Mapping[str, float], price: float, most: int) -> float:
    """What up to `most` questions are expected to bring beyond their price, as if none told of another."""
    return sum(sorted((gain - price for gain in gains.values() if gain > price), reverse=True)[:most])
