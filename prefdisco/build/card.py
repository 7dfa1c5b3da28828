"""What a build has made, in Markdown: counts, spread of the people, attributes, calls and cost, what failed."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from prefdisco import __version__
from prefdisco.build.attributes import latest
from prefdisco.build.instructions import STAGES, version
from prefdisco.build.ledger import Failure, Ledger, Unit
from prefdisco.build.personas import TRAITS, likeness, plan
from prefdisco.schema import Persona, Scenario, Usage

NAMES = {
    "draft": "people",
    "attributes": "attributes",
    "consolidate": "merging",
    "profile": "profiles",
    "rubric": "rubrics",
}


def card(ledger: Ledger, scenarios: Sequence[Scenario], problems: int) -> str:
    """The card of the build in `ledger.folder`."""
    config = ledger.config
    wanted = problems * config.per_problem
    used = {scenario.persona.id: scenario.persona for scenario in scenarios}
    parts = [
        f"# Benchmark of {config.task}, made by {ledger.model.name}",
        f"{len(scenarios)} scenarios of {wanted}: {len({s.problem.id for s in scenarios})} of {problems} problems, "
        f"{config.per_problem} people for each of them, {len(used)} of {config.personas} people used. "
        f"Seed {config.seed}, temperature {config.temperature:g}, prefdisco {__version__}, prompts "
        f"{', '.join(map(version, STAGES))}.",
        "## People",
        _people(list(used.values()), ledger),
        "## Preferences",
        _preferences(scenarios, ledger),
        "## Calls and cost",
        _bill(ledger),
        "## What failed",
        _failures(ledger.failed),
        "The people, their preferences and the rubrics were written by a language model: they show what it believes "
        "about such people, which may be wrong and stereotyped.",
    ]
    return "\n\n".join(parts) + "\n"


def _people(people: Sequence[Persona], ledger: Ledger) -> str:
    """How people are spread, and how alike the two most alike are."""
    ages = [person.demographics["age"] for person in people]
    fields = {target.id: target.field for target in plan(ledger.config.personas, ledger.config.seed)}
    pairs = list(itertools.combinations(people, 2))
    rows = [
        ("age", f"{min(ages)} to {max(ages)}, median {statistics.median(ages):g}"),
        ("occupations", f"{len({person.demographics['occupation'] for person in people})} different"),
        ("fields of work", f"{len({fields[person.id] for person in people})} different"),
        *((trait, _spread([person.big5[trait] for person in people])) for trait in TRAITS),
        ("words shared by the two most alike", f"{max((likeness(*pair) for pair in pairs), default=0):.0%}"),
    ]
    return _table(("of the people", "spread"), rows)


def _preferences(scenarios: Sequence[Scenario], ledger: Ledger) -> str:
    """How many attributes were proposed and are left, how many preferences there are, and how far people differ."""
    proposed = sum(
        len(unit.value["attributes"]) for name, unit in ledger.units.items() if name.startswith("attributes/")
    )
    sizes = [len(scenario.profile) for scenario in scenarios]
    preferences = [preference for scenario in scenarios for preference in scenario.profile]
    kinds = Counter(preference.kind for preference in preferences)
    values: dict[tuple[str, str], list[str]] = {}
    for scenario in scenarios:
        for preference in scenario.profile:
            values.setdefault((scenario.problem.id, preference.attribute), []).append(preference.value)
    shared = [each for each in values.values() if len(each) > 1]
    differ = sum(len(set(each)) > 1 for each in shared) / len(shared) if shared else 0.0
    importance = Counter(int(preference.details["local_importance"]) for preference in preferences)
    rows = [
        ("attributes proposed", str(proposed)),
        ("attributes left after merging", str(len(latest(ledger).attributes))),
        ("preferences of a profile", f"{min(sizes)} to {max(sizes)}, mean {statistics.mean(sizes):.1f}"),
        ("by kind", ", ".join(f"{kind} {count / len(preferences):.0%}" for kind, count in kinds.most_common())),
        ("by importance", ", ".join(f"{score}: {importance[score] / len(preferences):.0%}" for score in range(1, 6))),
        ("attributes of a problem on which its people differ", f"{differ:.0%} of those that two or more care about"),
    ]
    return _table(("", "value"), rows)


def _bill(ledger: Ledger) -> str:
    parts: list[Unit | Failure] = [*ledger.units.values(), *ledger.failures]
    rows = [
        (name, *_usage([each for each in parts if each.unit.startswith(f"{stage}/")])) for stage, name in NAMES.items()
    ]
    header = ("stage", "calls", "from the cache", "tokens read", "tokens written", "dollars")
    return _table(header, [*rows, ("all", *_usage(parts))])


def _usage(parts: Iterable[Unit | Failure]) -> tuple[str, ...]:
    sum_ = sum((part.usage for part in parts), Usage())
    tokens = (f"{sum_.prompt_tokens:,}", f"{sum_.completion_tokens:,}")
    return (f"{sum_.calls:,}", f"{sum_.cached:,}", *tokens, f"{sum_.usd:.2f}")


def _failures(failed: dict[str, str]) -> str:
    if not failed:
        return "Nothing."
    lines = [f"- `{name}`: {error}" for name, error in failed.items()]
    return f"{len(failed)} units; the same command tries them again.\n\n" + "\n".join(lines)


def _spread(scores: Sequence[float]) -> str:
    counts = Counter(int(score) for score in scores)
    return ", ".join(f"{score}: {counts[score]}" for score in range(1, 6))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
