"""The tables of a suite that plays evaluations: what it is about, agent by agent, and every condition of all of them.

A difference is written as `MEASURE of A - B`, where A and B are CONDITION or EVALUATION:CONDITION, and the measures are
those of measures.py: `questions of same_family:discovery - same_family:carried_discovery`. It is taken over the
(scenario, seed) pairs that both sides played, with a paired interval.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prefdisco.bootstrap import Bootstrap, Estimate
from prefdisco.loading import ConfigError
from prefdisco.measures import Played, measure, units
from prefdisco.report.cells import ABSENT, Rows, Summary, at, cell
from prefdisco.report.runs import FIGURES
from prefdisco.report.tables import COLUMNS, DEFINED

MEASURES = tuple(COLUMNS)
DIFFERENCE = re.compile(r"(\w+) of (?:([\w-]+):)?(\S+) - (?:([\w-]+):)?(\S+)")
SCALES = {path: scale for _, path, scale in FIGURES}
Places = Mapping[str, Mapping[str, Path]]  # agent -> evaluation -> its run folder
Side = tuple[str, str]  # evaluation, condition


class Difference(NamedTuple):
    """`of` is a measure; what is shown is its value on the side `more` less that on the side `less`."""

    of: str
    more: Side
    less: Side


def parse_difference(text: str, evaluations: Sequence[str], where: str) -> Difference:
    """The difference that a line of a suite stands for; a side that names no evaluation means the first.

    Raises ConfigError, saying `where` the line was written.
    """
    found = DIFFERENCE.fullmatch(text.strip())
    if found is None or found[1] not in MEASURES:
        raise ConfigError(
            f"{where}: difference {text!r}: expected MEASURE of A - B, with a measure among {', '.join(MEASURES)} and "
            "A, B as CONDITION or EVALUATION:CONDITION"
        )
    for name in (found[2], found[4]):
        if name is not None and name not in evaluations:
            raise ConfigError(f"{where}: difference {text!r}: no evaluation {name}; there are {', '.join(evaluations)}")
    return Difference(found[1], (found[2] or evaluations[0], found[3]), (found[4] or evaluations[0], found[5]))


def estimated(difference: Difference, places: Mapping[str, Path]) -> Estimate:
    """The difference within one agent's evaluations."""
    sides: list[dict[Any, Any]] = []
    measures = []
    for evaluation, condition in (difference.less, difference.more):
        what = measure(difference.of, condition)
        found = units(_played(places.get(evaluation)), *what.conditions)
        sides.append({(each[0].scenario_id, each[0].seed): each for each in found})
        measures.append(what)
    shared = [unit for unit in sides[0] if unit in sides[1]]
    if not shared:
        return {"mean": None, "ci": None, "reason": "no scenario was played on both sides"}
    from prefdisco.analysis.comparison import paired

    problems = [sides[0][unit][0].problem_id for unit in shared]
    columns = [
        list(zip(*(what.terms(*side[unit]) for unit in shared), strict=True))
        for what, side in zip(measures, sides, strict=True)
    ]
    return paired(Bootstrap(problems), problems, columns, measures[0])[1]


def _played(folder: Path | None) -> Played:
    if folder is None:
        return {}
    from prefdisco.evaluate import EPISODES, load_episodes
    from prefdisco.measures import played

    return played(load_episodes(folder / EPISODES).values())


def question_table(
    places: Places,
    summaries: Mapping[str, Mapping[str, Summary]],
    figures: Mapping[str, str],
    differences: Mapping[str, Difference],
) -> tuple[Rows, dict[str, dict[str, Any]]]:
    """(rows, estimates): a row a figure or difference, a column an agent. Rows that no agent has are left out.

    `figures` are titles with EVALUATION:key.key of a summary. Shares, and differences of shares, are in percent.
    """
    rows, data = [["figure", *places]], {}
    for title, where in figures.items():
        evaluation, _, keys = where.rpartition(":")
        path = tuple(keys.split("."))
        scale = SCALES.get(path, 100.0 if title.endswith("%") else 1.0)
        found = {name: at(summaries[name].get(evaluation, {}), path) for name in places}
        rows.append([title, *(cell(found[name], scale, _decimals(scale, title)) for name in places)])
        data[title] = found
    for title, difference in differences.items():
        _, scale, decimals = COLUMNS[difference.of]
        gaps = {name: estimated(difference, folders) for name, folders in places.items()}
        unit = ", points" if scale != 1.0 or difference.of == "normalized_alignment" else ""
        rows.append([title + unit, *(cell(gaps[name], scale, decimals) for name in places)])
        data[title] = gaps
    return [rows[0], *(row for row in rows[1:] if any(each != ABSENT for each in row[1:]))], data


def condition_table(
    summaries: Mapping[str, Mapping[str, Summary]], evaluations: Sequence[str]
) -> tuple[Rows, dict[str, dict[str, dict[str, Any]]]]:
    """(rows, estimates): a row a condition of an evaluation of an agent, and one for the ceiling where it is known."""
    several = len(evaluations) > 1
    head = ["agent", *(["evaluation"] if several else []), "condition"]
    rows, data = [[*head, *(title for title, _, _ in COLUMNS.values())]], {}
    for agent, of_agent in summaries.items():
        data[agent] = {name: summary["conditions"] for name, summary in of_agent.items()}
        for evaluation, summary in of_agent.items():
            known = {**summary["conditions"], **({"ceiling": summary["ceiling"]} if _has_ceiling(summary) else {})}
            for condition, entry in known.items():
                start = [agent, *([evaluation] if several else []), condition]
                rows.append([*start, *(_figure(entry, condition, column) for column in COLUMNS)])
    return rows, data


def _figure(entry: Mapping[str, Any], condition: str, column: str) -> str:
    _, scale, decimals = COLUMNS[column]
    if column == "normalized_alignment" and condition in DEFINED:
        return f"{DEFINED[condition]:.0f}"
    return cell(entry.get(column), scale, decimals)


def _has_ceiling(summary: Summary) -> bool:
    return at(summary, ("ceiling", "alignment", "mean")) is not None


def _decimals(scale: float, title: str) -> int:
    return 1 if scale != 1.0 or title.endswith("%") else 2
