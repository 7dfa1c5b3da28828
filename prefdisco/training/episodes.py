"""The student's own episodes: what it plays in a round of on-policy distillation, and how it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from prefdisco.conditions import parse_condition
from prefdisco.config import DataConfig, Mix
from prefdisco.dialogue import play
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.grading import graded
from prefdisco.llm.base import Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.llm.loops import side_by_side
from prefdisco.schema import Episode, Scenario
from prefdisco.world import World

CONDITIONS = {"discovery": DISCOVERY, "plain": "baseline", "oracle": "oracle", "no_think": "baseline"}


class Played(NamedTuple):
    """One graded episode; `kind` is discovery or a share of `data.mix`."""

    kind: str
    scenario: Scenario
    episode: Episode


def turn_of(scenarios: Sequence[Scenario], number: int, count: int, mix: Mix) -> list[tuple[str, Scenario]]:
    """What round `number`, from 0, plays: the next `count` scenarios, from the start again after the last.

    The shares of `mix` come first, all others are discovery dialogues.
    """
    chosen = [scenarios[(number * count + index) % len(scenarios)] for index in range(count)]
    kinds = [kind for kind in ("plain", "oracle", "no_think") for _ in range(round(getattr(mix, kind) * count))]
    kinds = [*kinds[:count], *["discovery"] * (count - len(kinds))]
    return list(zip(kinds, chosen, strict=True))


async def play_round(
    chosen: Sequence[tuple[str, Scenario]],
    student: LocalModel,
    world: World,
    data: DataConfig,
    seed: int,
    tick: Callable[[], Any],
) -> list[Played]:
    """One graded episode of the student's own for each of `chosen`, in their order; `tick()` is called after each."""
    sampling = Sampling(temperature=data.temperature, max_tokens=data.max_tokens)
    found: dict[int, Played] = {}

    async def one(index: int, kind: str, scenario: Scenario) -> None:
        condition, thinking = parse_condition(CONDITIONS[kind]), kind != "no_think"
        episode = await play(scenario, condition, student, world.user, sampling, seed, data.budget, thinking)
        found[index] = Played(kind, scenario, await graded(episode, scenario, world.judge))
        tick()

    await side_by_side(one(index, kind, scenario) for index, (kind, scenario) in enumerate(chosen))
    return [found[index] for index in range(len(chosen))]


def figures_of(played: Sequence[Played]) -> dict[str, float]:
    """How the student did before it learned from these episodes; those that failed are left out.

    Of the dialogues: `accuracy`, `alignment` (1..5), `heeded` (the same over revealed preferences only), `questions`,
    `precision`; then `plain_accuracy`, `oracle_accuracy` and `oracle_alignment`, where such episodes were played.
    """
    by: dict[str, list[Episode]] = {}
    for kind, _, episode in played:
        if episode.error is None:
            by.setdefault(kind, []).append(episode)
    talks = by.get("discovery", [])
    asked = [question for episode in talks for question in episode.questions]
    figures: dict[str, float] = {"episodes": len(played)}
    if talks:
        figures |= {
            "accuracy": fmean(float(bool(episode.correct)) for episode in talks),
            "alignment": fmean(episode.alignment or 0.0 for episode in talks),
            "heeded": heeded(talks),
            "questions": len(asked) / len(talks),
            "precision": fmean(question.revealed is not None for question in asked) if asked else 0.0,
        }
    for kind in ("plain", "oracle"):
        if kind in by:
            figures[f"{kind}_accuracy"] = fmean(float(bool(episode.correct)) for episode in by[kind])
    if "oracle" in by:
        figures["oracle_alignment"] = fmean(episode.alignment or 0.0 for episode in by["oracle"])
    return figures


def heeded(episodes: Sequence[Episode]) -> float:
    """Alignment with the preferences that were revealed, and no others, 1..5; 0 where none was."""
    total = weight = 0.0
    for episode in episodes:
        revealed = {question.revealed for question in episode.questions}
        for grade in episode.grades:
            if grade.attribute in revealed:
                total += episode.weights[grade.attribute] * grade.score
                weight += episode.weights[grade.attribute]
    return total / weight if weight else 0.0


def line(entry: dict[str, Any]) -> str:
    """One round for a log."""
    parts = [
        f"accuracy {100 * entry['accuracy']:.1f}%",
        f"alignment {entry['alignment']:.2f} ({entry['heeded']:.2f} with what was revealed)",
        f"{entry['questions']:.1f} questions, {100 * entry['precision']:.0f}% revealing",
        *(f"{name[:-9]} accuracy {100 * entry[name]:.0f}%" for name in entry if name.endswith("_accuracy")),
        f"divergence {entry['divergence']:.4f}, kept {entry['kept']:.4f} nats a token",
        f"of {entry['episodes']} episodes {entry['late']} asked too late, {sum(entry['dropped'].values())} dropped",
    ]
    return f"round {entry['round']}: {'; '.join(parts)}"
