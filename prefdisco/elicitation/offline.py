"""Belief models and question policies measured without a language model: what `prefdisco elicit` does.

Beliefs are learned from training scenarios; a policy interviews the people of the test scenarios, who answer
truthfully. Every figure is a ratio of two sums over people, so that its interval comes from the same draws.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prefdisco.bootstrap import Bootstrap, Estimate
from prefdisco.config import ElicitConfig
from prefdisco.elicitation.grades import NEUTRAL, Grade, level
from prefdisco.elicitation.policies import (
    WORTHLESS,
    Answered,
    Belief,
    BeliefFactory,
    Policy,
    get_policy,
    interview,
    replay,
)
from prefdisco.files import atomic_write, claim, lock
from prefdisco.hashing import digest
from prefdisco.metrics import Ceiling
from prefdisco.scenarios import ceiling_of, load_scenarios
from prefdisco.schema import DataError, Preference, Scenario, to_json
from prefdisco.users import is_pocket
from prefdisco.world import belief_of, grade_of

FIGURES, PAGE = "elicitation.json", "report.md"
Parts = dict[str, tuple[float, float]]  # figure -> (numerator, denominator) of one person


def run_elicitation(config: ElicitConfig) -> dict[str, Any]:
    """Evaluate as configured; writes figures and page into the run folder and prints the table.

    Raises ConfigError, DataError or RunError, each of one line.
    """
    from prefdisco.report.elicitation import page, table

    test = load_scenarios(config.test, config.limit)
    loaded = load_scenarios(config.train, config.train_limit, config.seed)
    training = strangers(loaded, test, config)
    names = list(dict.fromkeys((["exact"] if is_pocket(test) else []) + list(config.beliefs)))
    factories = [belief_of(name, test, training, "beliefs") for name in names]
    folder = Path(config.run or f"runs/elicit-{digest(to_json(config.model_dump(mode='json')), length=6)}")
    with lock(folder):
        claim(folder, config.to_yaml(), config.model_dump(mode="json", exclude={"run"}))
        figures: dict[str, Any] = {
            "train": {"scenarios": len(training), "left_out": len(loaded) - len(training)},
            "test": {"scenarios": len(test), "people": len({scenario.persona.id for scenario in test})},
            "budget": config.budget,
            "cost": config.cost,
            "k": sorted(set(config.k)),
            **evaluate(test, dict(zip(names, factories, strict=True)), config),
        }
        atomic_write(folder / FIGURES, json.dumps(figures, indent=2, allow_nan=False) + "\n")
        atomic_write(folder / PAGE, page(config, figures))
    print(f"{table(figures)}\n\n{folder / PAGE}")
    return figures


def strangers(training: Sequence[Scenario], test: Sequence[Scenario], config: ElicitConfig) -> list[Scenario]:
    """The training scenarios of people who are not in the test. Raises DataError where there are none."""
    known = {scenario.persona.id for scenario in test}
    kept = [scenario for scenario in training if scenario.persona.id not in known]
    if not kept:
        raise DataError(
            f"train={config.train}: all its people are in test={config.test}; raise train_limit, or use others"
        )
    return kept


def evaluate(test: Sequence[Scenario], factories: dict[str, BeliefFactory], config: ElicitConfig) -> dict[str, Any]:
    """The figures of every belief with every policy, and those of a plan that assumes nothing (`generic`)."""
    ceiling, grade = ceiling_of(test, config.budget), grade_of(test)
    problems = [scenario.problem.id for scenario in test]
    boot = Bootstrap(problems)
    sizes = sorted(set(config.k))
    generic = [plan_alignment({}, scenario.profile, grade) for scenario in test]
    cells = []
    pairs = [(belief, policy) for belief in factories for policy in dict.fromkeys(config.policies)]
    for belief, name in tqdm(pairs, desc="elicit", delay=3):
        policy = get_policy(name, factories[belief], config.budget, config.cost)
        measured = [
            _Measure(factories[belief], policy, scenario, config.seed).parts(config.budget, sizes, grade, ceiling)
            for scenario in test
        ]
        cells.append({"belief": belief, "policy": name, **_estimates(boot, problems, measured)})
    return {
        "generic": boot.mean(problems, generic, "no people"),
        "ceiling": boot.mean(problems, [ceiling[s.id]["alignment"] for s in test], "") if ceiling else None,
        "cells": cells,
    }


def _estimates(boot: Bootstrap, problems: Sequence[str], measured: Sequence[Parts]) -> dict[str, Estimate]:
    """Each figure as the ratio of its sums over all people."""
    return {
        name: boot.ratio(
            problems,
            ([parts[name][0] for parts in measured], [parts[name][1] for parts in measured]),
            lambda totals: (totals[:, 0], totals[:, 1]),
            "there is nothing to count",
        )
        for name in measured[0]
    }


@dataclass(frozen=True)
class _Measure:
    """One person's interview, and what it is measured by."""

    factory: BeliefFactory
    policy: Policy
    scenario: Scenario
    seed: int

    def parts(self, budget: int, sizes: Sequence[int], grade: Grade, ceiling: Ceiling | None) -> Parts:
        """The numerator and denominator of every figure.

        questions; precision (share that revealed a preference); recall (weight revealed); precision, recall and f1
        @k of the k attributes that most probably matter; wrong@t and distance@t of predicted values after t questions
        (share wrong where values are names, mean distance where they are numbers on 1..5); each of these also over
        unasked attributes alone; alignment of the best plan as expected, as it is, and with nothing assumed that was
        not revealed; in Pocket the share of the ceiling's gain of these two; adaptivity.
        """
        profile = self.scenario.profile
        answered = interview(self.policy, self.scenario, self.seed)
        beliefs = [replay(self.factory(self.scenario), answered[:count]) for count in range(len(answered) + 1)]
        told = {attribute: value for attribute, value in answered if value is not None}
        weight = {preference.attribute: preference.weight for preference in profile}
        found: Parts = {
            "questions": (len(answered), 1),
            "precision": (len(told), len(answered)),
            "recall": (sum(weight[attribute] for attribute in told), sum(weight.values())),
        }
        for size in sizes:
            found |= predicted(beliefs[-1], set(weight), size, "")
            found |= predicted(beliefs[-1], set(weight) - set(dict(answered)), size, "_unasked")
        for count in range(budget + 1):
            so_far = answered[:count]
            belief = beliefs[len(so_far)]
            open_ = [preference for preference in profile if preference.attribute not in dict(so_far)]
            found |= value_errors(belief, profile, f"@{count}") | value_errors(belief, open_, f"_unasked@{count}")
        reached = beliefs[-1].plan_alignment(profile)
        revealed = plan_alignment(told, profile, grade)
        found |= {
            "expected_alignment": (beliefs[-1].expected_alignment(), 1),
            "alignment": (reached, 1),
            "alignment_revealed": (revealed, 1),
        }
        if ceiling is not None:
            generic = plan_alignment({}, profile, grade)
            gain = ceiling[self.scenario.id]["alignment"] - generic
            found |= {"share": (reached - generic, gain), "share_revealed": (revealed - generic, gain)}
        changes = list(self._changes(answered, beliefs))
        return found | {"adaptivity": (sum(changes), len(changes))}

    def _changes(self, answered: Answered, beliefs: Sequence[Belief]) -> Iterator[bool]:
        """For every question from the second on: is it another one, had the last answer been another one?"""
        for turn in range(1, len(answered)):
            asked, value = answered[turn - 1]
            outcomes = beliefs[turn - 1].outcomes(asked)
            others = [other for chance, other in outcomes if other != value and chance > WORTHLESS]
            if others:
                other = random.Random(f"{self.seed}/{self.scenario.id}/{turn}").choice(others)
                instead = self.policy.next_attribute(self.scenario, [*answered[: turn - 1], (asked, other)], self.seed)
                yield instead != answered[turn][0]


