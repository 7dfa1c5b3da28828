"""Turns to choose from: at each place the agent drafts several, and the dialogue goes on from the best.

What a question is expected to bring is known before it is asked, from a belief about the person; what an answer earns,
the judge says. So the drafts of a turn can be compared at one and the same place, and neither the person nor what
was said before is in the difference:

    q(question about a) = E[rise of the expected alignment | a is asked] - price
    Q(question about a) = q(a) + DISCOUNT E[max(0, best q after the answer)], or q(a) where it is the last question
    loss(question)      = Q(question) - max(0, best Q), less the price of its form where its thinking cannot be read
    loss(answer)        = -(the best q that are above 0, as many as questions are left, added up)
                          the same and a price for a question that was asked before: people who are asked again leave
    credit              = information * (loss(taken) - mean loss of the drafts)   where the agent may still ask
                        + reward(taken) - mean reward of the drafts that answer   where the taken one answers
                        + imitation                                               where nothing is better by a tolerance
                        0                                                         where the answer is wrong

in units of the attainable gain, for each token of the turn. Where the differences are `scaled`, each is divided by the
standard deviation of what was compared, as GRPO does with a group (of questions, by the tolerance at least): then the
best of several is learned as firmly where little is at stake, and does not fade as drafts become alike.

Q is the value by which the ceiling's policy asks (`elicitation/policies.py`). By q alone, the second best question
would lose against the best, though it is asked next and nothing is lost; an agent that has learned some good order
would have to unlearn it.

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
from dataclasses import dataclass
from statistics import fmean, stdev

from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig
from prefdisco.elicitation import Belief, lookahead, worth
from prefdisco.elicitation.grades import NEUTRAL
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.engine.drafts import Drafted, DraftingAgent
from prefdisco.grading import graded
from prefdisco.judges import OpenJudge
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.tokens import TokenModel
from prefdisco.schema import Episode, Scenario
from prefdisco.training.credit import TINY
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.world import World


@dataclass(frozen=True)
class Drafting:
    """How turns are drafted: `count` of them, of which the best by `reward` is taken; `budget` questions are allowed,
    and credits are `scaled` or not."""

    reward: RewardConfig
    count: int
    budget: int
    scaled: bool = False


class Deliberation(DraftingAgent):
    """Drafts of one episode are weighed and credited.

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
        left = parse_condition(condition).questions(drafting.budget)
        super().__init__(agent, world, scenario, belief, drafting.count, left)
        self.condition, self.reference = condition, reference
        self.reward, self.drafting = drafting.reward, drafting
        self.credits: list[float] = []
        self.right: list[bool] = []

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The agent's turn: the best of several."""
        drafts = await self.drafts(conversation, sampling)
        losses, equals = [0.0] * len(drafts), drafts
        if self.left:
            values = lookahead(self.belief, self.price, self.left)
            losses = [self.loss(draft, values) for draft in drafts]
            equals = [draft for draft, loss in zip(drafts, losses, strict=True) if loss == max(losses)]
        credit = self.reward.information * self.above(losses, max(losses), self.near)
        credit += self.reward.imitation if max(losses) > -self.near else 0.0
        taken = equals[0]
        if not self.left or taken.turn.kind != "question":
            answers = await asyncio.gather(*map(self.answered, equals))
            rewards, right = [reward for reward, _ in answers], [correct for _, correct in answers]
            place = rewards.index(max(rewards))
            taken = equals[place]
            self.right += right
            credit = credit + self.above(rewards, rewards[place]) if right[place] else 0.0
        self.credits.append(credit)
        return self.agent.adopt(conversation, taken.draft)

    def above(self, values: Sequence[float], value: float, least: float = 0.0) -> float:
        """How far a value is above the mean of all; where credits are scaled, in standard deviations, of which `least`
        is the smallest."""
        return (value - fmean(values)) / (max(spread(values), least) if self.drafting.scaled else 1.0)

    @property
    def near(self) -> float:
        """What loses less is as good as the best."""
        return max(self.reward.tolerance, TINY)

    @property
    def price(self) -> float:
        """Of a question, in alignment points."""
        return self.reward.question * self.reference.unit

    def loss(self, drafted: Drafted, values: Mapping[str, float]) -> float:
        """What a drafted turn loses against the best there is, with the `values` of questions by `lookahead`; 0 is the
        best. An answer's form is in its reward."""
        turn, gains = drafted.turn, self.belief.gains()
        about = self.asked(turn.text) if turn.kind == "question" else None
        leaving = -worth(gains, self.price, self.left) / self.reference.unit
        if turn.kind != "question":
            return leaving
        if self.known(about):
            return leaving - self.reward.question
        form = 0.0 if drafted.read.well_formed else self.reward.format
        brought = self.brings(about, values, self.price)
        return (brought - max([0.0, *values.values()])) / self.reference.unit - form

    async def answered(self, drafted: Drafted) -> tuple[float, bool]:
        """The reward of an episode that ends with this draft, and whether it is right.

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
            questions=tuple(self.questions),
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


def spread(values: Sequence[float]) -> float:
    """The standard deviation, never 0."""
    return (stdev(values) if len(values) > 1 else 0.0) + TINY
