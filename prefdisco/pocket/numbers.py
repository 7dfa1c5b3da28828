"""The families whose answer is a number: facts are drawn at a difficulty 1..3, and worked out forward or backward."""

from __future__ import annotations

import random

from prefdisco.pocket.tape import NAMES, Facts, Tape

_TOP = {1: 9, 2: 15, 3: 24}


def draw_change(rng: random.Random, d: int) -> Facts:
    a, b = rng.randint(3, _TOP[d]), rng.randint(3, _TOP[d])
    return {"who": rng.choice(NAMES), "a": a, "b": b, "paid": a + b + rng.randint(1, 20)}


def solve_change(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(f["paid"], t.add(f["a"], f["b"])))
    return str(t.sub(t.sub(f["paid"], f["a"]), f["b"]))


def draw_ages(rng: random.Random, d: int) -> Facts:
    who, other = rng.sample(NAMES, 2)
    years = rng.randint(2, 3 + 3 * d)
    return {
        "who": who,
        "other": other,
        "gap": rng.randint(2, 4 * d),
        "years": years,
        "then": years + rng.randint(3, _TOP[d]),
    }


def solve_ages(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.add(t.sub(f["then"], f["years"]), f["gap"]))
    return str(t.sub(t.add(f["then"], f["gap"]), f["years"]))


def draw_rates(rng: random.Random, d: int) -> Facts:
    return {"who": rng.choice(NAMES), "speed": rng.randint(2, 3 + 2 * d), "hours": 3, "more": rng.randint(2, 5 * d)}


def solve_rates(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.add(t.mul(f["speed"], f["hours"]), f["more"]))
    return str(t.add(t.add(t.add(f["more"], f["speed"]), f["speed"]), f["speed"]))


def draw_mixture(rng: random.Random, d: int) -> Facts:
    low = rng.randint(4, 4 + 6 * d)
    return {"who": rng.choice(NAMES), "low": low, "high": low + 2 * rng.randint(1, 4 * d)}


def solve_mixture(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.div(t.add(f["low"], f["high"]), 2))
    return str(t.add(f["low"], t.div(t.sub(f["high"], f["low"]), 2)))


def draw_pressure(rng: random.Random, d: int) -> Facts:
    start = rng.randint(3, 3 + 2 * d)
    return {"who": rng.choice(NAMES), "start": start, "times": 3, "lost": rng.randint(2, min(3 * start - 1, 4 * d))}


def solve_pressure(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(t.mul(f["start"], f["times"]), f["lost"]))
    return str(t.sub(t.add(t.add(f["start"], f["start"]), f["start"]), f["lost"]))


def draw_circuits(rng: random.Random, d: int) -> Facts:
    a, b = rng.randint(2, 3 + 2 * d), rng.randint(2, 3 + 2 * d)
    return {"who": rng.choice(NAMES), "a": a, "b": b, "amp": rng.randint(2, 2 + d)}


def solve_circuits(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.mul(t.add(f["a"], f["b"]), f["amp"]))
    left = t.mul(f["a"], f["amp"])
    return str(t.add(left, t.mul(f["b"], f["amp"])))


def draw_schedule(rng: random.Random, d: int) -> Facts:
    a, b = rng.randint(2, 3 + 2 * d), rng.randint(2, 3 + 2 * d)
    return {"who": rng.choice(NAMES), "end": a + b + rng.randint(1, 15), "a": a, "b": b}


def solve_schedule(f: Facts, path: str, t: Tape) -> str:
    if path == "forward":
        return str(t.sub(f["end"], t.add(f["a"], f["b"])))
    return str(t.sub(t.sub(f["end"], f["b"]), f["a"]))
