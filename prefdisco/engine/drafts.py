"""An agent that drafts each turn several times and takes the best, weighed by what the user has said so far.

What a question is expected to bring is known before it is asked, from a belief about the person. To ask the best of
several of one's own and to learn what was asked is a step of expert iteration (Anthony et al., 2017): nobody else asks
in the agent's place. The data engine makes dialogues so (`data.drafts`); reinforcement compares the drafts besides
(training/candidates.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from prefdisco.config import DataConfig
from prefdisco.elicitation import DISCOUNT, Belief, lookahead, worth
from prefdisco.elicitation.hearing import asked_by, heard
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.tokens import Draft, TokenModel
from prefdisco.protocol import SplitThinking, Turn, format_final, parse_turn, split_thinking
from prefdisco.schema import Message, Question, Scenario, Usage
from prefdisco.users import STOP, Reply
from prefdisco.world import World


class Drafted(NamedTuple):
    """A draft and what it says."""

    draft: Draft
    read: SplitThinking
    turn: Turn


def parsed(draft: Draft) -> Drafted:
    """What a draft says."""
    split = split_thinking(draft.completion.text)
    return Drafted(draft, split, parse_turn(split.visible))


class DraftingAgent:
    """Agent and user of one dialogue in one: `belief` knows what the user has said, `left` how many questions may still
    be asked. The base of those that choose a draft."""

    def __init__(
        self, agent: TokenModel, world: World, scenario: Scenario, belief: Belief, count: int, left: int
    ) -> None:
        self.agent, self.world, self.scenario = agent, world, scenario
        self.belief, self.count, self.left = belief, count, left
        self.asked, self.name = asked_by(world.user), agent.name
        self.questions: list[Question] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: one of several drafts; overridden by each."""
        raise NotImplementedError

    async def drafts(self, conversation: Conversation, sampling: Sampling) -> list[Drafted]:
        """The agent's own."""
        samplings = [replace(sampling, seed=stable_seed(sampling.seed, "draft", i)) for i in range(self.count)]
        return [parsed(draft) for draft in await self.agent.drafts(conversation, samplings)]

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's answer, which changes the belief about the person."""
        reply = await self.world.user.reply(scenario, messages, question, seed)
        self.left = 0 if STOP in reply.text else self.left - 1
        self.questions.append(Question(text=question, answer=reply.text, revealed=reply.revealed))
        self.belief = heard(self.belief, scenario, question, reply.revealed, self.asked)
        return reply

    def known(self, attribute: str | None) -> bool:
        """Whether this was answered before."""
        return attribute in {name for name, _ in self.belief.answered}

    def brings(self, attribute: str | None, values: Mapping[str, float], cost: float) -> float:
        """Alignment points of a question about this, as in `values` by `lookahead`; what cannot matter costs a turn."""
        nothing = DISCOUNT * worth(self.belief.gains(), cost, min(self.left, 2) - 1) - cost
        return values.get(attribute or "", nothing)


class BestQuestion(DraftingAgent):
    """Asks the best of `data.drafts` questions of its own. Its final answer is empty, as that of a policy is.

    A question costs `cost` alignment points. `lost` says of each turn by how many it is expected to bring less than the
    best question there is.
    """

    def __init__(
        self, agent: TokenModel, world: World, scenario: Scenario, belief: Belief, data: DataConfig, cost: float
    ) -> None:
        super().__init__(agent, world, scenario, belief, data.drafts, data.budget)
        self.cost, self.temperature = cost, data.draft_temperature
        self.lost: list[float] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The draft of the highest value, the first of equals."""
        if not self.left:
            return Completion(format_final("-"), "stop", Usage())
        drafts = await self.drafts(conversation, replace(sampling, temperature=self.temperature))
        values = lookahead(self.belief, self.cost, self.left)
        taken = max(drafts, key=lambda draft: self.value(draft, values))
        least = self.brings(None, values, self.cost)  # of a turn that is wasted
        self.lost.append(max([0.0, *values.values()]) - max(self.value(taken, values), least))
        return self.agent.adopt(conversation, taken.draft)

    def value(self, drafted: Drafted, values: Mapping[str, float]) -> float:
        """Alignment points that a draft is expected to bring; the last is what cannot be read or asks again."""
        if not drafted.read.well_formed or drafted.turn.kind == "malformed":
            return -math.inf
        if drafted.turn.kind != "question":
            return 0.0
        about = self.asked(drafted.turn.text)
        return -math.inf if self.known(about) else self.brings(about, values, self.cost)
