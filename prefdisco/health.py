"""Is thinking alive, does it hold what the person said, does the response follow from it; and what did training cost?

Training on answers can leave thinking that loops, or is empty, or decides nothing (PRIME, arXiv 2507.04607: token
repetition after fine-tuning on input and output alone). Every figure here is computed from episodes, and every mean or
ratio is an estimate with a 95% interval clustered by problem (bootstrap.py). `regression` compares the episodes before
a training with those after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from prefdisco.bootstrap import RESAMPLES, Array, Bootstrap, Estimate
from prefdisco.conditions import parse_condition
from prefdisco.naming import Vocabulary, names_value, words
from prefdisco.schema import Episode

COMPRESSIBLE = 100  # bytes; in less, a phrase has hardly come back yet, and a loop looks like healthy text
LAST_BYTES = 4096  # of longer thinking; loops are at the end, and ratios of longer texts would be lower for all
NO_TURNS, NO_EPISODES, NO_THINKING = "no agent turns", "no episodes", "no thinking"
NO_GRAMS = "no thinking of four words"
TOO_SHORT = f"no turn's thinking has {COMPRESSIBLE} bytes"
UNTOLD = "no condition in which this person's preferences are told"
NOTHING_TOLD, NOTHING_NAMED = "no preference was told", "no attribute was named"
UNPAIRED = "no pairs"
UNREAD = "there is no final turn whose thinking and response both state an answer that the judge can read"


class Block(NamedTuple):
    """The thinking of one turn, counted. `compression` is compressed / raw bytes, None for a short one."""

    words: int
    grams: int
    repeated: int
    compression: float | None


@dataclass(frozen=True)
class Vitals:
    """One episode, counted. `naming` is (told, told and named, named), None where no preferences are told."""

    problem: str
    condition: str
    blocks: tuple[Block, ...]
    malformed: int
    truncated: bool
    naming: tuple[int, int, int] | None
    consistent: bool | None


def thinking_health(boot: Bootstrap, vitals: Sequence[Vitals]) -> dict[str, Any]:
    """The `thinking` figures of these episodes; shares on 0..1, null with a reason where there is nothing to count.

    parse_rate: agent turns that were well formed. repetition: repeated 4-grams of words among all 4-grams, within one
    turn's thinking (0 in healthy text, near 1 in a loop). compression: mean of compressed / raw bytes (zlib) over the
    `n` turns whose thinking has at least COMPRESSIBLE bytes, of which the last LAST_BYTES count. words, words_p95: mean
    and 95th percentile of words of thinking a turn. empty: turns without thinking. truncated: episodes with a turn that
    was cut off. names_preferences: `recall` and `precision`, see `_naming`. consistency: responses that state the
    answer which their thinking arrived at, among the `n` where both state one.
    """
    lengths = [block.words for vital in vitals for block in vital.blocks]
    read = [vital for vital in vitals if vital.consistent is not None]

    def ratio(above: Callable[[Vitals], float], below: Callable[[Vitals], float], reason: str) -> Estimate:
        return _ratio(boot, vitals, above, below, reason)

    return {
        "parse_rate": ratio(lambda v: len(v.blocks) - v.malformed, lambda v: len(v.blocks), NO_TURNS),
        "repetition": ratio(
            lambda v: sum(b.repeated for b in v.blocks), lambda v: sum(b.grams for b in v.blocks), NO_GRAMS
        ),
        "compression": {
            **ratio(lambda v: sum(_ratios(v)), lambda v: len(_ratios(v)), TOO_SHORT),
            "n": sum(len(_ratios(vital)) for vital in vitals),
        },
        "words": ratio(lambda v: sum(b.words for b in v.blocks), lambda v: len(v.blocks), NO_TURNS),
        "words_p95": float(np.percentile(lengths, 95)) if lengths else None,
        "empty": ratio(lambda v: sum(b.words == 0 for b in v.blocks), lambda v: len(v.blocks), NO_TURNS),
        "truncated": ratio(lambda v: v.truncated, lambda v: 1, NO_EPISODES),
        "names_preferences": _naming(boot, vitals),
        "consistency": {
            **_ratio(boot, read, lambda v: bool(v.consistent), lambda v: 1, UNREAD),
            "n": len(read),
        },
    }


def regression(before: Iterable[Episode], after: Iterable[Episode], resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """What a training changed in abilities that it was not about: paired differences, after - before.

    plain_accuracy: problems without a profile (`baseline`), each (problem, seed) once, since the personas share its
    answer. oracle_accuracy, oracle_alignment: with the profile stated, over (scenario, seed). Accuracy is on 0..1,
    alignment on 1..5. Only pairs without an error on either side count; no pairs give null with a reason.
    """
    first, last = ([episode for episode in side if episode.error is None] for side in (before, after))
    boot = Bootstrap([episode.problem_id for episode in first], resamples)

    def change(condition: str, unit: Callable[[Episode], Hashable], figure: Callable[[Episode], float]) -> Estimate:
        sides = [{unit(e): e for e in side if e.condition == condition} for side in (first, last)]
        pairs = [(sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]
        differences = [figure(new) - figure(old) for old, new in pairs]
        return boot.mean([old.problem_id for old, _ in pairs], differences, UNPAIRED)

    return {
        "plain_accuracy": change("baseline", lambda e: (e.problem_id, e.seed), lambda e: float(bool(e.correct))),
        "oracle_accuracy": change("oracle", lambda e: (e.scenario_id, e.seed), lambda e: float(bool(e.correct))),
        "oracle_alignment": change("oracle", lambda e: (e.scenario_id, e.seed), lambda e: e.graded_alignment),
    }


def vitals_of(episodes: Sequence[Episode]) -> list[Vitals]:
    """The episodes, counted, in their order.

    The vocabulary in which attributes are looked for is that of the profiles of all of them together.
    """
    vocabulary = Vocabulary(name for episode in episodes for name in episode.weights)
    known: dict[str, Block] = {}  # a shared answer stands in the episodes of several people
    return [_count(episode, vocabulary, known) for episode in episodes]


def _count(episode: Episode, vocabulary: Vocabulary, known: dict[str, Block]) -> Vitals:
    spoken = [message.thinking for message in episode.messages if message.role == "assistant"]
    for text in spoken:
        if text not in known:
            known[text] = _block(text)
    return Vitals(
        problem=episode.problem_id,
        condition=episode.condition,
        blocks=tuple(known[text] for text in spoken),
        malformed=episode.malformed_turns,
        truncated=episode.truncated,
        naming=_named(episode, vocabulary),
        consistent=episode.consistent,
    )


def _block(text: str) -> Block:
    split = text.split()
    grams = max(len(split) - 3, 0)
    repeated = grams - len(set(zip(split, split[1:], split[2:], split[3:], strict=False)))
    return Block(len(split), grams, repeated, _compression(text))


def _compression(text: str) -> float | None:
    raw = text.encode(errors="replace")[-LAST_BYTES:]
    if len(raw) < COMPRESSIBLE:
        return None
    # A window of 4096 bytes and small tables: the size of zlib's defaults to a byte or two, in a fifth of their time.
    packer = zlib.compressobj(6, zlib.DEFLATED, 12, 5)
    return (len(packer.compress(raw)) + len(packer.flush())) / len(raw)


def _named(episode: Episode, vocabulary: Vocabulary) -> tuple[int, int, int] | None:
    """(told, told and named, named) of the thinking before the final answer; None where preferences are not told."""
    condition = parse_condition(episode.condition)
    if condition.swapped or condition.carries or not (condition.may_ask or condition.states_preferences):
        return None
    revealed = {question.revealed for question in episode.questions if question.revealed}
    told = set(episode.weights) if condition.states_preferences else revealed & set(episode.weights)
    text = words(episode.thinking)
    found = vocabulary.named(text)
    right = {name for name in told if name in found or names_value(text, episode.values.get(name, ""))}
    known = set(episode.weights) if condition.states_attributes else told
    return len(told), len(right), len(right | (found - known))


def _naming(boot: Bootstrap, vitals: Sequence[Vitals]) -> dict[str, Estimate]:
    """Does the thinking before the final answer name the preferences that the agent was told?

    Told is what the user's answers revealed, and under a condition that states the profile all of it. A preference is
    named by its attribute or by its value (naming.py). recall: of the preferences told, those named, each of equal
    weight. precision: of what was named, what was told; the rest are attributes of anybody's profile that came out of
    the air. Under `attributes`, whose prompt names the attributes without values, naming these is not held against it.
    """
    group = [vital for vital in vitals if vital.naming is not None]
    if group and not any(block.words for vital in group for block in vital.blocks):
        silent = {"mean": None, "ci": None, "reason": NO_THINKING}
        return {"recall": silent, "precision": silent}
    counts = [vital.naming or (0, 0, 0) for vital in group]
    problems = [vital.problem for vital in group]
    told, right, named = ([count[place] for count in counts] for place in range(3))
    return {
        "recall": boot.ratio(problems, (right, told), _quotient, NOTHING_TOLD if group else UNTOLD),
        "precision": boot.ratio(problems, (right, named), _quotient, NOTHING_NAMED if group else UNTOLD),
    }


def _ratios(vital: Vitals) -> list[float]:
    return [block.compression for block in vital.blocks if block.compression is not None]


def _ratio(
    boot: Bootstrap,
    vitals: Iterable[Vitals],
    above: Callable[[Vitals], float],
    below: Callable[[Vitals], float],
    reason: str,
) -> Estimate:
    group = list(vitals)
    columns = [float(above(vital)) for vital in group], [float(below(vital)) for vital in group]
    return boot.ratio([vital.problem for vital in group], columns, _quotient, reason)


def _quotient(totals: Array) -> tuple[Array, Array]:
    return totals[:, 0], totals[:, 1]
