"""From episodes to `summary.json`: every figure of it, from the episodes alone. Definitions: DESIGN section 3,
PrefDisco section 4.

Errors are counted and listed and enter no figure. The figures that other tables share are defined in measures.py, with
the units that they are paired over. Percentages are on 0..100 (`normalized_alignment`,
`share_of_ceiling`), shares and accuracy on 0..1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from prefdisco.bootstrap import RESAMPLES, SMALLEST, Bootstrap, Estimate
from prefdisco.carried import carried_figures
from prefdisco.conditions import parse_condition
from prefdisco.health import thinking_health, vitals_of
from prefdisco.measures import EQUAL, UNPAIRED, Played, estimate, in_order, measure, played, units
from prefdisco.schema import Episode, Grade, Usage

Ceiling = Mapping[
    str, Mapping[str, float]
]  # scenario id -> {"alignment": 1..5, "questions": count} of the best possible agent
UNSWAPPED = "no scenario has baseline, discovery and swapped"
NO_GAIN = "discovery does not gain on baseline: the interval of the difference holds zero"


def preference_alignment(grades: Iterable[Grade], weights: Mapping[str, float]) -> float:
    """PrefAlign(r, P) = sum of w_j g_j over the profile, on 1..5; weights are scaled to sum to exactly one.

    Raises ValueError when the grades are not one for each weight.
    """
    scores = {grade.attribute: grade.score for grade in grades}
    if scores.keys() != weights.keys():
        raise ValueError(f"grades for {sorted(scores)} do not match the profile {sorted(weights)}")
    return sum(weights[name] * scores[name] for name in weights) / sum(weights.values())


def normalized_by_scenario(episodes: Iterable[Episode], condition: str = "discovery") -> dict[str, float | None]:
    """Normalized alignment of each scenario, in percent, from its means over seeds; None where oracle equals baseline.

    Scenarios that lack one of the three conditions are left out.
    """
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for episode in _graded(episodes):
        scores[episode.scenario_id][episode.condition].append(episode.graded_alignment)
    normalized: dict[str, float | None] = {}
    for scenario, by_condition in scores.items():
        if all(name in by_condition for name in ("baseline", "oracle", condition)):
            base, best, own = (fmean(by_condition[name]) for name in ("baseline", "oracle", condition))
            normalized[scenario] = 100 * (own - base) / (best - base) if abs(best - base) >= SMALLEST else None
    return normalized


def summarize(
    episodes: Sequence[Episode], ceiling: Ceiling | None = None, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The content of `summary.json`. A figure that does not exist is null, with a reason."""
    good = _graded(episodes)
    by_condition = played(good)
    boot = Bootstrap([episode.problem_id for episode in good], resamples)
    vitals = vitals_of(good)
    failed = [episode for episode in episodes if episode.error is not None]
    summary: dict[str, Any] = {
        "scenarios": len({episode.scenario_id for episode in episodes}),
        "seeds": sorted({episode.seed for episode in episodes}),
        "errors": len(failed),
        "conditions": {
            name: {
                **_condition(boot, by_condition, name),
                "thinking": thinking_health(boot, [vital for vital in vitals if vital.condition == name]),
            }
            for name in in_order(by_condition)
        },
    }
    if "discovery" in by_condition:
        summary["discovery"] = _discovery(boot, by_condition)
    if carried := carried_figures(boot, by_condition):
        summary["carried"] = carried
    if ceiling is not None:
        summary["ceiling"] = _ceiling(boot, by_condition, ceiling)
    summary["thinking"] = thinking_health(boot, vitals)
    summary["usage"] = _usage(episodes)
    summary["failed"] = [
        {"scenario": e.scenario_id, "condition": e.condition, "seed": e.seed, "error": e.error} for e in failed
    ]
    return summary


def _usage(episodes: Sequence[Episode]) -> dict[str, Any]:
    """What the episodes cost in all, and each role's part of it."""
    roles = {
        "agent": sum((episode.usage for episode in episodes), Usage()),
        "user": sum((episode.user_usage for episode in episodes), Usage()),
        "judge": sum((episode.judge_usage for episode in episodes), Usage()),
    }
    parts = {role: usage.model_dump() for role, usage in roles.items()}
    return {**sum(roles.values(), Usage()).model_dump(), "roles": parts}


def _condition(boot: Bootstrap, by_condition: Played, name: str) -> dict[str, Any]:
    """The figures that every condition has."""
    group = by_condition[name].values()
    figures: dict[str, Any] = {
        "n": len(group),
        **{each: estimate(boot, by_condition, measure(each, name)) for each in ("accuracy", "alignment", "questions")},
        "questions_histogram": {str(k): n for k, n in sorted(Counter(len(e.questions) for e in group).items())},
    }
    if name != "baseline" and "baseline" in by_condition:
        for each in ("negative_rate",) if name == "oracle" else ("negative_rate", "normalized_alignment"):
            figures[each] = estimate(boot, by_condition, measure(each, name))
    return figures


