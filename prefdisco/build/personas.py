"""The people of a benchmark: a plan that spreads them, then a description of each that the model writes.

Diversity is by construction: ages, the five traits and regions come from a Latin hypercube, occupations in turn from
all fields. The model writes who that is; one whose name or description is too like another's is asked for again.
"""

from __future__ import annotations

import itertools
import random
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from prefdisco.build.ledger import Ledger, Origin, Unit, all_at_once
from prefdisco.build.occupations import REGIONS, occupations
from prefdisco.hashing import stable_seed
from prefdisco.records import persona_of
from prefdisco.schema import Persona

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
AGES = (18, 76)  # from, up to but not including
DRAWS = 50  # hypercubes drawn, of which the least correlated is taken
DRAFTS = 4  # descriptions of one person asked for in one run, the first included
LIKE_NAMES, LIKE_LIVES = 0.85, 0.6  # likeness from which two are too alike: of names, and of words in descriptions

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Strict(BaseModel):
    """Base of what the model is asked for: no unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Home(Strict):
    location: Words
    family_context: Words
    hobbies: Annotated[list[Words], Field(min_length=2, max_length=4)]


class Cognition(Strict):
    learning_style: Words
    attention_span: Words
    problem_solving: Words


class Affect(Strict):
    confidence: Words
    anxiety_triggers: Words
    motivation: Words


class Education(Strict):
    knowledge_level: Words
    common_errors: Words
    cognitive_features: Cognition
    affective_features: Affect


class Traits(Strict):
    openness: Words
    conscientiousness: Words
    extraversion: Words
    agreeableness: Words
    neuroticism: Words


class Description(Strict):
    """What the model writes about a person of the plan; scores, age and occupation are the plan's."""

    name: Words
    minimal_necessary_description: Words
    demographics: Home
    educational_profile: Education
    personality_big5: Traits
    backstory: Words
    domain_expertise: Annotated[list[Words], Field(min_length=1, max_length=4)]


@dataclass(frozen=True)
class Target:
    """One person of the plan. Trait scores are 1..5, `age` is in years."""

    id: str
    age: int
    field: str
    occupation: str
    region: str
    big5: dict[str, int]


def plan(count: int, seed: int) -> list[Target]:
    """The people to describe: each age and score is drawn about equally often, and no two of them go together."""
    rng = random.Random(stable_seed("personas", seed))
    ages, *scores = min((_columns(count, rng) for _ in range(DRAWS)), key=_correlation)
    regions = _deal(REGIONS, count, rng)
    years = [AGES[0] + int(share * (AGES[1] - AGES[0])) for share in ages]
    work = _occupations(years, rng)
    return [
        Target(
            id=f"persona_{index}",
            age=years[index],
            field=work[index][0],
            occupation=work[index][1],
            region=regions[index],
            big5={trait: 1 + int(5 * column[index]) for trait, column in zip(TRAITS, scores, strict=True)},
        )
        for index in range(count)
    ]


async def make_personas(ledger: Ledger) -> dict[str, tuple[Persona, Origin]]:
    """The people of the plan by id, each with who described it; those whom the model failed at are missing."""
    targets = plan(ledger.config.personas, ledger.config.seed)
    missing = [target for target in targets if f"persona/{target.id}" not in ledger.units]
    async with all_at_once() as group:
        drafts = {t.id: group.create_task(_draft(ledger, t, _first(ledger, t), [])) for t in missing}
    accepted = {t.id: _accepted(ledger.units[f"persona/{t.id}"]) for t in targets if t.id not in drafts}
    for target in missing:  # one after the other, in the plan's order: who comes first does not depend on the network
        others = [persona for persona, _ in accepted.values()]
        if unit := await _distinct(ledger, target, drafts[target.id].result(), others):
            accepted[target.id] = _accepted(ledger.keep(unit))
    return {target.id: accepted[target.id] for target in targets if target.id in accepted}


