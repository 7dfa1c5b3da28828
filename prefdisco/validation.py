"""What can be wrong with a file of episodes: every fault as `file:line: field: what`.

Beyond the types: an episode is graded in full or carries an error, its alignment is that of its grades, weights sum to
one, nothing is revealed that the profile does not hold, and no episode is there twice unless the first one failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from prefdisco.conditions import SWAPPED, parse_condition
from prefdisco.loading import ConfigError
from prefdisco.metrics import preference_alignment
from prefdisco.schema import WEIGHT_TOLERANCE, DataError, Episode, Scenario, parse_line, read_jsonl

ROUNDING = 1e-6
BESIDE = "scenarios.jsonl"  # where a run folder has the scenarios of its episodes, if it has


def is_episodes(path: str | Path) -> bool:
    """Whether the first line of a file is an episode's."""
    try:
        with Path(path).open("rb") as lines:
            first = json.loads(next(lines, b""))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "scenario_id" in first and "condition" in first


def episode_faults(path: str | Path) -> Iterator[str]:
    """Every fault of a file of episodes, in order; against `scenarios.jsonl` too, where that lies beside it.

    Raises DataError where those scenarios cannot be read.
    """
    path = Path(path)
    beside = path.with_name(BESIDE)
    known = {each.id: each for each in read_jsonl(beside, Scenario)} if beside.is_file() else None
    seen: dict[tuple[str, str, int], tuple[int, bool]] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            try:
                episode = parse_line(line, Episode, where)
            except DataError as error:
                yield str(error)
                continue
            yield from (f"{where}: {fault}" for fault in faults_of(episode))
            if known is not None:
                yield from (f"{where}: {fault}" for fault in _against(episode, known))
            before, failed = seen.get(episode.key, (0, True))
            if not failed and episode.condition != SWAPPED:
                yield f"{where}: scenario_id: the same scenario, condition and seed as line {before}"
            seen[episode.key] = (number, episode.error is not None)


def faults_of(episode: Episode) -> Iterator[str]:
    """Every fault of one episode, as `field: what`."""
    try:
        parse_condition(episode.condition)
    except ConfigError as error:
        yield f"condition: {error}"
    if episode.weights and abs(sum(episode.weights.values()) - 1) > WEIGHT_TOLERANCE:
        yield f"weights: sum to {sum(episode.weights.values()):.3f}, expected 1"
    if episode.values and episode.values.keys() != episode.weights.keys():
        yield "values: not of the same attributes as weights"
    for place, question in enumerate(episode.questions):
        if question.revealed is not None and question.revealed not in episode.weights:
            yield f"questions.{place}.revealed: {question.revealed!r} is not in the profile"
    turns = sum(message.role == "assistant" for message in episode.messages)
    if len(episode.questions) > turns:
        yield f"questions: {len(episode.questions)}, but the agent has {turns} turns"
    if episode.error is not None:
        if episode.alignment is not None or episode.correct is not None or episode.grades:
            yield "error: an episode that failed carries no score"
        return
    if episode.messages and episode.messages[-1].role != "assistant":
        yield f"messages: ends with {episode.messages[-1].role}, expected the agent's answer"
    yield from _grades(episode)


def _grades(episode: Episode) -> Iterator[str]:
    names = [grade.attribute for grade in episode.grades]
    if episode.correct is None:
        yield "correct: missing, and there is no error"
    if episode.alignment is None:
        yield "alignment: missing, and there is no error"
    if len(set(names)) < len(names) or set(names) != episode.weights.keys():
        yield f"grades: of {sorted(names)}, expected one of each in {sorted(episode.weights)}"
    elif episode.alignment is not None and names:
        expected = preference_alignment(episode.grades, episode.weights)
        if abs(expected - episode.alignment) > ROUNDING:
            yield f"alignment: {episode.alignment:.4f}, its grades make {expected:.4f}"


def _against(episode: Episode, scenarios: Mapping[str, Scenario]) -> Iterator[str]:
    """What does not fit the scenario that was played."""
    scenario = scenarios.get(episode.scenario_id)
    if scenario is None:
        yield f"scenario_id: {episode.scenario_id!r} is not in {BESIDE}"
        return
    profile = {preference.attribute: preference.weight for preference in scenario.profile}
    if profile.keys() != episode.weights.keys() or any(
        abs(profile[name] - weight) > ROUNDING for name, weight in episode.weights.items()
    ):
        yield f"weights: not those of the scenario in {BESIDE}"
    if (scenario.problem.id, scenario.persona.id) != (episode.problem_id, episode.persona_id):
        yield f"problem_id, persona_id: not those of the scenario in {BESIDE}"
