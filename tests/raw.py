"""The numbers of a report once more, from the lines of `episodes.jsonl` alone: plain Python over dictionaries, nothing
of the package. And runs to make them of."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Raw = dict[str, Any]
Interval = tuple[float, float, float] | None  # mean, low, high
POCKET = {"tone": "presentation", "order": "presentation", "path": "reasoning", "granularity": "reasoning"}
OTHER = {"jargon & co": "expertise", "length_|x|": "presentation", "=pace": "personal"}
QUESTIONS = {"tone": "Formal, casual or playful?", "order": "Answer first or last?", "path": "Forward or backward?"}
IDLE = "Can you restate the problem?"
FINAL = "Please give your final answer now."


def write_run(folder: Path, seed: int, problems: int = 12, tasks: Sequence[str] = ("pocket", "math500")) -> Path:
    """A run of random episodes, two people a problem, with an error, an episode that is missing, and all there is to
    say of a dialogue. Runs of other seeds have the same people and other grades."""
    people, play = random.Random(99), random.Random(seed)
    lines = []
    for number in range(problems):
        task = tasks[number % len(tasks)]
        kinds = POCKET if task == "pocket" else OTHER
        for person in ("ann", "bob"):
            names = people.sample(sorted(kinds), 3)
            weights = dict(zip(names, people.choice([(0.5, 0.3, 0.2), (0.4, 0.4, 0.2)]), strict=True))
            for condition in ("baseline", "discovery", "oracle"):
                if (number, person, condition) == (3, "bob", "oracle"):
                    continue
                failed = (number, person, condition) == (4, "ann", "discovery")
                lines.append(_episode(play, number, person, condition, task, kinds, weights, seed, failed))
    folder.mkdir(parents=True)
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _episode(
    play: random.Random,
    number: int,
    person: str,
    condition: str,
    task: str,
    kinds: dict[str, str],
    weights: dict[str, float],
    seed: int,
    failed: bool,
) -> Raw:
    scores = {"baseline": (1, 3, 3, 5), "discovery": (1, 3, 5, 5), "oracle": (3, 5, 5, 5)}[condition]
    grades = {name: play.choice(scores) for name in weights}
    questions = []
    for _ in range(play.randint(0, 4) if condition == "discovery" else 0):
        text, about = play.choice([(IDLE, None), *((text, name) for name, text in QUESTIONS.items())])
        revealed = about if about in weights and play.random() < 0.7 else None
        if task != "pocket":
            revealed = play.choice([None, *weights])
        questions.append({"text": text, "answer": "!", "revealed": revealed})
    ended = FINAL if condition == "discovery" and play.random() < 0.4 else "Either."
    return {
        "scenario_id": f"problem{number}/{person}",
        "problem_id": f"problem{number}",
        "persona_id": person,
        "condition": condition,
        "seed": 0,
        "task": task,
        "domain": ("math", "logic")[number % 2],
        "family": ("ages", "order", "gifts")[number % 3],
        "messages": [{"role": "user", "content": "A task."}, {"role": "user", "content": ended}],
        "questions": questions,
        "correct": None if failed else play.random() < 0.7,
        "alignment": None if failed else sum(weights[name] * grade for name, grade in grades.items()),
        "grades": [] if failed else [{"attribute": name, "score": grade} for name, grade in grades.items()],
        "weights": weights,
        "kinds": {name: kinds[name] for name in weights},
        "error": "Timeout" if failed else None,
    }


def read(folder: Path) -> list[Raw]:
    """The episodes without error of a run folder."""
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    return [line for line in lines if line["error"] is None]


def pairs(episodes: Iterable[Raw], *conditions: str) -> list[list[Raw]]:
    """The episodes of every scenario that has all of these conditions."""
    found: dict[tuple[str, int], dict[str, Raw]] = {}
    for each in episodes:
        found.setdefault((each["scenario_id"], each["seed"]), {})[each["condition"]] = each
    return [[group[name] for name in conditions] for group in found.values() if all(c in group for c in conditions)]


def interval(
    drawn_from: Iterable[str],
    rows: Sequence[tuple[str, tuple[float, ...]]],
    figure: Callable[[Sequence[float]], float],
) -> Interval:
    """A figure of column sums, with the interval of 1,000 draws of whole problems; `rows` are (problem, columns).

    The 2.5% at each end are moved out to what Student's interval would be for so many problems.
    """
    if not rows:
        return None
    names = sorted(set(drawn_from))
    sums = {name: [0.0] * len(rows[0][1]) for name in names}
    for name, columns in rows:
        sums[name] = [a + b for a, b in zip(sums[name], columns, strict=True)]

    def of(chosen: Iterable[str]) -> float | None:
        total = [sum(column) for column in zip(*(sums[name] for name in chosen), strict=True)]
        try:
            return figure(total)
        except ZeroDivisionError:
            return None

    point = of(names)
    if point is None:
        return None
    draws = np.random.default_rng(0).integers(0, len(names), size=(1000, len(names))).tolist()
    values = sorted(value for draw in draws if (value := of(names[place] for place in draw)) is not None)
    size = len({name for name, _ in rows})
    tail = stats.norm.cdf(-((size / (size - 1)) ** 0.5) * stats.t.ppf(0.975, size - 1)) if size > 1 else 0.025
    return point, quantile(values, tail), quantile(values, 1 - tail)


def quantile(values: Sequence[float], share: float) -> float:
    """By linear interpolation between order statistics."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def quotient(total: Sequence[float]) -> float:
    return total[0] / total[1]


