"""Elicitation dialogues written by a question policy: the agent's turns are the policy's, the answers the user's."""

from __future__ import annotations

from dataclasses import dataclass

from prefdisco.conditions import Condition, parse_condition, prompt
from prefdisco.elicitation import Policy
from prefdisco.hashing import stable_seed
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Message, Preference, Question, Scenario
from prefdisco.users import STOP
from prefdisco.world import World

DISCOVERY = "discovery"


@dataclass(frozen=True)
class Interview:
    """A dialogue up to the agent's last turn, and what it revealed, in the order of revelation."""

    messages: tuple[Message, ...]
    questions: tuple[Question, ...]
    revealed: tuple[Preference, ...]

    def asked(self, position: int) -> str | None:
        """The attribute that question number `position` revealed, or None."""
        return self.questions[position].revealed


async def interview(scenario: Scenario, policy: Policy, world: World, budget: int, seed: int) -> Interview:
    """Let `policy` ask and the user answer under discovery, until the policy stops or the budget is spent."""
    condition: Condition = parse_condition(DISCOVERY)
    messages = condition.opening(scenario, budget)
    transcript = messages[-1:]
    questions: list[Question] = []
    answered: list[tuple[str, str | None]] = []
    while len(questions) < budget:
        attribute = policy.next_attribute(scenario, answered, seed)
        if attribute is None:
            break
        turn = stable_seed("interview", seed, scenario.id, len(questions))
        text = world.question(scenario, attribute, turn)
        reply = await world.user.reply(scenario, transcript, text, turn)
        said, stopped = reply.text.replace(STOP, "").strip(), STOP in reply.text
        questions.append(Question(text=text, answer=said, revealed=reply.revealed))
        found = scenario.preference(reply.revealed) if reply.revealed else None
        answered.append((attribute, found.value if found and found.attribute == attribute else None))
        last = stopped or len(questions) == budget
        messages.append(Message(role="assistant", content=format_question(text), thinking=world.wondering(attribute)))
        messages.append(Message(role="user", content=f"{said}\n{prompt('final_request')}".strip() if last else said))
        transcript += [Message(role="assistant", content=text), Message(role="user", content=said)]
        if last:
            break
    names = dict.fromkeys(q.revealed for q in questions if q.revealed)
    revealed = tuple(p for name in names if (p := scenario.preference(name)) is not None)
    return Interview(tuple(messages), tuple(questions), revealed)


def close(dialogue: Interview, thinking: str, response: str) -> list[Message]:
    """The dialogue with its last turn: the agent's final answer in the wire format."""
    return [*dialogue.messages, Message(role="assistant", content=format_final(response), thinking=thinking)]


def told(scenario: Scenario, revealed: tuple[Preference, ...]) -> Scenario:
    """The scenario as the dialogue shows it: what was revealed is the whole profile, weights rescaled to one."""
    total = sum(p.weight for p in revealed)
    scale = {p.attribute: p.weight / total for p in revealed}
    return scenario.model_copy(
        update={
            "profile": tuple(p.model_copy(update={"weight": scale[p.attribute]}) for p in revealed),
            "rubric": tuple(
                c.model_copy(update={"weight": scale[c.attribute]}) for c in scenario.rubric if c.attribute in scale
            ),
        }
    )
