"""The families whose answer is a name or a thing: argued for directly, or by ruling out the others."""

from __future__ import annotations

import random
from itertools import pairwise

from prefdisco.pocket.tape import NAMES, Facts, Tape


def draw_order(rng: random.Random, d: int) -> Facts:
    chain = rng.sample(NAMES, 4 if d == 3 else 3)
    pairs = [f"{a} beats {b}." for a, b in pairwise(chain)]
    rng.shuffle(pairs)
    return {"chain": chain, "clues": " ".join(pairs), "place": rng.choice(("first", "last")), "people": sorted(chain)}


def solve_order(f: Facts, path: str, t: Tape) -> str:
    chain, people = f["chain"], f["people"]
    answer = t.pick(chain[0] if f["place"] == "first" else chain[-1], people)
    if path == "forward":
        order = [name for name in chain if name != answer]
        order = [answer, *order] if f["place"] == "first" else [*order, answer]
        for a, b in pairwise(order):
            t.say(a, "above", b)
    else:
        for name in chain:
            if name != answer:
                t.say(name, "not", f["place"])
    return answer


_TRAITS = (("hat", "cap"), ("dog", "cat"), ("bike", "car"), ("tea", "milk"))


def draw_elimination(rng: random.Random, d: int) -> Facts:
    """One thing each, all different, and one is sought; at difficulty 3, two things each, and both must be right."""
    people = rng.sample(NAMES, 4 if d == 2 else 3)
    if d < 3:
        has = [[thing] for thing in rng.sample([thing for pair in _TRAITS for thing in pair], len(people))]
    else:
        (a, not_a), (b, not_b) = (rng.sample(pair, 2) for pair in rng.sample(_TRAITS, 2))
        has = [[a, b], [a, not_b], [not_a, b]]
    order = rng.sample(range(len(people)), len(people))
    return {
        "who": people[0],
        "people": sorted(people),
        "order": [people[i] for i in order],
        "wanted": has[0],
        "sought": " and ".join(has[0]),
        "has": dict(zip(people, has, strict=True)),
        "clues": " ".join(f"{people[i]} has {' and '.join(has[i])}." for i in order),
    }


def solve_elimination(f: Facts, path: str, t: Tape) -> str:
    """Search: look at one after the other until someone has it all. Elimination: from the end, who fails is out."""
    answer = t.pick(f["who"], f["people"])
    for name in f["order"] if path == "forward" else reversed(f["order"]):
        lacks = [thing for thing in f["wanted"] if thing not in f["has"][name]] or f["wanted"]
        t.say(name, "has", "/".join(f["wanted"] if name == answer else f["has"][name]))
        if name == answer:
            t.say(name, "meets", "all")
            if path == "forward":
                break
        elif path == "backward":
            t.say(name, "lacks", lacks[0])
    return answer


# place -> (activity, thing)
PLACES = {
    "beach": ("swimming", "towel"),
    "snow": ("sliding", "skis"),
    "kitchen": ("baking", "oven"),
    "lake": ("fishing", "rod"),
    "forest": ("camping", "tent"),
    "desk": ("writing", "pen"),
    "garden": ("digging", "spade"),
    "stage": ("acting", "mask"),
    "road": ("cycling", "helmet"),
    "court": ("tennis", "racket"),
    "workshop": ("sawing", "saw"),
    "school": ("lessons", "book"),
}


def draw_packing(rng: random.Random, d: int) -> Facts:
    places = rng.sample(sorted(PLACES), 2 + d)
    things = [PLACES[p][1] for p in places]
    shown = sorted(things)
    return {
        "who": rng.choice(NAMES),
        "place": places[0],
        "answer": things[0],
        "things": shown,
        "shown": " or ".join(shown),
    }


def solve_packing(f: Facts, path: str, t: Tape) -> str:
    answer = t.pick(f["answer"], f["things"])
    by_thing = {thing: (place, activity) for place, (activity, thing) in PLACES.items()}
    if path == "forward":
        t.say(f["place"], "needs", by_thing[answer][1])
        t.say(by_thing[answer][1], "needs", answer)
    else:
        for thing in f["things"]:
            if thing != answer:
                t.say(thing, "suits", by_thing[thing][0])
    return answer


_SPOTS = ("box", "bag", "jar", "drawer", "basket", "pot")


def draw_beliefs(rng: random.Random, d: int) -> Facts:
    who, other = rng.sample(NAMES, 2)
    spots = rng.sample(_SPOTS, 1 + d + (1 if d == 1 else 0))
    seen = rng.randint(1, len(spots) - 1)  # moves that `who` watched, the first placing included
    thing = rng.choice(("ball", "key", "coin", "ring"))
    story = [f"{other} puts the {thing} in the {spots[0]}."]
    for i, spot in enumerate(spots[1:], 1):
        if i == seen:
            story.append(f"{who} leaves.")
        story.append(f"{other} moves it to the {spot}.")
    return {"who": who, "spots": spots, "seen": seen, "story": " ".join(story), "thing": thing, "shown": sorted(spots)}


def solve_beliefs(f: Facts, path: str, t: Tape) -> str:
    spots, who = f["spots"], f["who"]
    answer = t.pick(spots[f["seen"] - 1], spots)
    at = spots.index(answer)
    if path == "forward":
        for spot in spots[: at + 1]:
            t.say(who, "saw", spot)
        for spot in spots[at + 1 :] or spots[:1]:
            t.say(who, "missed", spot)
    else:
        for spot in reversed(spots[at + 1 :] or spots[:1]):
            t.say(spot, "after", "leaving")
        t.say(answer, "before", "leaving")
    return answer


# hobby -> gifts
GIFTS = {
    "music": ("drum", "flute", "guitar"),
    "sport": ("ball", "racket", "skates"),
    "cooking": ("pan", "apron", "whisk"),
    "reading": ("novel", "lamp", "bookmark"),
    "painting": ("brush", "easel", "canvas"),
    "gardening": ("spade", "seeds", "gloves"),
    "travel": ("map", "suitcase", "compass"),
    "sewing": ("needle", "thread", "scissors"),
}


def draw_gifts(rng: random.Random, d: int) -> Facts:
    hobbies = rng.sample(sorted(GIFTS), 2 + d)
    gifts = {rng.choice(GIFTS[hobby]): hobby for hobby in hobbies}
    while len(gifts) < len(hobbies):  # "racket" cannot come twice, but stay safe if the table grows
        gifts = {rng.choice(GIFTS[hobby]): hobby for hobby in hobbies}
    shown = sorted(gifts)
    return {"who": rng.choice(NAMES), "likes": hobbies[0], "gifts": gifts, "things": shown, "shown": " or ".join(shown)}


def solve_gifts(f: Facts, path: str, t: Tape) -> str:
    right = next(gift for gift, hobby in f["gifts"].items() if hobby == f["likes"])
    answer = t.pick(right, f["things"])
    if path == "forward":
        t.say(f["who"], "likes", f["likes"])
        t.say(answer, "of", f["likes"])
    else:
        for gift in f["things"]:
            if gift != answer:
                t.say(gift, "suits", f["gifts"][gift])
    return answer
