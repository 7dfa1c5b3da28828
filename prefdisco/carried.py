"""Preferences found on one problem and carried to the next problems of the same person: what is told, and whether it
fits there.

    told = revealed_before(load_episodes("runs/first/episodes.jsonl").values(), scenarios, seeds=[0])
    told["p2/ann", 0]        # (("tone", "formal"),): what ann's answers revealed on an earlier problem, nothing else

A carried preference *fits* a problem where the person's profile there holds the same value; it is *stale* where the
attribute matters with another value, and *idle* where it does not matter at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefdisco.bootstrap import Bootstrap
from prefdisco.conditions import DISCOVERY, parse_condition
from prefdisco.measures import Played, Unit, harmed, units
from prefdisco.schema import DataError, Episode, Scenario

Told = tuple[tuple[str, str], ...]  # (attribute, value) of each carried preference
NOTHING, NO_UNITS = "nothing was carried", "no pairs"
NO_STALE = "no carried preference is stale"


def revealed_before(
    episodes: Iterable[Episode], scenarios: Sequence[Scenario], seeds: Sequence[int], where: str = "carried"
) -> dict[Unit, Told]:
    """(scenario id, seed) -> what discovery with this seed revealed of the scenario's person.

    Raises DataError, naming the run folder `where`, for a person without a dialogue there, or with several.
    """
    earlier: dict[tuple[str, int], Episode] = {}
    for episode in episodes:
        if episode.condition != DISCOVERY or episode.error is not None:
            continue
        if (person := (episode.persona_id, episode.seed)) in earlier:
            raise DataError(
                f"{where}: {episode.persona_id} has several dialogues with seed {episode.seed}; carry from a run with "
                "one problem a person, such as scenarios=pocket:first or FILE:first"
            )
        earlier[person] = episode
    wanted = [(scenario, seed) for seed in seeds for scenario in scenarios]
    lacking = [(scenario.id, seed) for scenario, seed in wanted if (scenario.persona.id, seed) not in earlier]
    if lacking:
        raise DataError(
            f"{where}: {len(lacking)} of {len(wanted)} scenarios are of people without a dialogue under discovery "
            f"there, such as {lacking[0][0]} with seed {lacking[0][1]}; play them there first"
        )
    return {(scenario.id, seed): _revealed(earlier[scenario.persona.id, seed]) for scenario, seed in wanted}


def _revealed(episode: Episode) -> Told:
    names = {question.revealed for question in episode.questions if question.revealed in episode.values}
    return tuple((name, value) for name, value in episode.values.items() if name in names)


def carried_figures(boot: Bootstrap, by_condition: Played) -> dict[str, Any]:
    """The content of `carried` in a summary: for each condition that carries, estimates with shares on 0..1.

    told: carried preferences an episode. fits, stale, idle: their shares. spoilt: of the stale ones, those whose
    criterion is graded lower than by the baseline. harmed_fitting, harmed_misfit: negative rate of the episodes whose
    carried preferences all fit, and of those with a stale or idle one; episodes without any are in neither. `n`
    counts the criteria, and the episodes, that the last three rest on.
    """
    found = {}
    for name, group in by_condition.items():
        if parse_condition(name).carries:
            pairs = units(by_condition, "baseline", name)
            found[name] = {**_fit(boot, list(group.values())), **_harm(boot, pairs)}
    return found


def _fit(boot: Bootstrap, episodes: Sequence[Episode]) -> dict[str, Any]:
    problems = [episode.problem_id for episode in episodes]
    told = [float(len(episode.carried)) for episode in episodes]
    counted = {kind: [float(list(fit(e).values()).count(kind)) for e in episodes] for kind in ("fits", "stale", "idle")}
    shares = {
        kind: boot.ratio(problems, (counts, told), lambda total: (total[:, 0], total[:, 1]), NOTHING)
        for kind, counts in counted.items()
    }
    return {"told": boot.mean(problems, told, "no episodes"), **shares}


def _harm(boot: Bootstrap, pairs: Sequence[tuple[Episode, ...]]) -> dict[str, Any]:
    spoilt: list[tuple[str, float]] = []
    sides: Mapping[bool, list[tuple[str, float]]] = {True: [], False: []}
    for base, own in pairs:
        before, after = ({grade.attribute: grade.score for grade in side.grades} for side in (base, own))
        kinds = fit(own)
        stale = [name for name, kind in kinds.items() if kind == "stale"]
        spoilt += [(own.problem_id, float(after[name] < before[name])) for name in stale]
        if kinds:
            sides[set(kinds.values()) == {"fits"}].append((own.problem_id, harmed(base, own)))

    def share(rows: Sequence[tuple[str, float]], reason: str) -> dict[str, Any]:
        problems, values = [problem for problem, _ in rows], [value for _, value in rows]
        return {"n": len(rows), **boot.mean(problems, values, reason if pairs else NO_UNITS)}

    return {
        "spoilt": share(spoilt, NO_STALE),
        "harmed_fitting": share(sides[True], NOTHING),
        "harmed_misfit": share(sides[False], NOTHING),
    }


def fit(episode: Episode) -> dict[str, str]:
    """Carried attribute -> "fits", "stale" or "idle" on the episode's problem."""
    profile = episode.values
    return {
        name: "idle" if name not in profile else "fits" if profile[name] == value else "stale"
        for name, value in episode.carried.items()
    }
