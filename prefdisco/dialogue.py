"""The one dialogue loop: agent and user take turns until the agent's final answer. Evaluation, data engine and RL all
play here.

The loop follows the published protocol: at most `budget` questions, one a turn; after the last, or after the user's
###STOP###, a request for the final answer, which joins the user's message. A turn that cannot be read, and a question
that nobody may ask any more, is counted as malformed and taken as the final answer. The agent's token ids are those it
generated; history is never tokenized again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefdisco.conditions import Condition, prompt
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, Model, ModelError, Sampling
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.protocol import SplitThinking, Turn, parse_turn, split_thinking
from prefdisco.schema import Episode, Message, Question, Scenario, Tokens, Usage
from prefdisco.users import STOP, User

MOST_NUDGES = 2  # fixed(k): how often "ask another question first" is said before an early answer is accepted


def turn_seed(seed: int, scenario: Scenario, condition: Condition, turn: int) -> int:
    """The sampling seed of the agent's turn number `turn`, from 0. Personas that share an answer share its seed."""
    return stable_seed(seed, scenario.problem.id if condition.shared else scenario.id, condition.drawn_as, turn)


@dataclass(frozen=True)
class AgentTurn:
    """One turn of the agent: its two parts, what the visible one says, why it ended, and what it cost."""

    split: SplitThinking
    turn: Turn
    finish: str
    usage: Usage


async def agent_turn(agent: Model, conversation: Conversation, sampling: Sampling) -> AgentTurn:
    """Let the agent speak once and append what it said to `conversation.messages`."""
    completion = await agent.complete(conversation, sampling)
    split = split_thinking(completion.text)
    conversation.messages.append(Message(role="assistant", content=split.visible, thinking=split.thinking))
    return AgentTurn(split, parse_turn(split.visible), completion.finish, completion.usage)


async def play(
    scenario: Scenario,
    condition: Condition,
    agent: Model,
    user: User,
    sampling: Sampling,
    seed: int,
    budget: int = 5,
    thinking: bool = True,
) -> Episode:
    """Play one episode; it comes back ungraded (`correct`, `grades` and `alignment` unset).

    `sampling.seed` is replaced turn by turn with `turn_seed`. What the agent or the user raises, after its own
    retries, becomes `Episode.error`: never a score, never somebody's words. Only SpendingCapReached comes out.
    """
    dialogue = _Dialogue(scenario, condition, agent, user, sampling, seed, budget, thinking)
    try:
        await dialogue.run()
    except SpendingCapReached:
        raise
    except Exception as error:  # whatever a model or user fails with is an error of this episode alone
        return dialogue.episode(error=describe(error))
    return dialogue.episode()


def describe(error: Exception) -> str:
    """An exception as one line for `Episode.error`."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


class _Dialogue:
    """The state of one episode while it is played."""

    def __init__(
        self,
        scenario: Scenario,
        condition: Condition,
        agent: Model,
        user: User,
        sampling: Sampling,
        seed: int,
        budget: int,
        thinking: bool,
    ) -> None:
        self.scenario, self.condition, self.agent, self.user = scenario, condition, agent, user
        self.sampling, self.seed, self.limit = sampling, seed, condition.questions(budget)
        opening = condition.opening(scenario, budget)
        self.conversation = Conversation(messages=opening, thinking=thinking, ids=[], mask=[], logprobs=[])
        self.questions: list[Question] = []
        self.turns = 0
        self.malformed = 0
        self.truncated = False
        self.usage, self.user_usage = Usage(), Usage()
        self.response = ""
        self.thinking = ""

    async def run(self) -> None:
        """Take turns until there is a response."""
        if not self.condition.may_ask:
            spoken = await self._agent_speaks()
            # No action is expected here; one that comes anyway is unwrapped.
            self._finish(spoken, malformed=spoken.turn.kind == "question")
            return
        open_for_questions = self.limit > 0
        nudges = 0
        while True:
            spoken = await self._agent_speaks()
            if spoken.turn.kind == "question" and open_for_questions:
                self.malformed += not spoken.split.well_formed
                open_for_questions = await self._ask(spoken.turn.text)
            elif self._too_early(open_for_questions) and nudges < MOST_NUDGES:
                nudges += 1
                self.malformed += not spoken.split.well_formed or spoken.turn.kind == "malformed"
                self._user_says(prompt("ask_more"))
            else:
                self._finish(spoken, malformed=spoken.turn.kind != "final")
                return

    async def _agent_speaks(self) -> AgentTurn:
        seed = turn_seed(self.seed, self.scenario, self.condition, self.turns)
        spoken = await agent_turn(self.agent, self.conversation, replace(self.sampling, seed=seed))
        self.turns += 1
        self.truncated = self.truncated or spoken.finish == "length"
        self.usage += spoken.usage
        return spoken

    async def _ask(self, question: str) -> bool:
        """Put one question to the user; False when no further one may follow."""
        seed = stable_seed(self.seed, self.scenario.id, self.condition.drawn_as, "user", len(self.questions))
        try:
            text, revealed, usage = await self.user.reply(self.scenario, self._transcript(), question, seed)
        except ModelError as error:
            self.user_usage += error.usage
            raise
        self.user_usage += usage
        self.questions.append(Question(text=question, answer=text, revealed=revealed))
        more = STOP not in text and len(self.questions) < self.limit
        said = text.replace(STOP, "").strip()
        self._user_says(said if more else f"{said}\n{prompt('final_request')}".strip())
        return more

    def _transcript(self) -> list[Message]:
        """The dialogue before this question as the user sees it: no system prompt, thinking or wire format."""
        return [
            Message(role=message.role, content=parse_turn(message.content).text)
            if message.role == "assistant"
            else message
            for message in self.conversation.messages[:-1]
            if message.role != "system"
        ]

    def _too_early(self, open_for_questions: bool) -> bool:
        return (
            open_for_questions and self.condition.exactly is not None and len(self.questions) < self.condition.exactly
        )

    def _user_says(self, text: str) -> None:
        self.conversation.messages.append(Message(role="user", content=text))

    def _finish(self, spoken: AgentTurn, malformed: bool) -> None:
        self.malformed += malformed or not spoken.split.well_formed
        self.response, self.thinking = spoken.turn.text, spoken.split.thinking

    def episode(self, error: str | None = None) -> Episode:
        """The record of what was played so far."""
        problem, talk = self.scenario.problem, self.conversation
        return Episode(
            scenario_id=self.scenario.id,
            problem_id=problem.id,
            persona_id=self.scenario.persona.id,
            condition=self.condition.name,
            seed=self.seed,
            messages=tuple(talk.messages),
            response=self.response,
            thinking=self.thinking,
            questions=tuple(self.questions),
            malformed_turns=self.malformed,
            truncated=self.truncated,
            family=problem.family,
            domain=problem.domain,
            task=problem.task,
            weights={preference.attribute: preference.weight for preference in self.scenario.profile},
            values={preference.attribute: preference.value for preference in self.scenario.profile},
            kinds={preference.attribute: preference.kind for preference in self.scenario.profile},
            carried=dict(self.condition.carried),
            usage=self.usage,
            user_usage=self.user_usage,
            tokens=Tokens(ids=list(talk.ids), mask=list(talk.mask), logprobs=list(talk.logprobs)) if talk.ids else None,
            error=error,
        )
