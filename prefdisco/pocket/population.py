"""The generative population: who a person is, and which preferences that person has on a family of problems.

A person is of one of ten types. For type k and family f, each of the family's nine candidate attributes a matters with
probability r[k, f, a], conditioned on 4 to 6 of them mattering; a mattering attribute has value v with probability
q[k, f, a, v] and importance m[k, f, a] + noise; weights are importances divided by their sum. Everything that is not in
the tables of `people` follows from stable hashes, so the population is the same on every machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prefdisco.hashing import digest, stable_seed
from prefdisco.pocket.attributes import ATTRIBUTES, preference
from prefdisco.pocket.people import (
    ADJECTIVES,
    EXPERTISE_WORDS,
    FAVOURITES,
    HELD_OUT_TYPES,
    NAMES,
    TRAITS,
    TYPES,
    PersonType,
)
from prefdisco.schema import Persona, Preference, to_json

Split = Literal["train", "test"]
Floats = NDArray[np.float64]

DOMAINS = {
    "math": ("change", "ages", "rates"),
    "science": ("mixture", "pressure", "circuits"),
    "logic": ("order", "elimination"),
    "commonsense": ("schedule", "packing"),
    "social": ("beliefs", "gifts"),
}
DOMAIN_OF = {family: domain for domain, families in DOMAINS.items() for family in families}

# The attributes that can matter in a family. Families of a domain share seven of nine.
CANDIDATES: dict[str, tuple[str, ...]] = {
    family: tuple(row.split())
    for family, row in {
        "change": "path granularity representation opening analogy verification encouragement tone closing",
        "ages": "path granularity representation opening analogy verification encouragement plan summary",
        "rates": "path granularity representation verification encouragement tone closing plan summary",
        "mixture": "granularity representation format order uncertainty assumptions vocabulary reference heading",
        "circuits": "granularity representation format emphasis uncertainty assumptions vocabulary reference "
        "verification",
        "pressure": "granularity representation format order assumptions vocabulary heading verification emphasis",
        "order": "path granularity format order opening alternatives plan vocabulary emphasis",
        "elimination": "path format order opening alternatives plan assumptions vocabulary heading",
        "schedule": "granularity format order alternatives uncertainty tone summary address closing",
        "packing": "granularity format order alternatives uncertainty tone summary plan assumptions",
        "beliefs": "path representation order analogy uncertainty tone summary encouragement address",
        "gifts": "path representation order analogy alternatives tone encouragement address heading",
    }.items()
}

# Where a domain turns tastes around: the favourite is the next value of the attribute.
ROTATED = frozenset(
    {
        ("math", "plan"),
        ("science", "verification"),
        ("logic", "opening"),
        ("commonsense", "summary"),
        ("social", "tone"),
    }
)
FAVOURITE_PROBABILITY = 0.68
RELEVANCE = (0.96, 0.5, 0.03)  # often, sometimes, rarely
OFTEN, SOMETIMES = 4, 1  # of a domain's attributes, for each type
DOMAIN_PULL = 0.8  # how alike the types of people are in what matters to them in a domain
IMPORTANCE = ((3, 4), (2, 3), (2, 2))  # the two importances that each level of relevance can have
NOISE = ((-1, 0.25), (0, 0.5), (1, 0.25))  # of importance
SIZES = (4, 5, 6)  # of a profile
KNOWN_TYPES = tuple(kind for kind in TYPES if kind.name not in HELD_OUT_TYPES)
INVENTED = 600  # types that stand for all that could be; what is known of people by 2,000 differs by less than a point


def _unit(*key: str) -> float:
    """A number in [0, 1) that depends on `key` only."""
    return stable_seed("population", *key) / 2**32


@dataclass(frozen=True)
class Process:
    """The process that draws profiles of one family: K types, A candidates, V values at most, N subsets.

    `relevance` (K, A); `values` (K, A, V), zero beyond an attribute's own values; `importance` (K, A), whole numbers
    before noise; `subsets` (N, A), 0 or 1; `prior` (K, N), P(subset | type), rows sum to one.
    """

    candidates: tuple[str, ...]
    relevance: Floats
    values: Floats
    importance: NDArray[np.int64]
    subsets: Floats
    prior: Floats


@cache
def _levels(kind: PersonType, domain: str) -> dict[str, int]:
    """For each attribute of the domain, how often it matters to the type: an index into RELEVANCE."""
    pool = dict.fromkeys(a for family in DOMAINS[domain] for a in CANDIDATES[family])
    ranked = sorted(
        pool,
        key=lambda a: (
            _unit("cares", kind.name, domain, a) - (a in kind.cares) - DOMAIN_PULL * _unit("domain", domain, a)
        ),
    )
    return {a: 0 if rank < OFTEN else 1 if rank < OFTEN + SOMETIMES else 2 for rank, a in enumerate(ranked)}


def favourite(kind: PersonType, domain: str, attribute: str) -> str:
    """The value of `attribute` that people of this type favour in this domain."""
    values, favourites = ATTRIBUTES[attribute].values, FAVOURITES[attribute]
    place = TYPES.index(kind) if kind in TYPES else int(_unit("favours", kind.name, attribute) * len(KNOWN_TYPES))
    index = values.index(favourites[place])
    return values[(index + ((domain, attribute) in ROTATED)) % len(values)]


@cache
def invented() -> tuple[PersonType, ...]:
    """Types that nobody is of, made as those of training are: each minds as many attributes as one of them, each drawn
    as often as they mind it, and favours what one of them favours."""
    minded, made = [name for kind in KNOWN_TYPES for name in kind.cares], []
    for number in range(INVENTED):
        name = f"invented {number}"
        rng = random.Random(name)
        kind, cares = rng.choice(KNOWN_TYPES), set[str]()
        while len(cares) < len(kind.cares):
            cares.add(rng.choice(minded))
        made.append(replace(kind, name=name, cares=tuple(sorted(cares))))
    return tuple(made)


@cache
def process(family: str, kinds: tuple[PersonType, ...] = TYPES) -> Process:
    """The profile process of `family`, over `kinds` of people. Raises ValueError for an unknown family."""
    if family not in CANDIDATES:
        raise ValueError(f"population: unknown family {family!r}; choose one of {', '.join(CANDIDATES)}")
    domain, candidates = DOMAIN_OF[family], CANDIDATES[family]
    shape = (len(kinds), len(candidates))
    relevance, importance = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    values = np.zeros((*shape, max(len(ATTRIBUTES[a].values) for a in candidates)))
    for k, kind in enumerate(kinds):
        for i, attribute in enumerate(candidates):
            level = _levels(kind, domain)[attribute]
            relevance[k, i] = RELEVANCE[level]
            importance[k, i] = IMPORTANCE[level][_unit("importance", kind.name, domain, attribute) < 0.5]
            names = ATTRIBUTES[attribute].values
            values[k, i, : len(names)] = (1 - FAVOURITE_PROBABILITY) / (len(names) - 1)
            values[k, i, names.index(favourite(kind, domain, attribute))] = FAVOURITE_PROBABILITY
    members = [chosen for size in SIZES for chosen in combinations(range(len(candidates)), size)]
    subsets = np.array([[float(i in chosen) for i in range(len(candidates))] for chosen in members])
    prior = np.exp(np.log(relevance) @ subsets.T + np.log1p(-relevance) @ (1 - subsets).T)
    return Process(candidates, relevance, values, importance, subsets, prior / prior.sum(1, keepdims=True))


def sample_persona(
    rng: random.Random, held_out: bool = False, type: str | None = None, split: Split | None = None
) -> Persona:
    """Draw a person: of `type` if given, else of a held-out type or of one of the others; `split` rejects the rest."""
    allowed = [
        kind for kind in TYPES if kind.name == type or (type is None and (kind.name in HELD_OUT_TYPES) == held_out)
    ]
    if not allowed:
        raise ValueError(f"population: unknown type {type!r}; choose one of {', '.join(kind.name for kind in TYPES)}")
    while True:
        persona = _draw(rng, rng.choice(allowed))
        if split is None or persona_split(persona) == split:
            return persona


def _draw(rng: random.Random, kind: PersonType) -> Persona:
    name, occupation, age = rng.choice(NAMES), rng.choice(kind.occupations), rng.randint(*kind.ages)
    big5 = {t: round(min(5.0, max(1.0, rng.gauss(mean, 0.4))), 1) for t, mean in zip(TRAITS, kind.big5, strict=True)}
    marked = sorted(TRAITS, key=lambda t: -abs(big5[t] - 3))[:2]
    adjectives = ", ".join(ADJECTIVES[t][big5[t] > 3] for t in marked)
    subject = rng.choice(sorted(kind.expertise))
    description = f"{name}, {age}, {occupation}; {adjectives}; {EXPERTISE_WORDS[kind.expertise[subject]]} {subject}"
    persona = Persona(
        id="",
        name=name,
        description=description,
        type=kind.name,
        demographics={"age": age, "occupation": occupation},
        big5=big5,
        expertise=dict(kind.expertise),
        background=rng.choice(kind.background),
    )
    return persona.model_copy(update={"id": f"p{_fingerprint(persona)}"})


# What makes a person: named one by one, so that a field that the record gains does not turn everybody into others.
_IDENTITY = {"name", "description", "type", "demographics", "big5", "expertise", "background"}


def _fingerprint(persona: Persona) -> str:
    return digest(to_json(persona.model_dump(include=_IDENTITY)), length=12)


def persona_split(persona: Persona) -> Split:
    """The side of the split a person is on, a hash of the content (not of the id): about a fifth are for testing."""
    return "test" if _unit("split", _fingerprint(persona)) < 0.2 else "train"


def profile(persona: Persona, family: str) -> tuple[Preference, ...]:
    """The preferences of `persona` on problems of `family`, heaviest first; weights sum to 1, descriptions are empty.

    A function of the persona's id, its type and the family: the same on every problem of the family.
    """
    law = process(family)
    kinds = [kind.name for kind in TYPES]
    if persona.type not in kinds:
        raise ValueError(
            f"population: persona {persona.id} has type {persona.type!r}; choose one of {', '.join(kinds)}"
        )
    k = kinds.index(persona.type)
    rng = random.Random(f"{persona.id}/{family}")
    (row,) = rng.choices(range(len(law.subsets)), weights=law.prior[k].tolist())
    chosen = [i for i in range(len(law.candidates)) if law.subsets[row, i]]
    drawn: list[tuple[str, str, int]] = []
    for i in chosen:
        values = ATTRIBUTES[law.candidates[i]].values
        (value,) = rng.choices(values, weights=law.values[k, i, : len(values)].tolist())
        (noise,) = rng.choices([step for step, _ in NOISE], weights=[p for _, p in NOISE])
        drawn.append((law.candidates[i], value, int(law.importance[k, i]) + noise))
    total = sum(importance for *_, importance in drawn)
    drawn.sort(key=lambda item: -item[2])
    return tuple(preference(attribute, value, importance / total) for attribute, value, importance in drawn)
