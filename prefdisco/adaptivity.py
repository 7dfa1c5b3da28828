"""Adaptivity: does the next question depend on the last answer?

Every question from the second on is asked again after the answer before it was swapped for one that this persona would
not give. Same model, same sampling seed, same prefix: when another attribute is asked about, or none, the agent
adapted. PEP (arXiv 2602.15012) reports 0-28% for reinforcement learning and 39-62% for its own policies.

The swapped history was never generated, so the conversation is rebuilt from its messages and tokenized afresh. That is
fine here: nothing is trained on these tokens.
"""

from __future__ import annotations

from dataclasses import replace

from prefdisco.conditions import Condition
from prefdisco.dialogue import agent_turn, turn_seed
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Conversation, Model, Sampling
from prefdisco.schema import Episode, Message, Scenario, Usage
from prefdisco.users import TransparentUser


async def measure_adaptivity(
    episode: Episode,
    scenario: Scenario,
    condition: Condition,
    agent: Model,
    user: TransparentUser,
    sampling: Sampling,
    thinking: bool = True,
) -> Episode:
    """The episode with `adaptive` filled in: one entry a question from the second on whose last answer can be swapped.

    The calls are added to the episode's usage. Not for fixed(k), whose reminders stand between question and answer.
    """
    replies = [index + 1 for index, message in enumerate(episode.messages) if message.role == "assistant"]
    adaptive: list[bool] = []
    usage = Usage()
    for turn, (last, asked) in enumerate(zip(episode.questions, episode.questions[1:], strict=False), 1):
        other = user.counterfactual(
            scenario, last.text, stable_seed(episode.seed, scenario.id, condition.name, "other", turn)
        )
        if other is None:
            continue
        swapped = [*episode.messages[: replies[turn - 1]], Message(role="user", content=other[0])]
        conversation = Conversation(messages=swapped, thinking=thinking, ids=[], mask=[], logprobs=[])
        seed = turn_seed(episode.seed, scenario, condition, turn)
        spoken = await agent_turn(agent, conversation, replace(sampling, seed=seed))
        usage += spoken.usage
        instead = user.attribute_of(spoken.turn.text) if spoken.turn.kind == "question" else None
        adaptive.append(instead != user.attribute_of(asked.text))
    return episode.model_copy(update={"adaptive": tuple(adaptive), "usage": episode.usage + usage})
