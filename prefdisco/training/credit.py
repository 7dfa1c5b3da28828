"""What each question brought, and to which tokens it is credited.

A belief about the person, which knows the population, says how well the best plan would do: E[alignment | answers], on
1..5. A question earns what its answer added to it, in the unit of the scenario's alignment reward. Within a group of
episodes of one scenario, the k-th questions are compared with each other, so that a first question, which always
brings more, is no better for being the first:

    c[i,k] = (E[alignment | answers 1..k] - E[alignment | answers 1..k-1]) / unit         of episode i
    C[i,k] = c[i,k] - mean over the episodes j with a k-th question of c[j,k]
    A[i,t] = outcome advantage of episode i + weight * C[i,k] if token t is in the turn that asked question k

As the outcome advantage, C is divided by its standard deviation over the group (or the batch) where
`trainer.scale_rewards` says so. The gain is potential-based shaping (Ng et al., 1999) with that expectation as the
potential. Where an agent drafts several questions and asks the best, C comes from them: `candidates.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from statistics import fmean, stdev

from prefdisco.elicitation.hearing import heard
from prefdisco.elicitation.policies import Belief
from prefdisco.engine.teaching import spans
from prefdisco.schema import Episode, Scenario

TINY = 1e-4  # added to a standard deviation, as TRL does
Gains = Sequence[float] | None  # of the questions of an episode, None for one that was dropped


def information(
    episode: Episode, scenario: Scenario, belief: Belief, asked: Callable[[str], str | None]
) -> list[float]:
    """Alignment points that each question's answer added to the expected alignment of the best plan.

    A question that revealed nothing tells that there is no such preference where `asked(question)` knows what it was
    about, and nothing otherwise. What was answered before adds nothing.
    """
    found = []
    for question in episode.questions:
        before, belief = belief, heard(belief, scenario, question.text, question.revealed, asked)
        found.append(belief.expected_alignment() - before.expected_alignment())
    return found


def centred(groups: Sequence[Hashable], gains: Sequence[Gains], scale: str = "none") -> list[list[float]]:
    """The gains of a batch of episodes, `groups` saying which belong together, as advantages: C above.

    `scale`: "none", or what they are divided by: their standard deviation over the "group" or the "batch".
    """
    turns: dict[tuple[Hashable, int], list[float]] = defaultdict(list)
    for group, own in zip(groups, gains, strict=True):
        for turn, gain in enumerate(own or ()):
            turns[group, turn].append(gain)
    result = [
        [gain - fmean(turns[group, turn]) for turn, gain in enumerate(own or ())]
        for group, own in zip(groups, gains, strict=True)
    ]
    if scale == "none":
        return result
    pools: dict[Hashable, list[float]] = defaultdict(list)
    for group, own in zip(groups, result, strict=True):
        pools[group if scale == "group" else None] += own
    spread = {name: (stdev(pool) if len(pool) > 1 else 0.0) + TINY for name, pool in pools.items()}
    return [
        [value / spread[group if scale == "group" else None] for value in own]
        for group, own in zip(groups, result, strict=True)
    ]


def by_token(values: Sequence[float], mask: Sequence[int]) -> list[float]:
    """The value of the k-th question for every token of the agent's k-th turn, 0.0 for all other tokens."""
    credits = [0.0] * len(mask)
    turns = ((start, end) for own, start, end in spans(mask) if own)
    for value, (start, end) in zip(values, turns, strict=False):
        credits[start:end] = [value] * (end - start)
    return credits
