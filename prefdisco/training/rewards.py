"""What an episode earns, in parts that are logged apart: pure functions of a graded episode and its references.

With a the episode's alignment (1..5), b and o the references' (baseline and oracle, `references.py`), and the unit
u = max(o - b, least_gain):

correctness      1 if the answer is right, else 0
alignment        (a - b) / u: 0 at the baseline, 1 at the oracle; with the gate, min of that and 0 where it is wrong
overcorrection   -max(0, b - a) / u: harm counts further, beside what it takes from the alignment
questions        -1 for each question
guesses          -1 for each attribute that the answer acts on though nobody told of it
form             -1 if a turn could not be read or was cut off, else 0

The reward is their sum, weighted by the section `reward` of the recipe. The gate takes the gain from a wrong answer and
leaves it the harm; were both taken, a wrong answer would be a way out of a bad one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prefdisco.config import ConfigError, RewardConfig
from prefdisco.extensions import load_own
from prefdisco.metrics import guessed
from prefdisco.schema import Episode
from prefdisco.training.references import Reference

OF_THE_PERSON = ("alignment", "overcorrection")  # parts that depend on a person
Part = Callable[[Episode, Reference], float]


def correctness(episode: Episode, reference: Reference) -> float:
    """1 or 0."""
    return float(bool(episode.correct))


def alignment(episode: Episode, reference: Reference) -> float:
    """The normalized alignment, not in percent; PrefDisco (arXiv 2510.00177, section 4), of one episode."""
    return (episode.graded_alignment - reference.baseline) / reference.unit


def gated_alignment(episode: Episode, reference: Reference) -> float:
    """The same for a right answer; a wrong one has at most 0."""
    gained = alignment(episode, reference)
    return gained if episode.correct else min(gained, 0.0)


def overcorrection(episode: Episode, reference: Reference) -> float:
    """Alignment lost against the baseline: 0 or negative."""
    return min(alignment(episode, reference), 0.0)


def questions(episode: Episode, reference: Reference) -> float:
    """Minus the number of questions, whatever they brought."""
    return -float(len(episode.questions))


def guesses(episode: Episode, reference: Reference) -> float:
    """Minus the number of attributes that the answer acts on beyond what was told, whatever they brought."""
    return -float(len(guessed(episode)))


def form(episode: Episode, reference: Reference) -> float:
    """-1 for an episode with a malformed or a truncated turn, or without a response."""
    return -float(bool(episode.malformed_turns) or episode.truncated or not episode.response)


def parts(reward: RewardConfig) -> dict[str, tuple[Part, float]]:
    """Name, as it is logged -> the part and its weight. Raises ConfigError for an own part that cannot be had."""
    found: dict[str, tuple[Part, float]] = {
        "correctness": (correctness, reward.correctness),
        "alignment": (gated_alignment if reward.gate else alignment, reward.alignment),
        "overcorrection": (overcorrection, reward.overcorrection),
        "questions": (questions, reward.question),
        "guesses": (guesses, reward.guess),
        "format": (form, reward.format),
    }
    for own, weight in (reward.own or {}).items():
        name = own.rpartition(":")[2]
        if name in found:
            raise ConfigError(f"reward.own={own}: there is a part {name} already; give the function another name")
        found[name] = (load_own(own, "reward.own"), weight)
    return found


def earned(episode: Episode, reference: Reference, reward: RewardConfig) -> float:
    """All parts that apply to such an episode, weighted and added up."""
    return sum(
        weight * part(episode, reference) for name, (part, weight) in parts(reward).items() if applies(name, episode)
    )


def applies(name: str, episode: Episode) -> bool:
    """Whether the part applies to the episode. Nobody can please a person of whom nothing is known: a plain problem
    (baseline) earns nothing by alignment, and so is no way to what most people like."""
    return episode.condition != "baseline" or name not in OF_THE_PERSON


def reward_functions(reward: RewardConfig) -> list[Callable[..., list[float | None]]]:
    """The parts as TRL calls them, with their names; None for an episode that was dropped, or to which
    the part does not apply: it counts nowhere."""
    return [_named(name, part) for name, (part, _) in parts(reward).items()]


def reward_weights(reward: RewardConfig) -> list[float]:
    """The weights of `reward_functions`, in their order."""
    return [weight for _, weight in parts(reward).values()]


def _named(name: str, part: Part) -> Callable[..., list[float | None]]:
    def function(rollout: Sequence[Any], **others: Any) -> list[float | None]:
        return [
            None if each.dropped or not applies(name, each.episode) else part(each.episode, each.reference)
            for each in rollout
        ]

    function.__name__ = name
    return function
