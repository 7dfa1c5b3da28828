"""What is learned from one episode of the student's own: which of its tokens, and what the teacher reads before them.

The teacher is told what the student had to find out. Both read the same last turn, token by token as it was generated;
nothing is tokenized again:

    student   discovery prompt, problem | question, answer, .. | <think> .. </think> ACTION RESPONSE text
    teacher   preferences, problem      |                      | <think> .. </think> ACTION RESPONSE text
    learned                               kept                   from the teacher    kept     from the teacher

The two sequences end alike, so a token is as far from the end of one as of the other. The wire format's marker is read
by the teacher and not asked of it: a model that is told the preferences answers without one. The teacher would not ask
either, so the questions, like the marker, are only kept as they were (`docs/onpolicy.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from prefdisco.conditions import parse_condition, prompt
from prefdisco.engine.dialogues import DISCOVERY, before_the_answer, told
from prefdisco.llm.chat import Chat
from prefdisco.protocol import THINK_OPEN, parse_turn, wire_span
from prefdisco.schema import Episode, Message, Scenario

Profile = Literal["revealed", "full"]
Reads = Literal["turn", "dialogue"]
Fault = Literal["error", "malformed", "truncated", "wrong"]
TOLD = "oracle_preferences"


@dataclass(frozen=True)
class Pair:
    """One episode as the trainer takes it. `taught`, `unlearned` and `kept` are positions in `ids`; none is in two.

    `ids` are the student's tokens, `teacher_ids` the teacher's; the last turn stands at the end of both.
    """

    condition: str
    ids: list[int]
    teacher_ids: list[int]
    taught: list[int]
    kept: list[int]
    unlearned: list[int] = field(default_factory=list)

    def at_teacher(self, positions: list[int]) -> list[int]:
        """Where these tokens of the last turn are in `teacher_ids`."""
        shift = len(self.teacher_ids) - len(self.ids)
        return [position + shift for position in positions]


def fault(episode: Episode, only_correct: bool) -> Fault | None:
    """Why nothing is learned from a graded episode, or None. A question that came too late can be learned from."""
    if episode.error is not None or episode.tokens is None:
        return "error"
    if episode.truncated:
        return "truncated"
    if asks_too_late(episode):
        return None
    if episode.malformed_turns or not episode.response:
        return "malformed"
    return "wrong" if only_correct and not episode.correct else None


def asks_too_late(episode: Episode) -> bool:
    """Whether all went well until the final answer was asked for, and the student asked one question more."""
    last = parse_turn(episode.messages[-1].content) if episode.messages else None
    return bool(last and last.kind == "question" and episode.malformed_turns == 1 and must_answer(episode))


def must_answer(episode: Episode) -> bool:
    """Whether the final answer was asked for before the last turn: then the student may not choose to ask."""
    return len(episode.messages) > 1 and episode.messages[-2].content.endswith(prompt("final_request"))


def pair(
    episode: Episode, scenario: Scenario, chat: Chat, profile: Profile = "revealed", reads: Reads = "turn"
) -> Pair:
    """What the student learns from an episode without fault, played by a local model whose `chat` this is.

    `profile` and `reads` are those of OnPolicyConfig. Under conditions other than discovery both read the same, and all
    is taught. From a question that came too late, only the choice to ask it is unlearned.
    """
    assert episode.tokens is not None, "local models record their tokens"
    ids, own = episode.tokens.ids, [position for position, mine in enumerate(episode.tokens.mask) if mine]
    if episode.condition != DISCOVERY:
        return Pair(episode.condition, ids, ids, own, [])
    last = len(ids)
    while episode.tokens.mask[last - 1]:
        last -= 1
    turn = Turn(ids[last:], chat)
    marker, choice = ({last + token for token in tokens} for tokens in (turn.marker(), turn.choice()))
    before = chat.encode(chat.render(opening(episode, scenario, profile), thinking=True, prompt=True))
    teacher_ids = before + ids[last if reads == "turn" else own[0] :]
    if asks_too_late(episode):
        questions = [position for position in own if position < last]
        return Pair(episode.condition, ids, teacher_ids, [], questions, unlearned=sorted(choice))
    held = marker if must_answer(episode) else marker | choice
    taught = [position for position in own if position >= last and position not in held]
    kept = [position for position in own if position < last or position in held]
    return Pair(episode.condition, ids, teacher_ids, taught, kept)


def opening(episode: Episode, scenario: Scenario, profile: Profile) -> list[Message]:
    """What the teacher reads first: preferences and problem; the problem alone where there are no preferences to tell.

    "revealed": what the dialogue revealed, so that the student is taught nothing that it could not know.
    """
    if profile == "full":
        return parse_condition(TOLD).opening(scenario, 0)
    revealed = before_the_answer(episode, scenario).revealed
    if not revealed:
        return parse_condition("baseline").opening(scenario, 0)
    return parse_condition(TOLD).opening(told(scenario, revealed), 0)


class Turn:
    """A turn as tokens, and where parts of its text are among them; found by decoding prefixes."""

    def __init__(self, ids: list[int], chat: Chat) -> None:
        self.ids, self.chat, self.text = ids, chat, chat.decode(ids)

    def marker(self) -> range:
        """The tokens that spell the wire format's marker, wholly or in part."""
        span = wire_span(self.text)
        return self.tokens(*span) if span else range(0)

    def choice(self) -> range:
        """The first token of what is thought: where it is decided whether to ask or to answer."""
        start = len(THINK_OPEN) if self.text.startswith(THINK_OPEN) else 0
        return self.tokens(start, start + 1)

    def tokens(self, start: int, end: int) -> range:
        """The tokens that hold any of the characters from `start` to before `end`."""
        return range(self.within(start), self.within(end - 1) + 1)

    def within(self, characters: int) -> int:
        """How many tokens lie wholly in the first `characters` of the text."""
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high + 1) // 2
            fits = len(self.chat.decode(self.ids[:middle])) <= characters
            low, high = (middle, high) if fits else (low, middle - 1)
        return low
