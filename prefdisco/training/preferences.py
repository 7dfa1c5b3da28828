"""From final turns with scores to pairs of a better and a worse one: pure functions.

Within one dialogue, with s the scores and l the lengths of the responses (TPO, arXiv 2410.10630):

    z(x)[k] = (x[k] - mean(x)) / std(x)          0 where all are equal
    c[k]    = z(s)[k] - rho * z(l)[k]

The turn with the largest c is chosen, the one with the smallest rejected. A pair is left out where the scores do not
differ, and where the length turned them around: a worse response is not taught for being short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple

from prefdisco.bootstrap import SMALLEST
from prefdisco.training.finals import Final, Group

Reason = Literal["error", "empty", "few", "equal", "no_better"]


class Preference(NamedTuple):
    """What DPO learns from: the tokens of a dialogue, as they were generated, and two final turns that may follow."""

    prompt_ids: list[int]
    chosen: Final
    rejected: Final


def standardized(values: Sequence[float]) -> list[float]:
    """z: mean 0 and (population) standard deviation 1; all 0 where the values are equal."""
    centre, spread = fmean(values), pstdev(values)
    return [(value - centre) / spread if spread >= SMALLEST else 0.0 for value in values]


def controlled(finals: Sequence[Final], rho: float) -> list[float]:
    """c: the scores under length control."""
    scores, lengths = standardized([each.score for each in finals]), standardized([each.length for each in finals])
    return [score - rho * length for score, length in zip(scores, lengths, strict=True)]


def choose(finals: Sequence[Final], rho: float) -> tuple[Final, Final] | Reason:
    """(chosen, rejected), the first of equals; or why there are none."""
    if len(finals) < 2:
        return "few"
    scores = [each.score for each in finals]
    if max(scores) - min(scores) < SMALLEST:
        return "equal"
    values = controlled(finals, rho)
    best, worst = (finals[values.index(extreme(values))] for extreme in (max, min))
    return (best, worst) if best.score - worst.score >= SMALLEST else "no_better"


def pairs_of(groups: Sequence[Group], rho: float) -> tuple[list[Preference], Counter[Reason]]:
    """The pairs of all dialogues that have one, and how many have none, by reason."""
    pairs, left_out = list[Preference](), Counter[Reason]()
    for group in groups:
        found = group.dropped or choose(group.finals, rho)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        pairs.append(Preference(group.prompt_ids, *found))
    return pairs, left_out


def figures_of(groups: Sequence[Group], pairs: Sequence[Preference], left_out: Counter[Reason]) -> dict[str, Any]:
    """How a round went before it was learned from.

    Over all final turns: `score`, `accuracy` (0..1), `alignment` (1..5), `length` (characters); `asked` is the share
    of turns that asked instead. Over dialogues: `questions`, and `precision` (share of questions that revealed
    something). Over pairs: mean scores and lengths of both sides.
    """
    played = [group for group in groups if not group.dropped]
    finals = [each for group in played for each in group.finals]
    asked, questions = sum(group.asked for group in played), sum(group.questions for group in played)
    figures: dict[str, Any] = {"dialogues": len(groups), "pairs": len(pairs), "left_out": dict(left_out)}
    if played:
        figures["asked"] = asked / (asked + len(finals))
        figures["questions"] = questions / len(played)
        figures["precision"] = sum(group.revealed for group in played) / max(questions, 1)
    for name in ("score", "accuracy", "alignment", "length") if finals else ():
        figures[name] = fmean(getattr(each, "correct" if name == "accuracy" else name) for each in finals)
    for side in ("chosen", "rejected") if pairs else ():
        for name in ("score", "length"):
            figures[f"{side}_{name}"] = fmean(getattr(getattr(pair, side), name) for pair in pairs)
    return figures
