"""The twelve problem families: what is asked, and two genuinely different ways to solve it.

A family draws its facts, words the question, and derives the answer on a `Tape` that records the steps. A tape can be
told to slip once: the wrong intermediate result is then carried on, as people do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from prefdisco.hashing import digest
from prefdisco.pocket import numbers, relations
from prefdisco.pocket.tape import Facts, Step, Tape
from prefdisco.schema import Problem


class Family(NamedTuple):
    """`draw` makes facts at a difficulty 1..3, `word` lists the wordings, `derive` solves along a path."""

    domain: str
    draw: Callable[[random.Random, int], Facts]
    word: tuple[str, ...]
    derive: Callable[[Facts, str, Tape], str]
    principle: str
    example: str
    slips: tuple[int, int]  # number of steps that can slip, forward and backward


FAMILIES: dict[str, Family] = {
    "change": Family(
        "math",
        numbers.draw_change,
        (
            "{who} buys a pen for {a} and a book for {b} and pays {paid}. How much change is due?",
            "A cap costs {a}, a bag costs {b}. {who} pays {paid}. What is the change?",
        ),
        numbers.solve_change,
        "what is left is what was paid less what was spent",
        "10 paid and 7 spent leaves 3",
        (2, 2),
    ),
    "ages": Family(
        "math",
        numbers.draw_ages,
        (
            "{who} is {gap} years older than {other}. In {years} years {other} is {then}. How old is {who} now?",
            "In {years} years {other} is {then}. {who} is {gap} years older. What is the age of {who} today?",
        ),
        numbers.solve_ages,
        "an age gap never changes",
        "9 and 5 are 4 apart for ever",
        (2, 2),
    ),
    "rates": Family(
        "math",
        numbers.draw_rates,
        (
            "{who} rides {speed} km in each of {hours} hours, then {more} km more. How far is that?",
            "{who} gets {speed} liters in each of {hours} hours, then {more} liters more. How much in all?",
        ),
        numbers.solve_rates,
        "an amount grows with rate and with time",
        "2 an hour for 4 hours makes 8",
        (2, 3),
    ),
    "mixture": Family(
        "science",
        numbers.draw_mixture,
        (
            "{who} mixes equal cups of water at {low} and {high} degrees. How warm is the mix?",
            "{who} pours a cup at {low} degrees to an equal cup at {high} degrees. What is the temperature?",
        ),
        numbers.solve_mixture,
        "equal parts meet in the middle",
        "2 and 6 meet at 4",
        (2, 3),
    ),
    "pressure": Family(
        "science",
        numbers.draw_pressure,
        (
            "{who} squeezes a gas at {start} bar to {times} times that. It loses {lost} bar. What is the pressure?",
            "{who} presses air at {start} bar to {times} times that. It leaks {lost} bar. What is left?",
        ),
        numbers.solve_pressure,
        "less room means more pressure",
        "2 bar in half the room become 4 bar",
        (2, 3),
    ),
    "circuits": Family(
        "science",
        numbers.draw_circuits,
        (
            "{who} has resistors of {a} and {b} ohm in series at {amp} ampere. What is the voltage?",
            "{who} sends {amp} ampere through {a} ohm and then {b} ohm. How many volt is that?",
        ),
        numbers.solve_circuits,
        "voltage grows with current and with resistance",
        "2 ampere in 3 ohm make 6 volt",
        (2, 3),
    ),
    "order": Family(
        "logic",
        relations.draw_order,
        ("{clues} Who comes {place}?", "In a race: {clues} Who is {place}?"),
        relations.solve_order,
        "winning passes on along a chain",
        "if A leads B and B leads C then A leads C",
        (1, 1),
    ),
    "elimination": Family(
        "logic",
        relations.draw_elimination,
        (
            "{clues} The one we seek has {sought}. Who is it?",
            "We seek someone with {sought}. {clues} Who is it?",
        ),
        relations.solve_elimination,
        "who fails one clue is out",
        "no hat means out if a hat is sought",
        (1, 1),
    ),
    "schedule": Family(
        "commonsense",
        numbers.draw_schedule,
        (
            "A show starts at hour {end}. Dinner takes {a} hours and the way {b} hours. When must {who} start?",
            "{who} must be there at hour {end}. Packing takes {a} hours, the ride {b}. When to begin?",
        ),
        numbers.solve_schedule,
        "count the time needed off the time fixed",
        "2 hours before 9 is 7",
        (2, 2),
    ),
    "packing": Family(
        "commonsense",
        relations.draw_packing,
        ("{who} goes to the {place}. What to take: {shown}?", "For the {place}, should {who} pack {shown}?"),
        relations.solve_packing,
        "a place asks for what is done there",
        "rain asks for a coat",
        (1, 1),
    ),
    "beliefs": Family(
        "social",
        relations.draw_beliefs,
        ("{story} Where will {who} look for the {thing}?", "{story} Where does {who} think the {thing} is?"),
        relations.solve_beliefs,
        "people act on what they saw",
        "who left early knows only the start",
        (1, 1),
    ),
    "gifts": Family(
        "social",
        relations.draw_gifts,
        (
            "{who} likes {likes}. Which gift is best: {shown}?",
            "Who likes {likes} gets which gift: {shown}? It is for {who}.",
        ),
        relations.solve_gifts,
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
