"""One look ahead of the exact belief, milliseconds on one core: what each answer to each question leaves to be gained.

    python bench/beliefs.py [--quick]

Together: as `lookahead` does it, all answers to a question and all next questions in one array operation. One by one:
the belief after every answer, and its gains. The same numbers either way; beliefs after 0 to 4 answers, as they come in
a dialogue. Seconds are processor seconds of this one thread. Medians over the repetitions.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

from prefdisco.elicitation import lookahead, worth
from prefdisco.pocket.belief import Belief, belief
from prefdisco.pocket.scenarios import scenarios
from prefdisco.schema import Scenario

BUDGET = 5
SAME = 1e-9  # alignment points

Dialogue = tuple[Scenario, list[str]]


def dialogues(count: int, rng: random.Random) -> list[Dialogue]:
    """Scenarios, each with the attributes asked about so far."""
    return [
        (scenario, rng.sample(belief(scenario).candidates, number % BUDGET))
        for number, scenario in enumerate(scenarios("test", count))
    ]


def heard(dialogue: Dialogue) -> Belief:
    """The belief after the truthful answers."""
    scenario, asked = dialogue
    known = belief(scenario)
    for attribute in asked:
        preference = scenario.preference(attribute)
        known = known.answer(attribute, preference.value if preference else None)
    return fresh(known)


def fresh(known: Belief) -> Belief:
    """The same belief, which has computed nothing yet."""
    return Belief(known._law, known.answered, known._joint, known.key)


def together(known: Belief) -> dict[str, float]:
    return lookahead(known, 0.0, 2)


def one_by_one(known: Belief) -> dict[str, float]:
    values = known.gains()
    for attribute in values:
        for chance, value in known.outcomes(attribute):
            if chance > SAME:
                values[attribute] += chance * worth(fresh(known.answer(attribute, value)).gains(), 0.0, 1)
    return values


def measure(look: Callable[[Belief], dict[str, float]], work: list[Dialogue], repetitions: int) -> float:
    """Median milliseconds a look."""
    found = []
    for _ in range(repetitions):
        beliefs = [heard(dialogue) for dialogue in work]
        start = time.process_time()
        for known in beliefs:
            look(known)
        found.append(1000 * (time.process_time() - start) / len(work))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer beliefs, one repetition")
    options = parser.parse_args()
    work = dialogues(20 if options.quick else 100, random.Random(0))
    for dialogue in work:  # warm up, and check
        a, b = together(heard(dialogue)), one_by_one(heard(dialogue))
        assert a.keys() == b.keys() and all(abs(a[name] - b[name]) < SAME for name in a), dialogue
    repetitions = 1 if options.quick else 5
    times = {"one by one": measure(one_by_one, work, repetitions), "together": measure(together, work, repetitions)}
    print(f"{'':12}{'ms':>8}{'ratio':>8}")
    for name, value in times.items():
        print(f"{name:12}{value:8.2f}{times['one by one'] / value:8.1f}")


if __name__ == "__main__":
    main()
