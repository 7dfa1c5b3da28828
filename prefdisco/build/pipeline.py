"""A benchmark from problems: people and attributes, then profiles, then rubrics, then scenarios.

Every finished piece is on disk before the next call (ledger.py), so a rerun of the same command pays for nothing twice
and makes what is missing. People and attributes are made side by side; then each person's profiles one after another,
since a later one has to agree with the earlier ones, while all people and all rubrics go on at once.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from prefdisco import __version__
from prefdisco.build.attributes import Made, domain_of, make_attributes, problem_key
from prefdisco.build.card import card
from prefdisco.build.config import BuildConfig
from prefdisco.build.ledger import Ledger, Origin, all_at_once
from prefdisco.build.personas import make_personas
from prefdisco.build.profiles import make_profile, profile_name, published_profile, values_of
from prefdisco.build.rubrics import make_rubric, published_rubric, rubric_name
from prefdisco.files import RunError, atomic_write, claim, lock
from prefdisco.hashing import digest
from prefdisco.llm.base import Model
from prefdisco.records import profile_of, rubric_of, write_records
from prefdisco.schema import DataError, Persona, Preference, Problem, Scenario, write_jsonl

SCENARIOS, PUBLISHED, CARD = "scenarios.jsonl", "published.jsonl", "card.md"
People = dict[str, tuple[Persona, Origin]]


async def build(
    config: BuildConfig, model: Model, problems: Sequence[Problem], folder: str | Path, progress: bool = True
) -> list[Scenario]:
    """Make the scenarios of `problems` in `folder`, going on where an earlier run of the same settings stopped.

    Writes `scenarios.jsonl`, `published.jsonl` and `card.md`; the card lists what failed, and the next run makes it.
    Raises DataError for problems that share an id, RunError where nothing could be made or the folder is another
    build's, ModelError at the spending cap.
    """
    twice = [id for id, count in Counter(problem.id for problem in problems).items() if count > 1]
    if twice or not problems:
        raise DataError(f"problems: {f'{twice[0]!r} occurs more than once' if twice else 'there are none'}")
    folder = Path(folder)
    with lock(folder):
        claim(folder, config.to_yaml(), config.decisive)
        pairs = len(problems) * config.per_problem
        total = config.personas + len(problems) + len(set(map(domain_of, problems))) + 2 * pairs
        pace = 0.2 if sys.stderr.isatty() else 30
        with tqdm(total=total, desc="build", disable=not progress, delay=3, mininterval=pace) as bar:
            ledger = Ledger(folder, model, config, bar)
            scenarios = await _make(ledger, problems)
        if not scenarios:
            first = next(iter(ledger.failed.values()), "no profile has a rubric")
            raise RunError(f"{folder}: no scenario could be made: {first}")
        write_jsonl(folder / SCENARIOS, scenarios)
        write_records(folder / PUBLISHED, scenarios, metadata(config, model, problems))
        atomic_write(folder / CARD, card(ledger, scenarios, len(problems)))
    return scenarios


async def _make(ledger: Ledger, problems: Sequence[Problem]) -> list[Scenario]:
    async with all_at_once() as group:
        people_made = group.create_task(make_personas(ledger))
        attributes_made = group.create_task(make_attributes(ledger, problems))
    people, attributes = people_made.result(), attributes_made.result()
    ready = [problem for problem in problems if problem_key(problem) in attributes]
    hands = {problem_key(problem): hand(ledger.config, problem) for problem in problems}
    async with all_at_once() as group:
        for persona, _ in people.values():
            mine = [problem for problem in ready if persona.id in hands[problem_key(problem)]]
            group.create_task(_follow(ledger, persona, mine, attributes, group))
    pairs = [(problem, people[id]) for problem in ready for id in hands[problem_key(problem)] if id in people]
    made = (_scenario(ledger, problem, person, attributes) for problem, person in pairs)
    return [scenario for scenario in made if scenario is not None]


def hand(config: BuildConfig, problem: Problem) -> list[str]:
    """The ids of the people who get a problem, in the plan's order: those of the lowest hash with it."""
    ids = [f"persona_{index}" for index in range(config.personas)]
    drawn = sorted(ids, key=lambda id: digest(config.seed, problem_key(problem), id))[: config.per_problem]
    return [id for id in ids if id in drawn]


def metadata(config: BuildConfig, model: Model, problems: Sequence[Problem]) -> dict[str, object]:
    """The first line of the published file."""
    domains = sorted({problem.domain for problem in problems})
    return {
        "dataset": config.task if config.path is None else Path(config.path).stem,
        "domain": domains[0] if len(domains) == 1 else "",
        "total_personas_in_library": config.personas,
        "personas_per_problem": config.per_problem,
        "sample_size": len(problems),
        "model": model.name,
        "seed": config.seed,
        "prefdisco": __version__,
    }


async def _follow(
    ledger: Ledger, persona: Persona, problems: Sequence[Problem], attributes: Made, group: asyncio.TaskGroup
) -> None:
    """One person through all of their problems; the rubrics are left to the group."""
    made = [unit for name, unit in ledger.units.items() if name.startswith("profile/") and _of(name) == persona.id]
    known = {name: value for unit in made for name, value in values_of(unit).items()}
    for problem in problems:
        about, _ = attributes[problem_key(problem)]
        unit = await make_profile(ledger, problem, persona, about, known)
        if unit is not None:
            known |= values_of(unit)
            profile = _profile(ledger, problem, persona, attributes)
            group.create_task(_rubric(ledger, problem, persona, profile))


async def _rubric(ledger: Ledger, problem: Problem, persona: Persona, profile: Sequence[Preference]) -> None:
    await make_rubric(ledger, problem, persona, profile)


def _profile(ledger: Ledger, problem: Problem, persona: Persona, attributes: Made) -> tuple[Preference, ...]:
    unit = ledger.units[profile_name(problem, persona.id)]
    return profile_of(published_profile(unit, attributes[problem_key(problem)][0]))


def _scenario(ledger: Ledger, problem: Problem, person: tuple[Persona, Origin], attributes: Made) -> Scenario | None:
    """A scenario of what the ledger has, with who made each part; None where a part is missing."""
    persona, origin = person
    names = {"profile": profile_name(problem, persona.id), "rubric": rubric_name(problem, persona.id)}
    units = {part: ledger.units[name] for part, name in names.items() if name in ledger.units}
    if len(units) < len(names):
        return None
    profile = _profile(ledger, problem, persona, attributes)
    weights = {preference.attribute: preference.weight for preference in profile}
    rubric, _ = rubric_of(published_rubric(units["rubric"]), weights)
    origins = {
        "persona": origin,
        "attributes": attributes[problem_key(problem)][1],
        **{part: unit.origin for part, unit in units.items()},
    }
    provenance = {
        "model": ledger.model.name,
        "seed": ledger.config.seed,
        "prefdisco": __version__,
        **{part: origin.model_dump(mode="json") for part, origin in origins.items()},
    }
    return Scenario(
        id=f"{problem.id}/{persona.id}",
        problem=problem,
        persona=persona,
        profile=profile,
        rubric=rubric,
        provenance=provenance,
    )


def _of(profile: str) -> str:
    return profile.rpartition("/")[2]
