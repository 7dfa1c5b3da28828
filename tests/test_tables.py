"""Every number of every table of a report, recomputed from raw lines in plain Python."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from prefdisco.cli import main
from tests import raw
from tests.raw import Interval, Raw, measured, write_run

CONDITIONS = ("baseline", "discovery", "oracle")
Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Raw]]]:
    """The report of two runs of two tasks, and the raw episodes by run."""
    root = tmp_path_factory.mktemp("runs")
    folders = [write_run(root / name, seed) for name, seed in (("one", 1), ("two", 2))]
    assert main(["report", *map(str, folders), f"out={root / 'out'}"]) == 0
    return root / "out", {folder.name: raw.read(folder) for folder in folders}


def table(out: Path, name: str) -> Table:
    with (out / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same(row: dict[str, str], column: str, expected: Interval, scale: float = 1.0) -> None:
    """A cell and its interval."""
    found = [row[column], row[f"{column}, low"], row[f"{column}, high"]]
    if expected is None:
        assert found == ["", "", ""], (row, column)
    else:
        assert [float(each) for each in found] == pytest.approx([scale * each for each in expected], abs=1e-9), column


def test_runs_are_counted(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    for row in table(out, "runs"):
        assert [row[name] for name in ("scenarios", "problems", "seeds", "errors")] == ["24", "12", "1", "1"]
        assert int(row["episodes"]) == len(runs[row["run"]]) + 1 == 71
        assert row["conditions"] == "baseline, discovery, oracle"


def test_the_main_tables_are_runs_x_tasks(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    below = 0
    for name, what in (("normalized_alignment", "normalized"), ("negative_rate", "negative"), ("accuracy", "accuracy")):
        rows = table(out, name)
        assert [row["run"] for row in rows] == [run for run in runs for _ in range(3 if what == "accuracy" else 1)]
        for row, task in itertools.product(rows, ("math500", "pocket", "all")):
            group = [each for each in runs[row["run"]] if task in (each["task"], "all")]
            expected = measured(what, row.get("condition", "discovery"), group)
            same(row, task, expected, 1.0 if what == "normalized" else 100.0)
            below += what == "normalized" and task != "all" and expected is not None and expected[0] < 0
    assert f"{below} of 4 cells (run x task) are below zero." in (out / "report.md").read_text()


@pytest.mark.parametrize("by", ["task", "domain", "family"])
def test_groups(reports: tuple[Path, dict[str, list[Raw]]], by: str) -> None:
    out, runs = reports
    rows = table(out, f"by_{by}")
    assert {(row["run"], row[by]) for row in rows} == {
        (run, name) for run, found in runs.items() for name in {"all", *(each[by] for each in found)}
    }
    for row in rows:
        group = [each for each in runs[row["run"]] if row[by] in (each[by], "all")]
        assert int(row["problems"]) == len({each["problem_id"] for each in group})
        for condition in CONDITIONS:
            same(row, f"accuracy {condition} %", measured("accuracy", condition, group), 100)
            same(row, f"alignment {condition}", measured("alignment", condition, group))
        same(row, "normalized %", measured("normalized", "discovery", group))
        same(row, "negative %", measured("negative", "discovery", group), 100)


def test_kinds(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    rows = table(out, "by_kind")
    kinds = {"expertise", "personal", "presentation", "reasoning", "all"}
    assert {(row["run"], row["kind"]) for row in rows} == set(itertools.product(runs, kinds))
    for row in rows:
        group = runs[row["run"]] if row["kind"] == "all" else raw.of_kind(runs[row["run"]], row["kind"])
        for condition in CONDITIONS:
            same(row, f"alignment {condition}", measured("alignment", condition, group))
        same(row, "normalized %", measured("normalized", "discovery", group))
        same(row, "negative %", measured("negative", "discovery", group), 100)


def test_plane_and_its_fronts(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    rows = table(out, "plane")
    places = {}
    for row in rows:
        for what, column, scale in (("accuracy", "accuracy %", 100), ("alignment", "alignment", 1)):
            same(row, column, measured(what, row["condition"], runs[row["run"]]), scale)
        places[row["run"], row["condition"]] = float(row["accuracy %"]), float(row["alignment"])
        assert int(row["episodes"]) == sum(each["condition"] == row["condition"] for each in runs[row["run"]])
    assert len(places) == 6
    for row in rows:
        own = places[row["run"], row["condition"]]
        for word, rivals in (("all", places), ("not told", {k: v for k, v in places.items() if k[1] != "oracle"})):
            beaten = any(x >= own[0] and y >= own[1] and (x, y) != own for x, y in rivals.values())
            on_it = (row["run"], row["condition"]) in rivals and not beaten
            assert (word in row["front"].split(", ")) is on_it


def test_comparisons_are_paired_and_every_swap_is_counted(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    measures = {
        "baseline accuracy": ("accuracy", "baseline"),
        "accuracy": ("accuracy", "discovery"),
        "alignment": ("alignment", "discovery"),
        "normalized alignment": ("normalized", "discovery"),
        "negative rate": ("negative", "discovery"),
        "questions": ("questions", "discovery"),
    }
    rows = {row["figure"]: row for row in table(out, "comparison")}
    assert list(rows) == list(measures)
    ps = {}
    for name, (what, condition) in measures.items():
        sides = [raw.terms(what, condition, runs[run]) for run in ("one", "two")]
        size = len(sides[0][0][1])
        formula = raw.normalized_of if what == "normalized" else raw.quotient
        joint = [(problem, (*own, *other)) for (problem, own), (_, other) in zip(*sides, strict=True)]
        problems = [problem for problem, _ in joint]
        expected = raw.interval(problems, joint, lambda t, n=size, f=formula: f(t[n:]) - f(t[:n]))  # type: ignore[misc]
        same(rows[name], "difference", expected)
        assert [int(rows[name][each]) for each in ("scenarios", "problems")] == [len(problems), len(set(problems))]
        totals = [formula([sum(column) for column in zip(*(own for _, own in side), strict=True)]) for side in sides]
        assert [float(rows[name][each]) for each in ("first", "second")] == pytest.approx(totals)
        ps[name] = all_swaps(joint, size, what == "normalized")
        assert float(rows[name]["p"]) == pytest.approx(ps[name])
    order = sorted(ps, key=lambda name: ps[name])
    for place, name in enumerate(order):
        step = max(min(1.0, (len(order) - k) * ps[order[k]]) for k in range(place + 1))
        assert float(rows[name]["p, Holm"]) == pytest.approx(step)


def all_swaps(joint: Sequence[tuple[str, tuple[float, ...]]], size: int, normalized: bool) -> float:
    """The share of the 2^12 swaps of whole problems whose difference is at least that of the data."""
    names = sorted({problem for problem, _ in joint})
    sums = np.array([np.sum([columns for problem, columns in joint if problem == name], axis=0) for name in names])
    swaps = np.array(list(itertools.product((False, True), repeat=len(names))))
    turned = np.concatenate([sums[:, size:], sums[:, :size]], axis=1)
    total = np.where(swaps[:, :, None], turned, sums).sum(1)
    values = []
    for side in (total[:, :size], total[:, size:]):
        if normalized:
            values.append(100 * (side[:, 2] - side[:, 0]) / (side[:, 1] - side[:, 0]))
        else:
            values.append(side[:, 0] / side[:, 1])
    gaps = np.round(values[1] - values[0], 10)
    shares = [np.mean(gaps >= gaps[0]), np.mean(gaps <= gaps[0])]
    return float(min(1.0, 2 * min(shares)))


def test_lines_through_questions_and_alignment(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    rows = {row["line through"]: row for row in table(out, "questions")}
    for run, episodes in runs.items():
        row, group = rows[f"episodes of {run}"], [each for each in episodes if each["condition"] == "discovery"]
        x = np.array([len(each["questions"]) for each in group], dtype=float)
        y = np.array([each["alignment"] for each in group])
        of = np.array([each["problem_id"] for each in group])
        slope, intercept = np.polyfit(x, y, 1)
        left = np.array([np.polyfit(x[of != name], y[of != name], 1) for name in sorted(set(of))])
        size = len(left)
        errors = np.sqrt((size - 1) / size * ((left - [slope, intercept]) ** 2).sum(0))
        half = stats.t.ppf(0.975, size - 1) * errors
        same(row, "slope", (slope, slope - half[0], slope + half[0]))
        same(row, "intercept", (intercept, intercept - half[1], intercept + half[1]))
        assert float(row["r"]) == pytest.approx(np.corrcoef(x, y)[0, 1])
        assert float(row["p"]) == pytest.approx(2 * stats.t.sf(abs(slope) / errors[0], size - 1))
        assert (int(row["points"]), int(row["problems"])) == (len(x), size)
        counted = [each for each in table(out, "questions_by_count") if each["run"] == run]
        assert [int(each["questions"]) for each in counted] == sorted(set(x))
        for each in counted:
            some = [e for e in group if len(e["questions"]) == int(each["questions"])]
            rows_of = [(e["problem_id"], (e["alignment"], 1.0)) for e in some]
            enough = len({e["problem_id"] for e in some}) >= 3
            same(each, "alignment", raw.interval(of.tolist(), rows_of, raw.quotient) if enough else None)
            assert int(each["episodes"]) == len(some)
    assert rows["means of the runs"]["note"] == "fewer than 3 points"


@pytest.mark.parametrize("by", ["attribute", "kind", "told"])
def test_harm_is_decomposed_and_adds_up(reports: tuple[Path, dict[str, list[Raw]]], by: str) -> None:
    out, runs = reports
    heads = {"attribute": "attribute", "kind": "kind of attribute", "told": "what the dialogue told"}
    rows = table(out, f"harm_by_{by}")
    for run, episodes in runs.items():
        units = raw.pairs(episodes, "baseline", "discovery")
        criteria = [one for number, (base, own) in enumerate(units) for one in criteria_of(number, base, own)]
        own_rows = {row[heads[by]].removeprefix("'"): row for row in rows if row["run"] == run}
        assert set(own_rows) == {"all", *(each[by] for each in criteria)}
        for name, row in own_rows.items():
            group = [each for each in criteria if name in (each[by], "all")]
            assert int(row["criteria"]) == len(group)
            for column, value, among in (
                ("fell", lambda e: e["after"] < e["before"], lambda e: True),
                ("rose", lambda e: e["after"] > e["before"], lambda e: True),
                ("right", lambda e: e["before"] == 5, lambda e: True),
                ("of these spoilt", lambda e: e["after"] < 5, lambda e: e["before"] == 5),
            ):
                some = [each for each in group if among(each)]
                shares = [(each["problem"], (float(value(each)), 1.0)) for each in some]
                enough = len({each["problem"] for each in some}) >= 3
                expected = raw.interval([own["problem_id"] for _, own in units], shares, raw.quotient)
                same(row, f"{column} %", expected if enough else None, 100)
            for column, part, scale in (
                ("weight %", lambda e: e["weight"], 100),
                ("lost", lambda e: min(e["change"], 0.0), 1),
                ("spoilt", lambda e: min(e["change"], 0.0) if e["before"] == 5 else 0.0, 1),
                ("won", lambda e: max(e["change"], 0.0), 1),
                ("net", lambda e: e["change"], 1),
            ):
                sums = [0.0] * len(units)
                for each in group:
                    sums[each["unit"]] += part(each)
                averages = [(own["problem_id"], (value, 1.0)) for (_, own), value in zip(units, sums, strict=True)]
                same(row, column, raw.interval([p for p, _ in averages], averages, raw.quotient), scale)
        change = np.mean([own["alignment"] - base["alignment"] for base, own in units])
        assert float(own_rows["all"]["net"]) == pytest.approx(change)
        assert sum(float(row["net"]) for name, row in own_rows.items() if name != "all") == pytest.approx(change)


def criteria_of(number: int, base: Raw, own: Raw) -> list[Raw]:
    before, after = raw.scores(base), raw.scores(own)
    revealed = {question["revealed"] for question in own["questions"]}
    pocket = own["task"] == "pocket"
    asked = {raw.about(question) for question in own["questions"]} if pocket else set()
    rest = "never asked" if pocket or not own["questions"] else "not revealed"
    return [
        {
            "unit": number,
            "problem": own["problem_id"],
            "attribute": name,
            "kind": own["kinds"][name],
            "told": "revealed" if name in revealed else "asked, not revealed" if name in asked else rest,
            "weight": weight,
            "before": before[name],
            "after": after[name],
            "change": weight * (after[name] - before[name]),
        }
        for name, weight in own["weights"].items()
    ]


def test_signatures_are_counted(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, runs = reports
    rows = table(out, "signatures")
    assert len(rows) == 10
    for row in rows:
        episodes = {(e["scenario_id"], e["condition"]): e for e in runs[row["run"]]}
        found = []
        for (scenario, condition), own in episodes.items():
            if condition == "discovery":
                others = (episodes.get((scenario, name)) for name in ("baseline", "oracle"))
                found.append((own["problem_id"], raw.shown_signatures(own, *others)[row["signature"]]))
        for column, wanted in (("seen %", True), ("not known %", None)):
            shares = [(problem, (float(seen is wanted), 1.0)) for problem, seen in found]
            same(row, column, raw.interval([p for p, _ in found], shares, raw.quotient), 100)
    assert {row["signature"] for row in rows if float(row["seen %"]) > 0} == {row["signature"] for row in rows}
    assert any(float(row["not known %"]) > 0 for row in rows)


def test_the_page_and_latex_show_the_numbers_of_the_csv_rounded(reports: tuple[Path, dict[str, list[Raw]]]) -> None:
    out, _ = reports
    page = (out / "report.md").read_text()
    for path in sorted((out / "tables").glob("*.csv")):
        with path.open(newline="") as file:
            heads, *rows = csv.reader(file)
        shown = [line for line in page.split(f"[{path.stem}.csv]")[0].splitlines() if line.startswith("|")][
            -len(rows) :
        ]
        latex = path.with_suffix(".tex").read_text()
        for line, row in zip(shown, rows, strict=True):
            cells = [each.strip() for each in re.split(r"(?<!\\)\|", line)[1:-1]]
            places = [number for number, head in enumerate(heads) if not head.endswith((", low", ", high"))]
            for place, text in zip(places, cells, strict=True):
                if "±" in text:
                    mean, low, high = (float(each) for each in row[place : place + 3])
                    decimals = len(text.split(" ±")[0].partition(".")[2])
                    assert text.lstrip("-") == f"{mean:.{decimals}f} ± {(high - low) / 2:.{decimals}f}".lstrip("-")
                    assert text.replace("±", r"$\pm$") in latex
                elif text == "–":
                    assert row[place] == ""
                elif re.fullmatch(r"-?[\d.]+", text):
                    assert float(text) == pytest.approx(float(row[place]), abs=0.5 * 10 ** -len(text.partition(".")[2]))
