"""Where scenarios come from, and what the best possible agent reaches on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prefdisco.config import ConfigError
from prefdisco.metrics import Ceiling
from prefdisco.schema import DataError, Scenario, read_jsonl
from prefdisco.users import is_pocket


def load_scenarios(source: str, limit: int, seed: int = 0) -> list[Scenario]:
    """The first `limit` scenarios of "pocket" (its test split), "pocket:SPLIT", or a JSON Lines file.

    `seed` is that of the draw from Pocket; evaluations keep it at 0, so that they all face the same scenarios.

    Raises ConfigError for an unknown split or an empty file, DataError for a missing file or a broken line.
    """
    world, _, split = source.partition(":")
    if world != "pocket":
        from prefdisco.records import is_published, read_records

        scenarios = []
        for scenario in read_records(source) if is_published(source) else read_jsonl(source, Scenario):
            scenarios.append(scenario)
            if len(scenarios) == limit:
                break
        if not scenarios:
            raise ConfigError(f"scenarios={source}: the file has no scenarios")
        return scenarios
    from prefdisco.pocket import scenarios as pocket

    match split or "test":
        case "train" | "test" | "heldout" as known:
            return pocket.scenarios(known, limit, seed)
    raise ConfigError(
        f"scenarios={source}: unknown split {split!r}; there are pocket:train, pocket:test and pocket:heldout"
    )


def ceiling_of(scenarios: Sequence[Scenario], budget: int) -> Ceiling | None:
    """What an exact questioner with a perfect writer reaches on each scenario; None where the world is not computed."""
    if not is_pocket(scenarios):
        return None
    from prefdisco.elicitation import ceiling
    from prefdisco.pocket.belief import belief

    return ceiling(scenarios, belief, budget)


def by_problem(scenarios: Iterable[Scenario]) -> list[list[Scenario]]:
    """Scenarios of the same problem together: they share an answer that knows no persona.

    Raises DataError where two different problems have one id, as those of two published files can.
    """
    groups: dict[str, list[Scenario]] = {}
    for scenario in scenarios:
        group = groups.setdefault(scenario.problem.id, [])
        if group and _asked(group[0]) != _asked(scenario):
            raise DataError(
                f"scenarios {group[0].id!r} and {scenario.id!r}: different problems share the id "
                f"{scenario.problem.id!r}; evaluate files of different tasks one by one"
            )
        group.append(scenario)
    return list(groups.values())


def _asked(scenario: Scenario) -> tuple[object, ...]:
    """What an answer depends on. Pocket can draw one question at two difficulties."""
    problem = scenario.problem
    return problem.question, problem.options, problem.answer