def _discovery(boot: Bootstrap, by_condition: Played) -> dict[str, Any]:
    group = list(by_condition["discovery"].values())
    problems = [episode.problem_id for episode in group]
    figures: dict[str, Any] = {}
    if "baseline" in by_condition:
        for each in ("normalized_alignment", "negative_rate", "accuracy_change"):
            figures[each] = estimate(boot, by_condition, measure(each))
        if "swapped" in by_condition:
            figures["swap_drop"] = _swap_drop(boot, by_condition)
    revealing = [sum(question.revealed is not None for question in episode.questions) for episode in group]
    asked = [len(episode.questions) for episode in group]
    changed, turns = [sum(episode.adaptive) for episode in group], [len(episode.adaptive) for episode in group]
    figures["precision"] = boot.ratio(
        problems, (revealing, asked), lambda t: (t[:, 0], t[:, 1]), "no questions were asked"
    )
    figures["recall"] = boot.mean(problems, [revealed_weight(episode) for episode in group], "no episodes")
    seen = [episode for episode in group if episode.touched is not None]
    beyond = [len(guessed(episode)) for episode in seen]
    figures["guesses"] = boot.mean([episode.problem_id for episode in seen], beyond, "the judge does not read them")
    figures["adaptivity"] = boot.ratio(problems, (changed, turns), lambda t: (t[:, 0], t[:, 1]), "not measured")
    return figures


def _ceiling(boot: Bootstrap, by_condition: Played, ceiling: Ceiling) -> dict[str, Any]:
    """The best possible agent between this agent's own baseline and oracle, and the share of its gain attained."""
    known = {name: {unit: e for unit, e in group.items() if unit[0] in ceiling} for name, group in by_condition.items()}
    pairs = units(known, "baseline", "oracle")
    problems = [base.problem_id for base, _ in pairs]
    best = [ceiling[base.scenario_id]["alignment"] for base, _ in pairs]
    questions = [ceiling[base.scenario_id]["questions"] for base, _ in pairs]
    share = units(known, "baseline", "discovery")
    return {
        "alignment": boot.mean(problems, best, UNPAIRED),
        "normalized_alignment": boot.ratio(
            problems,
            (best, *([pair[side].graded_alignment for pair in pairs] for side in (0, 1))),
            lambda t: (100 * (t[:, 0] - t[:, 1]), t[:, 2] - t[:, 1]),
            EQUAL if pairs else UNPAIRED,
        ),
        "questions": boot.mean(problems, questions, UNPAIRED),
        "share_of_ceiling": boot.ratio(
            [base.problem_id for base, _ in share],
            (
                [own.graded_alignment for _, own in share],
                [base.graded_alignment for base, _ in share],
                [ceiling[base.scenario_id]["alignment"] for base, _ in share],
            ),
            lambda t: (100 * (t[:, 0] - t[:, 1]), t[:, 2] - t[:, 1]),
            "the ceiling equals baseline" if share else UNPAIRED,
        ),
    }


def _swap_drop(boot: Bootstrap, by_condition: Played) -> Estimate:
    """100 * (discovery - swapped) / (discovery - baseline): how much of the gain is made of this person's answers.

    Null where there is no gain to share out: a ratio over what may be zero says nothing.
    """
    triples = units(by_condition, "baseline", "discovery", "swapped")
    problems = [triple[0].problem_id for triple in triples]
    base, own, other = ([triple[side].graded_alignment for triple in triples] for side in range(3))
    gain = boot.mean(problems, [b - a for a, b in zip(base, own, strict=True)], UNSWAPPED)
    if gain["mean"] is None or gain["ci"][0] <= 0:
        return {"mean": None, "ci": None, "reason": NO_GAIN if triples else UNSWAPPED}
    return boot.ratio(problems, (base, own, other), lambda t: (100 * (t[:, 1] - t[:, 2]), t[:, 1] - t[:, 0]), NO_GAIN)


def _graded(episodes: Iterable[Episode]) -> list[Episode]:
    return [episode for episode in episodes if episode.error is None]


def guessed(episode: Episode) -> set[str]:
    """The attributes that the answer acts on though nobody told of them; none where the judge does not read that.

    Told is what the questions revealed, what was carried, and the profile where the condition states it.
    """
    told = {question.revealed for question in episode.questions} | set(episode.carried)
    if parse_condition(episode.condition).states_preferences:
        told |= set(episode.weights)
    return set(episode.touched or ()) - told


def revealed_weight(episode: Episode) -> float:
    """Weight of the preferences that the questions revealed, each once."""
    return sum(episode.weights.get(name, 0.0) for name in {q.revealed for q in episode.questions if q.revealed})
