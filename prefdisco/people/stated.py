"""What a person says beforehand that they want, as an ordinary scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prefdisco.people.config import PERSON
from prefdisco.people.text import plain
from prefdisco.schema import Criterion, Persona, Preference, Problem, Scenario
from prefdisco.world import Offer

FEWEST, MOST = 1, 8  # preferences that a person states for a problem
SCALE = range(1, 6)  # of importances and of ratings
LONGEST_REMARK = 1000  # characters
ABOUT = "somebody who takes part in a study"


class Stated(NamedTuple):
    """A value that matters to a person, and how much: 1..5."""

    value: str
    importance: int


class Unstated(ValueError):
    """Preferences that cannot be used; the message says why, to the person who stated them."""


def check(stated: Mapping[str, Stated], offers: Sequence[Offer]) -> None:
    """Raise Unstated for too few, too many, or such as were not offered."""
    known = {offer.attribute.name: offer for offer in offers}
    if not FEWEST <= len(stated) <= MOST:
        count = "at least one" if len(stated) < FEWEST else f"at most {MOST}, not {len(stated)}"
        raise Unstated(f"Please choose {count}.")
    for name, (value, importance) in stated.items():
        if name not in known or value not in known[name].labels or importance not in SCALE:
            raise Unstated("Please choose from what is offered.")


def scenario_of(
    problem: Problem, participant: str, stated: Mapping[str, Stated], offers: Sequence[Offer], remark: str = ""
) -> Scenario:
    """The scenario of a participant, who has no name and no traits, with weights that are shares of the importances.

    Raises Unstated.
    """
    check(stated, offers)
    total = sum(importance for _, importance in stated.values())
    profile, rubric = [], []
    for offer in offers:
        name = offer.attribute.name
        if name not in stated:
            continue
        value, importance = stated[name]
        weight = importance / total
        profile.append(
            Preference(
                attribute=name, value=value, weight=weight, kind=offer.attribute.kind, description=offer.described
            )
        )
        rubric.append(criterion(offer, value, weight))
    # heaviest first, as in profiles that are made
    order = sorted(range(len(profile)), key=lambda place: -profile[place].weight)
    return Scenario(
        id=f"{problem.id}/{participant}",
        problem=problem,
        persona=Persona(
            id=participant, name=participant, description=ABOUT, type=PERSON, background=plain(remark, LONGEST_REMARK)
        ),
        profile=tuple(profile[place] for place in order),
        rubric=tuple(rubric[place] for place in order),
        provenance={"stated_by": PERSON},
    )


def criterion(offer: Offer, value: str, weight: float) -> Criterion:
    """How the answers are rated on one preference."""
    wanted = offer.labels[value]
    return Criterion(
        attribute=offer.attribute.name,
        description=f"{offer.attribute.description}: {wanted}",
        weight=weight,
        levels={1: f"does the opposite of {wanted}", 3: "does neither, or leaves it out", 5: f"fully {wanted}"},
    )