def plan_alignment(plan: dict[str, str], profile: Sequence[Preference], grade: Grade) -> float:
    """PrefAlign of a plan that assumes these values and nothing else, on 1..5."""
    return sum(p.weight * grade(p.attribute, plan.get(p.attribute), p.value) for p in profile)


def predicted(belief: Belief, wanted: set[str], size: int, which: str) -> Parts:
    """Precision, recall and F1 of the `size` most probable attributes; with `_unasked`, of those not asked about."""
    asked = {attribute for attribute, _ in belief.answered}
    chances = {a: chance for a, chance in belief.matters().items() if which != "_unasked" or a not in asked}
    top = sorted(chances, key=lambda attribute: -chances[attribute])[:size]
    hits = sum(attribute in wanted for attribute in top)
    return {
        f"precision{which}@{size}": (hits, len(top)),
        f"recall{which}@{size}": (hits, len(wanted)),
        f"f1{which}@{size}": (2 * hits, len(top) + len(wanted)),
    }


def value_errors(belief: Belief, preferences: Sequence[Preference], where: str) -> Parts:
    """Errors of the predicted values of these preferences: how many names are wrong, how far numbers are off."""
    wrong, distance = [], []
    for preference in preferences:
        outcomes = [(chance, value) for chance, value in belief.outcomes(preference.attribute) if value is not None]
        truth = level(preference.value)
        if truth is None:
            likely = max(outcomes, key=lambda outcome: outcome[0], default=(0.0, None))[1]
            wrong.append(likely != preference.value)
        else:
            distance.append(abs(mean_level(outcomes) - truth))
    return {f"wrong{where}": (sum(wrong), len(wrong)), f"distance{where}": (sum(distance), len(distance))}


def mean_level(outcomes: Sequence[tuple[float, str]]) -> float:
    """The mean of values on 1..5; the middle where none is known."""
    levels = [(chance, number) for chance, value in outcomes if (number := level(value)) is not None]
    total = sum(chance for chance, _ in levels)
    return sum(chance * number for chance, number in levels) / total if total > 0 else NEUTRAL
