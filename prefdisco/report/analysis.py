"""All that `prefdisco report` says of runs, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from prefdisco.analysis.runs import Run
from prefdisco.report import behaviour, results
from prefdisco.report.sections import Section


def analysis(runs: Sequence[Run], condition: str = "discovery") -> list[Section]:
    """The sections on these runs; `condition` is the one that is looked at beside baseline and oracle."""
    return [
        results.runs_section(runs),
        *results.main_tables(runs, condition),
        results.plane_section(runs),
        results.comparison_section(runs, condition),
        *results.group_sections(runs, condition),
        behaviour.question_section(runs, condition),
        behaviour.count_section(runs, condition),
        *behaviour.harm_sections(runs, condition),
        behaviour.signature_section(runs, condition),
    ]
