"""A report as a folder: `report.html` with all transcripts, `report.md`, tables (CSV, LaTeX), and figures (SVG)."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import yaml

from prefdisco.analysis.groups import BASELINE, ORACLE
from prefdisco.analysis.runs import Run, load_runs
from prefdisco.analysis.signatures import by_episode
from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError, ReportConfig
from prefdisco.files import atomic_write
from prefdisco.hashing import digest
from prefdisco.report import cells, escapes
from prefdisco.report.analysis import analysis
from prefdisco.report.page import write_page
from prefdisco.report.sections import Section
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import DataError, Scenario

PAGE, VIEWER, TABLES, FIGURES = "report.md", "report.html", "tables", "figures"
INTRODUCTION = (
    "Cells are mean ± half of the 95% interval, clustered by problem. A dash stands where there is no such figure. "
    "The CSV files beside this page have every number unrounded, with both ends of its interval."
)


def write_reports(folders: Sequence[str | Path], settings: ReportConfig) -> Path:
    """Read the runs in `folders` and write all forms of their report; returns the folder.

    Raises RunError for a folder without episodes or one that cannot be written, ConfigError for an unknown condition
    and for the two that every other is compared with.
    """
    condition = parse_condition(settings.condition).name
    if condition in (BASELINE, ORACLE):
        raise ConfigError(
            f"condition={condition}: every report has it; choose what stands beside it, such as discovery"
        )
    runs = load_runs(folders)
    out = Path(settings.out) if settings.out else default_folder(folders)
    sections = analysis(runs, condition)
    write_folder(out, title(runs), sections)
    signatures = {
        f"{run.name}/{scenario}/{played}/{seed}": names
        for run in runs
        for (scenario, played, seed), names in by_episode(run, condition).items()
    }
    episodes = {run.name: run.episodes for run in runs}
    write_page(out / VIEWER, episodes, sections, signatures, scenarios_of(runs), title(runs))
    return out


def scenarios_of(runs: Sequence[Run]) -> list[Scenario]:
    """The scenarios that the runs say they played; none of a run that does not say, or whose file is gone."""
    found: dict[str, Scenario] = {}
    for run in runs:
        try:
            said = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
            scenarios = load_scenarios(said["scenarios"], said["limit"])
        except (OSError, KeyError, TypeError, yaml.YAMLError, ConfigError, DataError):
            continue
        found.update({scenario.id: scenario for scenario in scenarios})
    return list(found.values())


def default_folder(folders: Sequence[str | Path]) -> Path:
    """RUN/report for one run, runs/report-HASH for several, with a hash of their paths."""
    if len(folders) == 1:
        return Path(folders[0]) / "report"
    return Path("runs") / f"report-{digest(*(Path(folder).resolve() for folder in folders), length=6)}"


def title(runs: Sequence[Run]) -> str:
    """What the report is of."""
    return f"Report of {', '.join(run.name for run in runs)}"


def write_folder(out: Path, heading: str, sections: Sequence[Section]) -> None:
    """Write the sections into `out`, each file whole or not at all; figures and tables are named by their section."""
    for section in sections:
        if section.rows:
            atomic_write(out / TABLES / f"{section.name}.csv", csv_text(section))
            atomic_write(out / TABLES / f"{section.name}.tex", latex_table(section))
        if section.svg:
            atomic_write(
                out / FIGURES / f"{section.name}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{section.svg}'
            )
    atomic_write(out / PAGE, markdown_page(heading, sections))


def markdown_page(heading: str, sections: Sequence[Section]) -> str:
    """The sections under each other."""
    parts = [f"# {escapes.markdown(heading)}", INTRODUCTION]
    for section in sections:
        parts.append(f"## {escapes.markdown(section.title)}")
        if section.text:
            parts.append(escapes.markdown(section.text))
        if section.svg:
            parts.append(f"![{escapes.markdown(section.title)}]({FIGURES}/{section.name}.svg)")
        if section.rows:
            rows = [[escapes.markdown(each) for each in row] for row in section.rows]
            parts.append(cells.markdown(rows, text_columns(section)))
            parts.append(f"[{section.name}.csv]({TABLES}/{section.name}.csv)")
    return "\n\n".join(parts) + "\n"


def csv_text(section: Section) -> str:
    """The section's numbers, unrounded; an empty cell where there is none."""
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in section.numbers or section.rows:
        writer.writerow([escapes.spreadsheet(each) if isinstance(each, str) else each for each in row])
    return file.getvalue()


def latex_table(section: Section) -> str:
    r"""The section's table for \input into a paper that uses the package booktabs: columns of text to the left, of
    numbers to the right."""
    text = text_columns(section)
    sides = "".join("l" if place in text else "r" for place in range(len(section.rows[0])))
    lines = [" & ".join(escapes.latex(each) for each in row) + r" \\" for row in section.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escapes.latex(section.title)}}}",
            rf"\label{{tab:{section.name.replace('_', '-')}}}",
            rf"\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def text_columns(section: Section) -> list[int]:
    """The columns of a table in which something is not a number."""
    body = section.rows[1:]
    return [place for place in range(len(section.rows[0])) if not all(_numeric(row[place]) for row in body)]


def _numeric(text: str) -> bool:
    return text == cells.ABSENT or bool(re.match(r"[-<]?\d", text))
