"""Elicitation dialogues: a question policy takes the agent's seat in the one dialogue loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefdisco.conditions import parse_condition
from prefdisco.dialogue import play
from prefdisco.elicitation import Policy
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.protocol import format_final, format_question, join_thinking
from prefdisco.schema import Episode, Message, Preference, Question, Scenario, Usage
from prefdisco.users import STOP, Reply
from prefdisco.world import World

DISCOVERY = "discovery"


class ScenarioFailed(RuntimeError):
    """A user, judge or writer failed for good, so that nothing can be made of a scenario; the message is one line."""


class Interviewer:
    """A question policy as an agent, and the world's user as it hears the answers; one for each dialogue.

    Its final answer is empty: what the agent says last is for the model to write.
    """

    def __init__(self, scenario: Scenario, policy: Policy, world: World, seed: int) -> None:
        self.scenario, self.policy, self.world, self.seed = scenario, policy, world, seed
        self.name = policy.name
        self.answered: list[tuple[str, str | None]] = []
        self.stopped = False
        self._asked = ""

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The policy's next question in the wire format, or an empty final answer when it has none."""
        attribute = None if self.stopped else self.policy.next_attribute(self.scenario, self.answered, self.seed)
        if attribute is None:
            return Completion(format_final("-"), "stop", Usage())
        self._asked = attribute
        wording = stable_seed("question", self.seed, self.scenario.id, len(self.answered))
        question = format_question(self.world.question(self.scenario, attribute, wording))
        return Completion(join_thinking(self.world.wondering(attribute), question), "stop", Usage())

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The user's reply, noted for the policy."""
        reply = await self.world.user.reply(scenario, messages, question, seed)
        found = scenario.preference(reply.revealed) if reply.revealed == self._asked else None
        self.answered.append((self._asked, found.value if found else None))
        self.stopped = STOP in reply.text
        return reply


@dataclass(frozen=True)
class Interview:
    """A dialogue up to the agent's last turn, and what it revealed, in the order of revelation.

    `lost`, where its questions were chosen among drafts: by how much each was worse than the best there was.
    """

    messages: tuple[Message, ...]
    questions: tuple[Question, ...]
    revealed: tuple[Preference, ...]
    lost: tuple[float, ...] = ()


async def interview(scenario: Scenario, policy: Policy, world: World, budget: int, seed: int) -> Interview:
    """Let `policy` ask and the user answer under discovery, until the policy stops or the budget is spent."""
    agent = Interviewer(scenario, policy, world, seed)
    return before_the_answer(
        await play(scenario, parse_condition(DISCOVERY), agent, agent, Sampling(), seed, budget), scenario
    )


def before_the_answer(episode: Episode, scenario: Scenario) -> Interview:
    """An episode without its final answer. Raises ScenarioFailed."""
    if episode.error is not None:
        raise ScenarioFailed(f"{scenario.id}: the interview failed: {episode.error}")
    names = dict.fromkeys(question.revealed for question in episode.questions if question.revealed)
    revealed = tuple(p for name in names if (p := scenario.preference(name)) is not None)
    return Interview(episode.messages[:-1], episode.questions, revealed)


def close(dialogue: Interview, thinking: str, response: str) -> list[Message]:
    """The dialogue with its last turn: the agent's final answer in the wire format."""
    return [*dialogue.messages, Message(role="assistant", content=format_final(response), thinking=thinking)]


def told(scenario: Scenario, revealed: tuple[Preference, ...]) -> Scenario:
    """The scenario as the dialogue shows it: what was revealed is the whole profile, weights rescaled to one."""
    total = sum(p.weight for p in revealed)
    scale = {p.attribute: p.weight / total for p in revealed}
    rubric = (c for c in scenario.rubric if c.attribute in scale)
    return scenario.model_copy(
        update={
            "profile": tuple(p.model_copy(update={"weight": scale[p.attribute]}) for p in revealed),
            "rubric": tuple(c.model_copy(update={"weight": scale[c.attribute]}) for c in rubric),
        }
    )