async def _distinct(ledger: Ledger, target: Target, draft: Unit | None, others: Sequence[Persona]) -> Unit | None:
    """A description unlike the others', as the unit that makes it final; None where there is none in this run."""
    twin = None
    for attempt in range(_first(ledger, target) + 1, _first(ledger, target) + DRAFTS + 1):
        if draft is None:
            return None
        record = published(target, Description.model_validate(draft.value))
        twin = next((other for other in others if alike(persona_of(record), other)), None)
        if twin is None:
            return Unit(unit=f"persona/{target.id}", value=record, origin=draft.origin)
        if attempt < _first(ledger, target) + DRAFTS:
            draft = await _draft(ledger, target, attempt, [twin, *others])
    ledger.fail(f"persona/{target.id}", f"{DRAFTS} descriptions were too like {twin.id if twin else 'another'}")
    return None


async def _draft(ledger: Ledger, target: Target, attempt: int, avoid: Sequence[Persona]) -> Unit | None:
    person = {name: value for name, value in asdict(target).items() if name not in ("id", "field")}
    taken = {"names": [other.name for other in avoid], "people": [other.description for other in avoid[:3]]}
    material = {"person": person, "avoid": taken}
    return await ledger.ask(f"draft/{target.id}/{attempt}", "personas", material, Description)


def _first(ledger: Ledger, target: Target) -> int:
    """The number of the first draft of this run: those of earlier runs were all too like another person."""
    return DRAFTS * ledger.tries[f"persona/{target.id}"]


def _accepted(unit: Unit) -> tuple[Persona, Origin]:
    return persona_of(unit.value), unit.origin


def published(target: Target, description: Description) -> dict[str, Any]:
    """A person in the published form: the plan's facts and the model's words."""
    words = description.model_dump(mode="json")
    big5 = {trait: {"score": target.big5[trait], "description": words["personality_big5"][trait]} for trait in TRAITS}
    return {
        "id": target.id,
        **words,
        "demographics": {"age": target.age, "occupation": target.occupation, **words["demographics"]},
        "personality_big5": big5,
    }


def alike(one: Persona, other: Persona) -> bool:
    """Whether two people could be taken for one another: by their names, or by the words that describe them."""
    here, there = (" ".join(sorted(_words(each.name))) for each in (one, other))
    return SequenceMatcher(None, here, there).ratio() >= LIKE_NAMES or likeness(one, other) >= LIKE_LIVES


def likeness(one: Persona, other: Persona) -> float:
    """The share of the words of two descriptions that are in both, 0..1."""
    here, there = _words(one.description), _words(other.description)
    return len(here & there) / max(1, len(here | there))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _columns(count: int, rng: random.Random) -> list[list[float]]:
    """A Latin hypercube of age and the five traits: in each column, one number from each of `count` equal strata.

    The numbers of a column are evenly spaced, so that each of five scores is drawn equally often, give or take one.
    """
    columns = []
    for _ in range(1 + len(TRAITS)):
        strata, offset = rng.sample(range(count), count), rng.random()
        columns.append([(stratum + offset) / count for stratum in strata])
    return columns


def _correlation(columns: Sequence[Sequence[float]]) -> float:
    """The largest correlation between two columns, without its sign."""
    if len(columns[0]) < 3:
        return 0.0
    return max(abs(statistics.correlation(one, other)) for one, other in itertools.combinations(columns, 2))


def _occupations(ages: Sequence[int], rng: random.Random) -> list[tuple[str, str]]:
    """(field, occupation) for each age: fields in turn, none twice while others are left, none before its time."""
    fields = occupations()
    left: dict[str, list[tuple[str, int]]] = {field: [] for field in fields}
    chosen: dict[int, tuple[str, str]] = {}
    turns = _cycle(list(fields), rng)
    for index in sorted(range(len(ages)), key=lambda each: ages[each]):
        for field in itertools.islice(turns, 2 * len(fields)):
            if not left[field]:
                left[field] = rng.sample(fields[field], len(fields[field]))
            if fitting := next((work for work in left[field] if work[1] <= ages[index]), None):
                left[field].remove(fitting)
                break
        else:  # all that is left is for older people
            field, fitting = rng.choice([(f, work) for f in fields for work in fields[f] if work[1] <= ages[index]])
        chosen[index] = (field, fitting[0])
    return [chosen[index] for index in range(len(ages))]


def _deal(cards: Sequence[str], count: int, rng: random.Random) -> list[str]:
    return list(itertools.islice(_cycle(cards, rng), count))


def _cycle(cards: Sequence[str], rng: random.Random) -> Iterator[str]:
    """All cards in a random order, again and again."""
    while True:
        yield from rng.sample(cards, len(cards))
