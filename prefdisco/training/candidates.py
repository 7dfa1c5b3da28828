"""Turns to choose from: at each place the agent drafts several, and the dialogue goes on from the best.

What a question is expected to bring is known before it is asked, from a belief about the person; what an answer earns,
the judge says. So the drafts of a turn can be compared at one and the same place, and neither the person nor what
was said before is in the difference:

    q(question about a) = E[rise of the expected alignment | a is asked] - price      a known answer brings nothing
    loss(question)      = q(question) - max(0, best q)                                in units of the attainable gain
    loss(answer)        = -(the best q that are above 0, as many as questions are left, added up)
    credit              = information * (loss(taken) - mean loss of the drafts)       where the agent may still ask
                        + reward(taken) - mean reward of the drafts that answer       where the taken one answers

The credit is the advantage of the turn's tokens. It is never below 0: this is best-of-n distillation, a step of expert
iteration (Anthony et al., 2017) at every turn, with the weights of a policy gradient whose baseline is the mean of the
drafts. Later turns are learned where a better questioner would be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from prefdisco.config import RewardConfig
from prefdisco.elicitation.policies import Belief
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.tokens import Draft, TokenModel
from prefdisco.protocol import SplitThinking, Turn, parse_turn, split_thinking
from prefdisco.schema import Episode, Message, Scenario
from prefdisco.training.credit import heard
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.users import STOP, Reply
from prefdisco.world import World


class Deliberation:
    """Agent and user of one episode in one: drafts are weighed by what the user has said so far.

    `credits` has an entry for each turn of the agent, in the reward's units; `right` says of each draft that answered
    whether it was right: the agent's own accuracy, where that of the best draft is higher.
    """

    def __init__(
        self,
        agent: TokenModel,
        world: World,
        scenario: Scenario,
        belief: Belief,
        asked: Callable[[str], str | None],
        reference: Reference,
        reward: RewardConfig,
        count: int,
        budget: int,
    ) -> None:
        self.agent, self.world, self.scenario, self.belief, self.asked = agent, world, scenario, belief, asked
        self.reference, self.reward, self.count, self.left = reference, reward, count, budget
        self.name = agent.name
        self.credits: list[float] = []
        self.right: list[bool] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: the best of several."""
        samplings = [replace(sampling, seed=stable_seed(sampling.seed, "draft", i)) for i in range(self.count)]
        drafts = await self.agent.drafts(conversation, samplings)
        read = [split_thinking(draft.completion.text) for draft in drafts]
        turns = [parse_turn(split.visible) for split in read]
        credit, best = 0.0, list(range(len(drafts)))
        if self.left:
            losses = [self.loss(turn) for turn in turns]
            best = [place for place, loss in enumerate(losses) if loss == max(losses)]
            credit += self.reward.information * (max(losses) - fmean(losses))
        taken = best[0]
        if not self.left or turns[taken].kind != "question":
            rewards = await asyncio.gather(*(self.answered(drafts[i], read[i], turns[i]) for i in best))
            taken = best[rewards.index(max(rewards))]
            credit += max(rewards) - fmean(rewards)
        self.credits.append(credit)
        return self.agent.adopt(conversation, drafts[taken])

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's answer, which changes the belief about the person."""
        reply = await self.world.user.reply(scenario, messages, question, seed)
        self.left = 0 if STOP in reply.text else self.left - 1
        self.belief = heard(self.belief, scenario, question, reply.revealed, self.asked)
        return reply

    def loss(self, turn: Turn) -> float:
        """What a drafted turn loses against the best question; 0 is the best."""
        price, gains = self.reward.question * self.reference.unit, self.belief.gains()
        if turn.kind != "question":
            return -worth(gains, price, self.left) / self.reference.unit
        gain = gains.get(self.asked(turn.text) or "", 0.0)
        return (gain - price - worth(gains, price, 1)) / self.reference.unit

    async def answered(self, draft: Draft, read: SplitThinking, turn: Turn) -> float:
        """The reward of an episode that ends with this draft, whatever was asked before. Raises ModelError where the
        judge failed."""
        scenario = self.scenario
        episode = Episode(
            scenario_id=scenario.id,
            problem_id=scenario.problem.id,
            persona_id=scenario.persona.id,
            condition=DISCOVERY,
            seed=0,
            response=turn.text,
            malformed_turns=int(turn.kind != "final" or not read.well_formed),
            truncated=draft.completion.finish == "length",
            weights={preference.attribute: preference.weight for preference in scenario.profile},
        )
        verdict = await graded(episode, scenario, self.world.judge)
        if verdict.error is not None:
            raise ModelError(verdict.error)
        self.right.append(bool(verdict.correct))
        return earned(verdict, self.reference, self.reward)


def worth(gains: Mapping[str, float], price: float, most: int) -> float:
    """What up to `most` questions are expected to bring beyond their price, as if none told of another."""
    return sum(sorted((gain - price for gain in gains.values() if gain > price), reverse=True)[:most])
