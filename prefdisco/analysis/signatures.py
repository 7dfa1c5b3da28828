"""The four failure signatures: over-correction, task-clarification loop, pathway fixation, premature termination.

The names are those under which the failures of PrefDisco (arXiv 2510.00177) are discussed; the definitions are this
project's, made so that an episode's record decides. A dialogue may show several or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prefdisco.analysis.harm import MET
from prefdisco.analysis.known import reader_of
from prefdisco.analysis.runs import Run
from prefdisco.bootstrap import SMALLEST, Bootstrap, Estimate
from prefdisco.conditions import parse_condition, prompt
from prefdisco.measures import Unit, harmed
from prefdisco.metrics import revealed_weight
from prefdisco.schema import Episode

LOOP = 2  # questions about the task itself
ENOUGH = 0.5  # of the profile's weight
Key = tuple[str, str, int]  # scenario id, condition, seed


class Count(NamedTuple):
    """How often a signature is seen: `share` of the episodes (0..1), `unknown` that of those that cannot be told."""

    episodes: int
    share: Estimate
    unknown: Estimate


def over_correction(episode: Episode, baseline: Episode | None) -> bool | None:
    """The response fits the person less well than the baseline's, and spoilt something that was right.

    True if the alignment is strictly below the baseline's (what the negative rate counts) and at least one criterion
    that the baseline met (grade 5) is graded lower. None without the baseline of the same scenario and seed.
    """
    if baseline is None:
        return None
    after = _scores(episode)
    spoilt = [name for name, score in _scores(baseline).items() if score == MET and after.get(name, MET) < MET]
    return bool(harmed(baseline, episode)) and bool(spoilt)


def task_clarification_loop(episode: Episode) -> bool | None:
    """The agent keeps asking about the task, which the person has stated, instead of what the person prefers.

    True if at least two questions are about no attribute. In Pocket this is computed from a question's text. Elsewhere
    it is not known what a question that revealed nothing was about (an attribute that does not matter to this person,
    or the task): False if fewer than two revealed nothing, else None.
    """
    reader = reader_of(episode)
    if reader is not None:
        return sum(reader(question.text) is None for question in episode.questions) >= LOOP
    return None if sum(question.revealed is None for question in episode.questions) >= LOOP else False


def pathway_fixation(episode: Episode, baseline: Episode | None) -> bool | None:
    """The agent asked, was told, and answered as it would have without.

    True if the answers revealed at least one preference that the baseline did not meet (grade below 5), and none of
    those is graded higher than by the baseline. False where nothing of that sort was revealed. None without the
    baseline of the same scenario and seed, unless nothing was revealed at all.
    """
    revealed = {question.revealed for question in episode.questions} & episode.weights.keys()
    if not revealed:
        return False
    if baseline is None:
        return None
    before, after = _scores(baseline), _scores(episode)
    open_ones = [name for name in revealed if name in before and name in after and before[name] < MET]
    return bool(open_ones) and all(after[name] <= before[name] for name in open_ones)


def premature_termination(episode: Episode, oracle: Episode | None) -> bool | None:
    """The agent stopped asking of its own accord, knowing too little, and it shows.

    True if nobody asked for the final answer (neither the budget was used up nor the user stopped), the answers
    revealed less than half of the profile's weight, and the same agent told everything (`oracle`, same scenario and
    seed) fits the person strictly better. False under a condition that may not ask. None where the first two hold and
    there is no oracle, and where the record has no message of the user, so that it is not known how it ended.
    """
    if not parse_condition(episode.condition).may_ask:
        return False
    said = [message.content for message in episode.messages if message.role == "user"]
    if said and any(text.endswith(prompt("final_request")) for text in said):
        return False
    if revealed_weight(episode) >= ENOUGH * sum(episode.weights.values()) - SMALLEST:
        return False
    if not said or oracle is None:
        return None
    return bool(harmed(oracle, episode))


def verdicts(episode: Episode, baseline: Episode | None, oracle: Episode | None) -> dict[str, bool | None]:
    """Every signature by its name: whether this episode, graded and without error, shows it; None for not known."""
    return {
        "over-correction": over_correction(episode, baseline),
        "task-clarification loop": task_clarification_loop(episode),
        "pathway fixation": pathway_fixation(episode, baseline),
        "premature termination": premature_termination(episode, oracle),
    }


def signatures(episode: Episode, baseline: Episode | None, oracle: Episode | None) -> tuple[str, ...]:
    """The names of the signatures that this episode shows."""
    return tuple(name for name, seen in verdicts(episode, baseline, oracle).items() if seen)


def by_episode(run: Run, condition: str = "discovery") -> dict[Key, tuple[str, ...]]:
    """The signatures of every episode of a condition, by its key."""
    return {
        run.played[condition][unit].key: tuple(name for name, seen in found.items() if seen)
        for unit, found in _judged(run, condition).items()
    }


def counts(run: Run, condition: str = "discovery") -> dict[str, Count]:
    """Every signature, and "any of them", over the episodes of a condition; intervals clustered by problem.

    An episode of which a signature is not known counts as not showing it. Empty for a run without the condition.
    """
    found = _judged(run, condition)
    if not found:
        return {}
    problems = [run.played[condition][unit].problem_id for unit in found]
    boot = Bootstrap(problems)

    def count(values: Sequence[bool | None]) -> Count:
        share, unknown = ([float(value is wanted) for value in values] for wanted in (True, None))
        return Count(len(values), boot.mean(problems, share, "none"), boot.mean(problems, unknown, "none"))

    names = list(next(iter(found.values())))
    return {
        **{name: count([each[name] for each in found.values()]) for name in names},
        "any of them": count([any_of(each) for each in found.values()]),
    }


def any_of(found: Mapping[str, bool | None]) -> bool | None:
    """Whether one of the signatures is seen; None where none is and one is not known."""
    if any(found.values()):
        return True
    return None if None in found.values() else False


def _judged(run: Run, condition: str) -> dict[Unit, dict[str, bool | None]]:
    others = [run.played.get(name, {}) for name in ("baseline", "oracle")]
    return {
        unit: verdicts(episode, *(group.get(unit) for group in others))
        for unit, episode in run.played.get(condition, {}).items()
    }


def _scores(episode: Episode) -> dict[str, int]:
    return {grade.attribute: grade.score for grade in episode.grades}
