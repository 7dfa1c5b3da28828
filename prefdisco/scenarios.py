"""Where scenarios come from, and what the best possible agent reaches on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from prefdisco.config import ConfigError
from prefdisco.hashing import digest
from prefdisco.metrics import Ceiling
from prefdisco.schema import DataError, Scenario, read_jsonl
from prefdisco.sequences import PARTS, part
from prefdisco.users import is_pocket

SPLITS = {"train": 0, "test": 2}  # of a file: how many of a scenario's problem and person are held out


def load_scenarios(source: str, limit: int, seed: int = 0) -> list[Scenario]:
    """The first `limit` scenarios of "pocket" (its test split), "pocket:SPLIT", or a JSON Lines file.

    "FILE:test" has the problems and people of a file that are held out, "FILE:train" those that are not (`held_out`).
    "pocket:PART" and "FILE:PART" have one of sequences.PARTS, of the first `limit` people with several problems.
    `seed` is that of the draw from Pocket; evaluations keep it at 0, so that they all face the same scenarios.

    Raises ConfigError for an unknown or empty split or an empty file, DataError for a missing file or a broken line.
    """
    world, _, split = source.partition(":")
    name = source.rpartition(":")[2]
    if name in PARTS:
        place = source.removesuffix(f":{name}")
        return part(_sequences(place, limit, seed), name, limit, place)
    if world != "pocket":
        return list(islice(_read(source), limit))
    from prefdisco.pocket import scenarios as pocket

    match split or "test":
        case "train" | "test" | "heldout" as known:
            return pocket.scenarios(known, limit, seed)
    raise ConfigError(
        f"scenarios={source}: unknown split {split!r}; there are pocket:train, pocket:test and pocket:heldout, "
        f"and as parts of sequences {', '.join(f'pocket:{each}' for each in PARTS)}"
    )


def _sequences(source: str, people: int, seed: int) -> Iterable[Scenario]:
    """Scenarios of which people have several: Pocket's are drawn for this, a file has what it has."""
    if source.partition(":")[0] != "pocket":
        return _read(source)
    if source != "pocket":
        raise ConfigError(f"scenarios={source}: sequences are drawn from Pocket's test split alone; choose pocket:PART")
    from prefdisco.pocket.scenarios import sequences

    return sequences(people, seed)


def _read(source: str) -> Iterable[Scenario]:
    """The scenarios of a file, or of "FILE:train" or "FILE:test"."""
    from prefdisco.records import is_published, read_records

    path, _, split = source.rpartition(":")
    if split not in SPLITS:
        path, split = source, ""
    found = iter(read_records(path) if is_published(path) else read_jsonl(path, Scenario))
    first = next(found, None)
    if first is None:
        raise ConfigError(f"scenarios={source}: the file has no scenarios")
    if not split:
        return chain([first], found)
    scenarios = [first, *found]
    problems = held_out(scenario.problem.id for scenario in scenarios)
    people = held_out(scenario.persona.id for scenario in scenarios)
    unseen = [(s.problem.id in problems) + (s.persona.id in people) for s in scenarios]  # 2: both are held out
    chosen = [s for s, count in zip(scenarios, unseen, strict=True) if count == SPLITS[split]]
    if not chosen:
        raise ConfigError(
            f"scenarios={source}: the file has {len(scenarios)} scenarios, none for this split, which holds out a "
            "quarter of the problems and of the people; add more of both, or give training and evaluation a file each"
        )
    return chosen


def held_out(ids: Iterable[str]) -> set[str]:
    """A quarter of the different `ids`, at least one of several: those that only an evaluation sees.

    Scenarios of a file with both a held-out problem and a held-out person are its test split, those with neither its
    training split; the others are in none. The choice depends on all ids, so a file that grew splits anew.
    """
    ranked = sorted(set(ids), key=digest)
    return set(ranked[: math.ceil(len(ranked) / 4)]) if len(ranked) > 1 else set()


def ceiling_of(scenarios: Sequence[Scenario], budget: int) -> Ceiling | None:
    """What an exact questioner with a perfect writer reaches on each scenario; None where the world is not computed."""
    if not is_pocket(scenarios):
        return None
    from prefdisco.elicitation import ceiling
    from prefdisco.pocket.belief import belief

    return ceiling(scenarios, belief, budget)


def by_problem(scenarios: Iterable[Scenario]) -> list[list[Scenario]]:
    """Scenarios of the same problem together: they share an answer that knows no persona.

    Raises DataError where two different problems have one id, as those of two published files can.
    """
    groups: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        group = groups.setdefault(scenario.problem.id, [])
        if group and _asked(group[0]) != _asked(scenario):
            raise DataError(
                f"scenarios {group[0].id!r} and {scenario.id!r}: different problems share the id "
                f"{scenario.problem.id!r}; evaluate files of different tasks one by one"
            )
        group.append(scenario)
    return list(groups.values())


def _asked(scenario: Scenario) -> tuple[object, ...]:
    """What an answer depends on. Pocket can draw one question at two difficulties."""
    problem = scenario.problem
    return problem.question, problem.options, problem.answer
