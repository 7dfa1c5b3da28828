"""The attributes on which people differ: proposed for each problem, then made one set for all of them.

The catalogue finds what has the same name; what is the same under different names, the model finds, a domain at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field, create_model, field_validator

from prefdisco.build.catalogue import Catalogue, apart
from prefdisco.build.instructions import about_problem
from prefdisco.build.ledger import Ledger, Origin, Unit, all_at_once
from prefdisco.build.personas import Strict, Words
from prefdisco.conditions import problem_text
from prefdisco.hashing import digest
from prefdisco.schema import Attribute, Kind, Problem

BATCH = 250  # new attributes that the model is shown at once to find those that are the same


class Proposal(Strict):
    """One attribute as the model proposes it."""

    name: Words
    kind: Kind
    description: Words
    values: Annotated[list[Words], Field(min_length=2, max_length=5)]

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: list[str]) -> list[str]:
        if len({value.casefold() for value in values}) < len(values):
            raise ValueError("two values are the same")
        return values


def proposals_class(count: int) -> type[Strict]:
    """About `count` attributes; a few less or more are taken as well."""
    proposals = Annotated[list[Proposal], Field(min_length=count * 3 // 4, max_length=count + 4)]
    return create_model("Proposals", __base__=Strict, attributes=(proposals, ...))


def pairs_class(count: int) -> type[Strict]:
    """Pairs among `count` attributes, by index; with so many pairs, at most half of them can be merged away."""
    index = Annotated[int, Field(ge=0, le=count - 1)]
    pair = create_model("Pair", __base__=Strict, same=(index, ...), as_=(index, Field(alias="as")))
    pairs = Annotated[list[pair], Field(max_length=count // 2)]  # type: ignore[valid-type]
    return create_model("Pairs", __base__=Strict, pairs=(pairs, ...))


Made = dict[str, tuple[tuple[Attribute, ...], Origin]]


async def make_attributes(ledger: Ledger, problems: Sequence[Problem]) -> Made:
    """The attributes of each problem, by the problem's key, and who proposed them; failed problems are missing."""
    count = ledger.config.attributes
    record = proposals_class(count)
    proposed: dict[str, Unit] = {}

    async def propose(problem: Problem) -> None:
        name, material = f"attributes/{problem_key(problem)}", {"problem": about_problem(problem)}
        unit = await ledger.ask(name, "attributes", material, record, {"count": count})
        if unit is not None:
            proposed[problem_key(problem)] = unit

    async with all_at_once() as group:
        for problem in problems:
            group.create_task(propose(problem))
    catalogue = latest(ledger)
    done = [problem for problem in problems if problem_key(problem) in proposed]
    for domain in dict.fromkeys(map(domain_of, done)):
        keys = [problem_key(problem) for problem in done if domain_of(problem) == domain]
        new = [attribute for name in keys for attribute in _attributes(proposed[name])]
        catalogue = await _extended(ledger, catalogue, domain, new)
    made: Made = {}
    for problem in done:
        unit = proposed[problem_key(problem)]
        found = [catalogue.find(attribute.name) for attribute in _attributes(unit)]
        if all(found):  # otherwise its domain could not be consolidated in this run
            chosen = {each.name: each for each in found if each is not None}
            for other in catalogue.commonest(domain_of(problem)):
                if len(chosen) < ledger.config.fewest:
                    chosen.setdefault(other.name, other)
            made[problem_key(problem)] = (tuple(chosen.values()), unit.origin)
    return made


def latest(ledger: Ledger) -> Catalogue:
    """The catalogue as the last run left it."""
    saved = [unit.value for unit in ledger.units.values() if unit.unit.startswith("catalogue/")]
    return Catalogue(saved[-1] if saved else None)


async def _extended(ledger: Ledger, old: Catalogue, domain: str, proposals: Sequence[Attribute]) -> Catalogue:
    """The catalogue with a domain's proposals: by name, then by the model. The old one where the model fails."""
    grown = Catalogue(old.save())
    for proposal in proposals:
        grown.propose(proposal, domain)
    new = sorted(grown.attributes.keys() - old.attributes.keys())
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        fixed = old.kin(domain, batch, BATCH)
        listed = fixed + batch
        if len(listed) < 2:
            continue
        shown = [grown.attributes[name] for name in listed]
        facts = [
            {"index": i, **each.model_dump(include={"name", "kind", "description"})} for i, each in enumerate(shown)
        ]
        name = f"consolidate/{domain}/{digest(*listed)}"
        record = pairs_class(len(listed))
        unit = await ledger.ask(name, "consolidate", {"attributes": facts}, record, temperature=0)
        if unit is None:
            return old
        for gone, kept in merges(unit.value["pairs"], shown, len(fixed)):
            grown.drop(listed[gone], listed[kept])
    saved = grown.save()
    if saved != old.save():
        origin = Origin(model=ledger.model.name, prompt="", seed=ledger.config.seed)
        ledger.keep(Unit(unit=f"catalogue/{domain}/{digest(saved)}", value=saved, origin=origin))
    return grown


def merges(pairs: Sequence[dict[str, int]], shown: Sequence[Attribute], fixed: int) -> Iterator[tuple[int, int]]:
    """(index that goes, index that stays) for all that the pairs unite; the first `fixed` always stay."""
    parent = list(range(len(shown)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for pair in pairs:
        stays, goes = root(pair["same"]), root(pair["as"])
        if goes < fixed:
            stays, goes = goes, stays
        if stays != goes and goes >= fixed and not apart(shown[stays], shown[goes]):
            parent[goes] = stays
    yield from ((index, root(index)) for index in range(len(shown)) if root(index) != index)


def problem_key(problem: Problem) -> str:
    """The name of a problem's units: another text is another problem."""
    return f"{problem.id}:{digest(problem_text(problem), length=8)}"


def domain_of(problem: Problem) -> str:
    """The domain, or the task where the problem has none."""
    return problem.domain or problem.task


def _attributes(unit: Unit) -> list[Attribute]:
    return [Attribute(**each) for each in unit.value["attributes"]]
