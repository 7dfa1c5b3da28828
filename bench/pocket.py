"""The embedded world, turns and gradings a second on one core; the bound for each is 20,000.

    python bench/pocket.py [--quick]

A turn is one answer of the user to a question, with the dialogue so far; a grading is the judge's verdict on one
response: a grade for every preference of the profile, and whether the answer is right. Seconds are processor seconds of
this one thread, so that what else runs on the machine hardly matters. Medians over the repetitions.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from prefdisco.pocket.attributes import DIMENSIONS, GENERIC_PLAN, ask
from prefdisco.pocket.reader import grade, is_correct
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import PocketUser, say
from prefdisco.pocket.writer import Plan, write
from prefdisco.schema import Message, Scenario
from prefdisco.users import POCKET_USERS

BOUND = 20_000  # turns or gradings a second on a core
BUDGET = 5

Response = tuple[Scenario, str]
Turn = tuple[Scenario, list[Message], str]


def responses(people: list[Scenario], rng: random.Random) -> list[Response]:
    """Three responses a scenario: the generic one, the one that follows the profile, and one with a will of its own."""
    written = []
    for scenario in people:
        wanted = {p.attribute: p.value for p in scenario.profile}
        own = {name: rng.choice([*dimension.values]) for name, dimension in DIMENSIONS.items() if rng.random() < 0.3}
        plans: tuple[Plan, ...] = (GENERIC_PLAN, wanted, own)
        written += [(scenario, write(scenario.problem, plan, rng)) for plan in plans]
    return written


def turns(people: list[Scenario], rng: random.Random) -> list[Turn]:
    """The questions of a full dialogue a scenario, each with the dialogue before it; some hit the profile."""
    asked = []
    for scenario in people:
        messages = [Message(role="user", content=scenario.problem.question)]
        for name in rng.sample(sorted(DIMENSIONS), BUDGET):
            question = ask(name, rng.randrange(2))
            asked.append((scenario, list(messages), question))
            preference = scenario.preference(name)
            answer = say(name, preference.value if preference else None, rng.randrange(2**16))
            messages += [Message(role="assistant", content=question), Message(role="user", content=answer)]
    return asked


def grade_all(work: list[Response]) -> None:
    for scenario, text in work:
        grade(scenario.problem, text, scenario.profile)
        is_correct(scenario.problem, text)


def answer_all(user: PocketUser, work: list[Turn]) -> None:
    for seed, (scenario, messages, question) in enumerate(work):
        user.answer(scenario, messages, question, seed)


def rates(work: Callable[[], None], count: int, repetitions: int) -> list[float]:
    """How many of `count` are done a processor second, a repetition each."""
    found = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        found.append(count / (time.process_time() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer scenarios and repetitions")
    options = parser.parse_args()
    people = scenarios("test", 200 if options.quick else 1000)
    repetitions = 3 if options.quick else 9
    rng = random.Random(0)
    read, asked = responses(people, rng), turns(people, rng)
    jobs: list[tuple[str, Callable[[], None], int]] = [
        *((f"turns, {name}", partial(answer_all, PocketUser(name), asked), len(asked)) for name in POCKET_USERS),
        ("gradings", partial(grade_all, read), len(read)),
    ]
    print(f"{'':24}{'a second':>10}{'slowest':>10}{'bound':>8}")
    slow = False
    for name, work, count in jobs:
        work()  # warm up
        found = rates(work, count, repetitions)
        slow |= statistics.median(found) < BOUND
        print(f"{name:24}{statistics.median(found):10.0f}{min(found):10.0f}{BOUND:8}")
    if slow:
        sys.exit(f"below the bound of {BOUND} a second")


if __name__ == "__main__":
    main()