def normalized_of(total: Sequence[float]) -> float:
    if abs(total[1] - total[0]) < 1e-9:
        raise ZeroDivisionError
    return 100 * (total[2] - total[0]) / (total[1] - total[0])


def terms(what: str, condition: str, episodes: Sequence[Raw]) -> list[tuple[str, tuple[float, ...]]]:
    """(problem, what is summed) of each scenario for one of the measures."""
    if what == "normalized":
        found = pairs(episodes, "baseline", "oracle", condition)
        return [(own[0]["problem_id"], tuple(each["alignment"] for each in own)) for own in found]
    if what == "negative":
        found = pairs(episodes, "baseline", condition)
        return [(a["problem_id"], (float(b["alignment"] < a["alignment"] - 1e-9), 1.0)) for a, b in found]
    values = {
        "accuracy": lambda e: float(e["correct"]),
        "alignment": lambda e: e["alignment"],
        "questions": lambda e: float(len(e["questions"])),
    }
    return [(e["problem_id"], (values[what](e), 1.0)) for e in episodes if e["condition"] == condition]


def measured(what: str, condition: str, episodes: Sequence[Raw], least: int = 3) -> Interval:
    """One of the measures over these episodes, None where it would rest on fewer than `least` problems."""
    rows = terms(what, condition, episodes)
    if len({problem for problem, _ in rows}) < least:
        return None
    return interval((e["problem_id"] for e in episodes), rows, normalized_of if what == "normalized" else quotient)


def of_kind(episodes: Sequence[Raw], kind: str) -> list[Raw]:
    """The episodes with the alignment of the criteria of one kind."""
    found = []
    for each in episodes:
        weights = {name: weight for name, weight in each["weights"].items() if each["kinds"][name] == kind}
        if weights:
            grades = {grade["attribute"]: grade["score"] for grade in each["grades"]}
            total = sum(weight * grades[name] for name, weight in weights.items())
            found.append({**each, "alignment": total / sum(weights.values())})
    return found


def about(question: Raw) -> str | None:
    return next((name for name, text in QUESTIONS.items() if text == question["text"]), None)


def scores(episode: Raw) -> dict[str, int]:
    return {grade["attribute"]: grade["score"] for grade in episode["grades"]}


def shown_signatures(own: Raw, base: Raw | None, best: Raw | None) -> dict[str, bool | None]:
    """Each signature of one discovery episode, by the words of docs/report.md."""
    told = {question["revealed"] for question in own["questions"]} & set(own["weights"])
    vain = sum(question["revealed"] is None for question in own["questions"])
    loop: bool | None = False if vain < 2 else None
    if own["task"] == "pocket":
        loop = sum(about(question) is None for question in own["questions"]) >= 2
    over = fixed = None
    if base is not None:
        before, after = scores(base), scores(own)
        spoilt = any(before[name] == 5 and after[name] < 5 for name in before)
        over = own["alignment"] < base["alignment"] - 1e-9 and spoilt
        open_ones = [name for name in told if before[name] < 5]
        fixed = bool(open_ones) and not any(after[name] > before[name] for name in open_ones)
    ended = own["messages"][-1]["content"].endswith(FINAL)
    short = not ended and sum(own["weights"][name] for name in told) < 0.5 - 1e-9
    early: bool | None = False
    if short:
        early = None if best is None else own["alignment"] < best["alignment"] - 1e-9
    found = {
        "over-correction": over,
        "task-clarification loop": loop,
        "pathway fixation": fixed if told else False,
        "premature termination": early,
    }
    seen = True if any(found.values()) else None if None in found.values() else False
    return {**found, "any of them": seen}
