"""One dialogue, several final turns: what thought preference optimization compares.

The dialogue is played in the one loop. Its last turn is then sampled again, from the recorded tokens before it, so that
all final turns answer the same questions and answers:

    discovery prompt, problem | question, answer, ..  |  <think> .. </think> ACTION RESPONSE text     played
                                                      |  <think> .. </think> ACTION RESPONSE text     sampled again, ..

The judge and the checker see the response, never the thinking. A turn that asks one question more, where it may, is no
final turn: it is counted, and compared with nothing. What fails, be it the user, the model or the judge, drops the
whole dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig
from prefdisco.dialogue import describe, play
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import side_by_side
from prefdisco.protocol import parse_turn, split_thinking
from prefdisco.schema import Episode, Message, Record, Scenario, Tokens
from prefdisco.training.pairs import must_answer
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.world import World


class Final(Record):
    """One final turn, graded: its tokens, end token included, its reward, and the characters of its response."""

    ids: list[int]
    score: float
    length: int
    correct: bool
    alignment: float


class Group(Record):
    """The final turns of one dialogue, and the tokens before them that they share. `place` is its number in the round.

    `asked` counts the turns that asked one question more. `dropped` says why there is nothing to compare: something
    failed with `error`, or the dialogue left no room for a final turn.
    """

    place: int
    scenario_id: str
    prompt_ids: list[int] = Field(default_factory=list)
    finals: list[Final] = Field(default_factory=list)
    asked: int = 0
    questions: int = 0
    revealed: int = 0
    dropped: Literal["", "error", "empty"] = ""
    error: str = ""


async def group_of(
    scenario: Scenario,
    agent: LocalModel,
    world: World,
    reference: Reference,
    reward: RewardConfig,
    sampling: Sampling,
    seed: int,
    budget: int,
    samples: int,
    place: int = 0,
) -> Group:
    """Play one dialogue, sample its last turn until there are `samples` of it, and grade them.

    `sampling` is used for all turns; its seed is replaced. Only SpendingCapReached comes out.
    """
    empty = Group(place=place, scenario_id=scenario.id)
    episode = await play(scenario, parse_condition(DISCOVERY), agent, world.user, sampling, seed, budget)
    if episode.error is not None or episode.tokens is None:
        return failed(empty, episode.error or "no tokens were recorded")
    start = last_turn(episode.tokens)
    prompt, own = episode.tokens.ids[:start], episode.tokens.ids[start:]
    if not own:
        return empty.model_copy(update={"dropped": "empty"})
    try:
        turns = [own, *await again(episode, agent, sampling, stable_seed("final", seed, scenario.id), samples - 1)]
    except ModelError as error:
        return failed(empty, describe(error))
    may_ask = budget > 0 and not must_answer(episode)
    read = [(ids, final(episode, ids, agent, may_ask)) for ids in turns]
    answers = [(ids, answer) for ids, answer in read if answer is not None]
    verdicts = await judged([answer for _, answer in answers], scenario, world)
    for verdict in verdicts:
        if verdict.error is not None:
            return failed(empty, verdict.error)
    finals = [scored(ids, each, reference, reward) for (ids, _), each in zip(answers, verdicts, strict=True)]
    found = {"prompt_ids": prompt, "finals": finals, "asked": len(turns) - len(finals)}
    revealed = sum(question.revealed is not None for question in episode.questions)
    return empty.model_copy(update={**found, "questions": len(episode.questions), "revealed": revealed})


def failed(empty: Group, error: str) -> Group:
    """A dialogue that is dropped for this error."""
    return empty.model_copy(update={"dropped": "error", "error": error})


def last_turn(tokens: Tokens) -> int:
    """Where the agent's last turn begins; the end where it is empty."""
    start = len(tokens.ids)
    while start and tokens.mask[start - 1]:
        start -= 1
    return start


async def again(episode: Episode, agent: LocalModel, sampling: Sampling, seed: int, count: int) -> list[list[int]]:
    """The tokens of `count` more last turns of the episode, each from the same recorded tokens before it."""
    tokens = episode.tokens
    assert tokens is not None, "local models record their tokens"
    start = before = last_turn(tokens)
    while before and not tokens.mask[before - 1]:  # what follows the turn before: the agent reads it again
        before -= 1
    found: dict[int, list[int]] = {}

    async def one(number: int) -> None:
        read = (tokens.ids[:before], tokens.mask[:before], tokens.logprobs[:before])
        talk = Conversation(list(episode.messages[:-1]), True, None, *read)
        await agent.complete(talk, replace(sampling, seed=stable_seed(seed, number)))
        assert talk.ids[:start] == tokens.ids[:start], "a template writes the same messages alike"
        found[number] = talk.ids[start:]

    await side_by_side(one(number) for number in range(count))
    return [found[number] for number in range(count)]


def final(episode: Episode, ids: list[int], agent: LocalModel, may_ask: bool) -> Episode | None:
    """The episode with these tokens for its last turn, read as the dialogue loop reads them, for the judge: without
    thinking. None for a question where `may_ask`.

    `malformed_turns` and `truncated` are of this turn alone: those before it are the same in the whole group.
    """
    split = split_thinking(agent.chat.decode(ids))
    turn = parse_turn(split.visible)
    if turn.kind == "question" and may_ask:
        return None
    cut = not ids or ids[-1] not in agent.chat.ends
    said = Message(role="assistant", content=split.visible)
    return episode.model_copy(
        update={
            "messages": (*episode.messages[:-1], said),
            "response": turn.text,
            "thinking": "",
            "malformed_turns": int(turn.kind != "final" or not split.well_formed),
            "truncated": cut,
            "tokens": None,
        }
    )


async def judged(answers: Sequence[Episode], scenario: Scenario, world: World) -> list[Episode]:
    """The answers with the judge's verdicts, in their order."""
    found: dict[int, Episode] = {}

    async def one(number: int, answer: Episode) -> None:
        found[number] = await graded(answer, scenario, world.judge)

    await side_by_side(one(number, answer) for number, answer in enumerate(answers))
    return [found[number] for number in range(len(answers))]


def scored(ids: list[int], verdict: Episode, reference: Reference, reward: RewardConfig) -> Final:
    """A graded final turn with the reward that an episode which ends with it has (training/rewards.py)."""
    score = earned(verdict, reference, reward)
    right, alignment = bool(verdict.correct), verdict.graded_alignment
    return Final(ids=ids, score=score, length=len(verdict.response), correct=right, alignment=alignment)
