"""Questions to choose from: where the agent may ask, it drafts several turns, and the best is the one that is taken.

What a question is expected to bring is known before it is asked (a belief about the person), so drafts can be compared
without an answer to any of them:

    q(question about a) = E[rise of the expected alignment | a is asked] - price      a known answer brings nothing
    loss(question)      = q(question) - max(0, best q)
    loss(answer)        = -(the best q that are above 0, as many as questions are left, added up)
    credit              = loss(the turn that was taken) - mean loss of the drafts          never below 0

The dialogue goes on from the best draft, so later turns are learned where a better questioner would be, and the credit
compares turns at one and the same place: neither the person nor the answers before are in it. This is best-of-n
distillation (one step of expert iteration, Anthony et al., 2017) with the policy gradient's own weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from prefdisco.elicitation.policies import Belief
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.tokens import TokenModel
from prefdisco.protocol import parse_turn, split_thinking
from prefdisco.schema import Message, Scenario
from prefdisco.training.credit import heard
from prefdisco.users import STOP, Reply, User


class Deliberation:
    """One episode's agent and user in one: drafts of the agent are weighed by what the user has said so far.

    `credits` has one entry for each turn at which there was a choice, in alignment points; such turns come first.
    """

    def __init__(
        self,
        agent: TokenModel,
        user: User,
        belief: Belief,
        asked: Callable[[str], str | None],
        count: int,
        price: float,
        budget: int,
    ) -> None:
        self.agent, self.user, self.belief, self.asked = agent, user, belief, asked
        self.count, self.price, self.left = count, price, budget
        self.name = agent.name
        self.credits: list[float] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: the best of several where it may still ask."""
        if self.left < 1:
            return await self.agent.complete(conversation, sampling)
        samplings = [replace(sampling, seed=stable_seed(sampling.seed, "draft", i)) for i in range(self.count)]
        drafts = await self.agent.drafts(conversation, samplings)
        losses = [self.loss(draft.completion.text) for draft in drafts]
        best = max(losses)
        self.credits.append(best - fmean(losses))
        return self.agent.adopt(conversation, drafts[losses.index(best)])

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's answer, which changes the belief about the person."""
        reply = await self.user.reply(scenario, messages, question, seed)
        self.left = 0 if STOP in reply.text else self.left - 1
        _, self.belief = heard(self.belief, scenario, question, reply.revealed, self.asked)
        return reply

    def loss(self, text: str) -> float:
        """What a drafted turn loses against the best question, in alignment points; 0 is the best."""
        turn, gains = parse_turn(split_thinking(text).visible), self.belief.gains()
        if turn.kind != "question":
            return -worth(gains, self.price, self.left)
        return gains.get(self.asked(turn.text) or "", 0.0) - self.price - worth(gains, self.price, 1)


def worth(gains: Mapping[str, float], price: float, most: int) -> float:
    """What up to `most` questions are expected to bring beyond their price, as if none told of another."""
    return sum(sorted((gain - price for gain in gains.values() if gain > price), reverse=True)[:most])
