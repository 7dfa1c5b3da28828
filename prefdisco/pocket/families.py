"""The twelve problem families: what is asked, and two genuinely different ways to solve it.

A family draws its facts, words the question, and derives the answer on a `Tape` that records the steps. A tape can be
told to slip once: the wrong intermediate result is then carried on, as people do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from prefdisco.hashing import digest
from prefdisco.schema import Problem

NAMES = (
    "Ann",
    "Bob",
    "Cid",
    "Dora",
    "Eva",
    "Finn",
    "Gus",
    "Hana",
    "Ivo",
    "Jill",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Ola",
    "Pia",
)
# op -> (symbol, word)
OPS: dict[str, tuple[str, str]] = {
    "add": ("+", "plus"),
    "sub": ("-", "minus"),
    "mul": ("*", "times"),
    "div": ("/", "over"),
    "above": (">", "beats"),
    "not": ("!=", "is not"),
    "has": ("&", "has"),
    "lacks": ("!&", "lacks"),
    "needs": ("->", "calls for"),
    "suits": ("~", "suits"),
    "saw": ("@", "saw"),
    "missed": ("!@", "missed"),
    "after": (">>", "came after"),
    "before": ("<<", "came before"),
    "likes": ("<3", "likes"),
    "of": (":", "belongs to"),
}


class Step(NamedTuple):
    """`a op b = result`; relations have no result."""

    a: str
    op: str
    b: str
    result: str = ""


class Tape:
    """Records the steps of one derivation; with `slip` set, the result of that step (0-based) comes out wrong."""

    def __init__(self, slip: int | None = None, rng: random.Random | None = None) -> None:
        self.steps: list[Step] = []
        self._slip, self._rng = slip, rng or random.Random(0)

    def _number(self, a: int, op: str, b: int, result: int) -> int:
        if self._slip == len(self.steps):
            wrong = {result + delta for delta in (-10, -2, -1, 1, 2, 10)}
            result = self._rng.choice(sorted(value for value in wrong if value > 0))
        self.steps.append(Step(str(a), op, str(b), str(result)))
        return result

    def add(self, a: int, b: int) -> int:
        return self._number(a, "add", b, a + b)

    def sub(self, a: int, b: int) -> int:
        return self._number(a, "sub", b, a - b)

    def mul(self, a: int, b: int) -> int:
        return self._number(a, "mul", b, a * b)

    def div(self, a: int, b: int) -> int:
        return self._number(a, "div", b, a // b)

    def say(self, a: str, op: str, b: str) -> None:
        self.steps.append(Step(a, op, b))

    def pick(self, answer: str, others: Sequence[str]) -> str:
        """The answer, or on a slip another option; the steps that follow then argue for it."""
        if self._slip is None:
            return answer
        return self._rng.choice([other for other in others if other != answer])


Facts = dict[str, Any]


class Family(NamedTuple):
    """`draw` makes facts at a difficulty 1..3, `word` lists the wordings, `derive` solves along a path."""

    domain: str
    draw: Callable[[random.Random, int], Facts]
    word: tuple[str, ...]
    derive: Callable[[Facts, str, Tape], str]
    principle: str
    example: str
    slips: tuple[int, int]  # number of steps that can slip, forward and backward


_TOP = {1: 12, 2: 30, 3: 48}


def _change_draw(rng: random.Random, d: int) -> Facts:
    a, b = rng.randint(3, _TOP[d]), rng.randint(3, _TOP[d])
    return {"who": rng.choice(NAMES), "a": a, "b": b, "paid": a + b + rng.randint(1, max(2, 99 - a - b))}


def _change(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(f["paid"], t.add(f["a"], f["b"])))
    return str(t.sub(t.sub(f["paid"], f["a"]), f["b"]))


def _ages_draw(rng: random.Random, d: int) -> Facts:
    who, other = rng.sample(NAMES, 2)
    years = rng.randint(2, 4 + 4 * d)
    return {
        "who": who,
        "other": other,
        "gap": rng.randint(2, 6 * d),
        "years": years,
        "then": years + rng.randint(3, _TOP[d]),
    }


def _ages(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.add(t.sub(f["then"], f["years"]), f["gap"]))
    return str(t.sub(t.add(f["then"], f["gap"]), f["years"]))


def _rates_draw(rng: random.Random, d: int) -> Facts:
    return {"speed": rng.randint(2, 4 + 5 * d), "hours": 3, "more": rng.randint(2, 10 * d)}


def _rates(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.add(t.mul(f["speed"], f["hours"]), f["more"]))
    return str(t.add(t.add(t.add(f["more"], f["speed"]), f["speed"]), f["speed"]))


def _mixture_draw(rng: random.Random, d: int) -> Facts:
    low = rng.randint(4, 15 * d)
    return {"low": low, "high": low + 2 * rng.randint(1, 8 * d)}


def _mixture(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.div(t.add(f["low"], f["high"]), 2))
    return str(t.add(f["low"], t.div(t.sub(f["high"], f["low"]), 2)))


def _pressure_draw(rng: random.Random, d: int) -> Facts:
    start = rng.randint(3, 5 + 6 * d)
    return {"start": start, "times": 3, "lost": rng.randint(2, min(3 * start - 1, 9 * d))}


def _pressure(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(t.mul(f["start"], f["times"]), f["lost"]))
    return str(t.sub(t.add(t.add(f["start"], f["start"]), f["start"]), f["lost"]))


def _circuits_draw(rng: random.Random, d: int) -> Facts:
    return {"a": rng.randint(2, 3 + 3 * d), "b": rng.randint(2, 3 + 3 * d), "amp": rng.randint(2, 2 + d)}


def _circuits(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.mul(t.add(f["a"], f["b"]), f["amp"]))
    left = t.mul(f["a"], f["amp"])
    return str(t.add(left, t.mul(f["b"], f["amp"])))


def _order_draw(rng: random.Random, d: int) -> Facts:
    chain = rng.sample(NAMES, 2 + d)
    pairs = [f"{a} beats {b}." for a, b in zip(chain, chain[1:], strict=False)]
    rng.shuffle(pairs)
    return {"chain": chain, "clues": " ".join(pairs), "place": rng.choice(("first", "last")), "people": sorted(chain)}


def _order(f: Facts, path: str, t: Tape) -> str:
    chain, people = f["chain"], f["people"]
    answer = t.pick(chain[0] if f["place"] == "first" else chain[-1], people)
    if path == "forward":
        order = [name for name in chain if name != answer]
        order = [answer, *order] if f["place"] == "first" else [*order, answer]
        for a, b in zip(order, order[1:], strict=False):
            t.say(a, "above", b)
    else:
        for name in chain:
            if name != answer:
                t.say(name, "not", f["place"])
    return answer


_TRAITS = (("hat", "cap"), ("dog", "cat"), ("bike", "car"), ("tea", "milk"))


def _elimination_draw(rng: random.Random, d: int) -> Facts:
    traits = rng.sample(_TRAITS, 2)
    wanted = [rng.choice(pair) for pair in traits]
    flip = [next(x for x in pair if x != want) for pair, want in zip(traits, wanted, strict=True)]
    people = rng.sample(NAMES, 2 + d)
    near = [[wanted[0], flip[1]], [flip[0], wanted[1]], [flip[0], flip[1]]]
    has = [wanted, *[near[i] if i < 2 else rng.choice(near) for i in range(1 + d)]]
    order = list(range(len(people)))
    rng.shuffle(order)
    clues = " ".join(f"{people[i]} has {has[i][0]} and {has[i][1]}." for i in order)
    return {
        "who": people[0],
        "people": sorted(people),
        "order": [people[i] for i in order],
        "wanted": wanted,
        "has": dict(zip(people, has, strict=True)),
        "clues": clues,
    }


def _elimination(f: Facts, path: str, t: Tape) -> str:
    answer = t.pick(f["who"], f["people"])
    if path == "forward":
        for thing in f["wanted"]:
            t.say(answer, "has", thing)
    else:
        for name in f["order"]:
            if name != answer:
                lacking = [thing for thing in f["wanted"] if thing not in f["has"][name]]
                t.say(name, "lacks", lacking[0] if lacking else f["wanted"][0])
    return answer


def _schedule_draw(rng: random.Random, d: int) -> Facts:
    a, b = rng.randint(1, 2 + 2 * d), rng.randint(1, 2 + 2 * d)
    return {"who": rng.choice(NAMES), "end": rng.randint(a + b + 1, 23 + 9 * (d - 1)), "a": a, "b": b}


def _schedule(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(f["end"], t.add(f["a"], f["b"])))
    return str(t.sub(t.sub(f["end"], f["b"]), f["a"]))


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


def _packing_draw(rng: random.Random, d: int) -> Facts:
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


def _packing(f: Facts, path: str, t: Tape) -> str:
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


def _beliefs_draw(rng: random.Random, d: int) -> Facts:
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


def _beliefs(f: Facts, path: str, t: Tape) -> str:
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


def _gifts_draw(rng: random.Random, d: int) -> Facts:
    hobbies = rng.sample(sorted(GIFTS), 2 + d)
    gifts = {rng.choice(GIFTS[hobby]): hobby for hobby in hobbies}
    while len(gifts) < len(hobbies):  # "racket" cannot come twice, but stay safe if the table grows
        gifts = {rng.choice(GIFTS[hobby]): hobby for hobby in hobbies}
    shown = sorted(gifts)
    return {"who": rng.choice(NAMES), "likes": hobbies[0], "gifts": gifts, "things": shown, "shown": " or ".join(shown)}


def _gifts(f: Facts, path: str, t: Tape) -> str:
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


FAMILIES: dict[str, Family] = {
    "change": Family(
        "math",
        _change_draw,
        (
            "{who} buys a pen for {a} and a book for {b} and pays {paid}. How much change is due?",
            "A cap costs {a}, a bag costs {b}. {who} pays {paid}. What is the change?",
        ),
        _change,
        "what is left is what was paid less what was spent",
        "10 paid and 7 spent leaves 3",
        (2, 2),
    ),
    "ages": Family(
        "math",
        _ages_draw,
        (
            "{who} is {gap} years older than {other}. In {years} years {other} is {then}. How old is {who} now?",
            "In {years} years {other} is {then}. {who} is {gap} years older. What is the age of {who} today?",
        ),
        _ages,
        "an age gap never changes",
        "9 and 5 are 4 apart for ever",
        (2, 2),
    ),
    "rates": Family(
        "math",
        _rates_draw,
        (
            "A bus goes {speed} km in each of {hours} hours, then {more} km more. How far is that?",
            "A tap gives {speed} liters in each of {hours} hours, then {more} liters more. How much in all?",
        ),
        _rates,
        "an amount grows with rate and with time",
        "2 an hour for 4 hours makes 8",
        (2, 3),
    ),
    "mixture": Family(
        "science",
        _mixture_draw,
        (
            "Equal cups of water at {low} and {high} degrees are mixed. How warm is the mix?",
            "A cup at {low} degrees meets an equal cup at {high} degrees. What is the temperature?",
        ),
        _mixture,
        "equal parts meet in the middle",
        "2 and 6 meet at 4",
        (2, 3),
    ),
    "pressure": Family(
        "science",
        _pressure_draw,
        (
            "A gas at {start} bar is squeezed to {times} times the pressure, then loses {lost} bar. What is the pressure?",
            "Air at {start} bar is pressed to {times} times that, then leaks {lost} bar. What is left?",
        ),
        _pressure,
        "less room means more pressure",
        "2 bar in half the room become 4 bar",
        (2, 3),
    ),
    "circuits": Family(
        "science",
        _circuits_draw,
        (
            "Resistors of {a} and {b} ohm in series carry {amp} ampere. What is the voltage?",
            "{amp} ampere flow through {a} ohm and then {b} ohm. How many volt is that?",
        ),
        _circuits,
        "voltage grows with current and with resistance",
        "2 ampere in 3 ohm make 6 volt",
        (2, 3),
    ),
    "order": Family(
        "logic",
        _order_draw,
        ("{clues} Who comes {place}?", "In a race: {clues} Who is {place}?"),
        _order,
        "winning passes on along a chain",
        "if A leads B and B leads C then A leads C",
        (1, 1),
    ),
    "elimination": Family(
        "logic",
        _elimination_draw,
        (
            "{clues} The one we seek has {wanted[0]} and {wanted[1]}. Who is it?",
            "We seek someone with {wanted[0]} and {wanted[1]}. {clues} Who is it?",
        ),
        _elimination,
        "who fails one clue is out",
        "no hat means out if a hat is sought",
        (1, 1),
    ),
    "schedule": Family(
        "commonsense",
        _schedule_draw,
        (
            "A show starts at hour {end}. Dinner takes {a} hours and the way {b} hours. When must {who} start?",
            "{who} must be there at hour {end}. Packing takes {a} hours, the ride {b}. When to begin?",
        ),
        _schedule,
        "count the time needed off the time fixed",
        "2 hours before 9 is 7",
        (2, 2),
    ),
    "packing": Family(
        "commonsense",
        _packing_draw,
        ("{who} goes to the {place}. What to take: {shown}?", "For the {place}, should {who} pack {shown}?"),
        _packing,
        "a place asks for what is done there",
        "rain asks for a coat",
        (1, 1),
    ),
    "beliefs": Family(
        "social",
        _beliefs_draw,
        ("{story} Where will {who} look for the {thing}?", "{story} Where does {who} think the {thing} is?"),
        _beliefs,
        "people act on what they saw",
        "who left early knows only the start",
        (1, 1),
    ),
    "gifts": Family(
        "social",
        _gifts_draw,
        (
            "{who} likes {likes}. Which gift is best: {shown}?",
            "Who likes {likes} gets which gift: {shown}? It is for {who}.",
        ),
        _gifts,
        "a gift should match what someone likes",
        "a reader is glad of a book",
        (1, 1),
    ),
}
HELD_OUT_FAMILIES = ("rates", "pressure", "packing")


def draw_problem(family: str, rng: random.Random, difficulty: int) -> Problem:
    """A problem of a family; its id is made of its question, so equal questions are equal problems."""
    spec = FAMILIES[family]
    facts = spec.draw(rng, difficulty)
    question = rng.choice(spec.word).format(**facts)
    return Problem(
        id=f"{family}-{digest(question)}",
        task="pocket",
        domain=spec.domain,
        family=family,
        difficulty=difficulty,
        question=question,
        answer=spec.derive(facts, "forward", Tape()),
        source=facts,
    )


def derive(problem: Problem, path: str, slip: random.Random | None = None) -> tuple[str, list[Step]]:
    """Answer and steps along `path`; with a random source `slip`, one step goes wrong and the rest follows from it."""
    spec = FAMILIES[problem.family or ""]
    steps = spec.slips[path == "backward"]
    tape = Tape(slip.randrange(steps) if slip else None, slip)
    return spec.derive(problem.source, path, tape), tape.steps
