"""What `prefdisco report` writes, what it says where something is missing, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

import pytest
from scipy import stats

from prefdisco.cli import main
from prefdisco.report import escapes
from prefdisco.report.folder import csv_text, latex_table, markdown_page
from prefdisco.report.sections import Section
from tests.raw import read, write_run


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_are_whole_svg_documents(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folders = [str(write_run(tmp_path / name, seed)) for seed, name in enumerate(("one", "$two_{x", "three", "four"))]
    assert main(["report", *folders, f"out={out}"]) == 0
    names = {path.stem for path in (out / "figures").iterdir()}
    harm = {f"harm_by_{by}" for by in ("attribute", "kind", "told")}
    assert names == {"normalized_alignment", "plane", "questions", "signatures", *harm}
    for path in (out / "figures").iterdir():
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert f"(figures/{path.name})" in (out / "report.md").read_text()


def test_a_training_run_is_two_runs_and_a_single_task_has_families_as_columns(tmp_path: Path) -> None:
    for stage, seed in (("before", 1), ("after", 2)):
        write_run(tmp_path / "sft" / stage, seed, tasks=("pocket",))
    assert main(["report", str(tmp_path / "sft")]) == 0
    rows = table(tmp_path / "sft" / "report", "normalized_alignment")
    assert [row["run"] for row in rows] == ["sft/before", "sft/after"]
    assert {"ages", "gifts", "order", "all"} <= set(rows[0]) and "pocket" not in rows[0]


def test_old_episodes_of_pocket_are_recognised_by_their_words(tmp_path: Path) -> None:
    """Files of earlier versions name neither task nor kinds."""
    folder = write_run(tmp_path / "old", 1, tasks=("pocket",))
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    bare = [{key: value for key, value in line.items() if key not in ("task", "kinds")} for line in lines]
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert main(["report", str(folder)]) == 0
    write_run(tmp_path / "new" / "old", 1, tasks=("pocket",))
    assert main(["report", str(tmp_path / "new" / "old")]) == 0
    pages = [(place / "report" / "report.md").read_text() for place in (folder, tmp_path / "new" / "old")]
    assert pages[0] == pages[1] and "presentation" in pages[0]


def test_one_condition_gives_dashes_and_says_why(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", 1)
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    only = [line for line in lines if json.loads(line)["condition"] == "discovery"]
    (folder / "episodes.jsonl").write_text("\n".join(only) + "\n")
    assert main(["report", str(folder)]) == 0
    page = (folder / "report" / "report.md").read_text()
    assert "| one | – | – | – |" in page and "nothing to compare criterion by criterion" in page
    assert "There is one run, and nothing to compare it with." in page
    assert table(folder / "report", "plane")[0]["front"] == "all, not told"


def test_runs_without_a_shared_scenario_are_named(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "one", 1), write_run(tmp_path / "two", 2)
    text = (two / "episodes.jsonl").read_text().replace('"problem', '"other')
    (two / "episodes.jsonl").write_text(text.replace('"other_id"', '"problem_id"'))
    assert main(["report", str(one), str(two), f"out={tmp_path / 'out'}"]) == 0
    assert "No scenario shared with one: two." in (tmp_path / "out" / "report.md").read_text()
    assert {row["difference"] for row in table(tmp_path / "out", "comparison")} == {""}


def test_runs_that_lack_a_condition_are_not_said_to_share_no_scenario(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "one", 1), write_run(tmp_path / "two", 2)
    lines = (two / "episodes.jsonl").read_text().splitlines(keepends=True)
    (two / "episodes.jsonl").write_text("".join(line for line in lines if '"condition": "baseline"' in line))
    assert main(["report", str(one), str(two), f"out={tmp_path / 'out'}"]) == 0
    assert "No scenario shared" not in (tmp_path / "out" / "report.md").read_text()
    found = {row["figure"]: bool(row["difference"]) for row in table(tmp_path / "out", "comparison")}
    assert found.pop("baseline accuracy") and not any(found.values())


def test_a_run_in_which_everything_failed_is_a_report_of_dashes(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", 1)
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    failed = [json.dumps({**line, "error": "Timeout", "alignment": None, "correct": None}) for line in lines]
    (folder / "episodes.jsonl").write_text("\n".join(failed) + "\n")
    assert main(["report", str(folder)]) == 0
    page = (folder / "report" / "report.md").read_text()
    assert "| one | 24 | 12 | 1 | 71 | 71 | none without error |" in page and "| one | – |" in page


def test_a_line_between_runs_counts_the_same_evaluation_once(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 4))]
    assert main(["report", *map(str, folders), f"out={tmp_path / 'out'}"]) == 0
    between = table(tmp_path / "out", "questions")[-1]
    x, y = [], []
    for folder in folders[1:]:
        own = [each for each in read(folder) if each["condition"] == "discovery"]
        x.append(fmean(len(each["questions"]) for each in own))
        y.append(fmean(each["alignment"] for each in own))
    expected = stats.linregress(x, y)
    assert between["points"] == "4" and float(between["p"]) == pytest.approx(expected.pvalue)
    half = stats.t.ppf(0.975, 2) * expected.stderr
    found = [float(between[name]) for name in ("slope", "slope, low", "slope, high", "intercept", "r")]
    slope = expected.slope
    assert found == pytest.approx([slope, slope - half, slope + half, expected.intercept, expected.rvalue])
    assert "Figures show the first 8 runs" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "expected a run folder"),
        (["nowhere"], "nowhere: no episodes there"),
        (["RUN", "RUN"], "named twice"),
        (["RUN", "condition=discovry"], "did you mean discovery"),
        (["RUN", "condition=oracle"], "every report has it"),
        (["RUN", "ou=x"], "did you mean out"),
        (["RUN", "out=RUN/episodes.jsonl"], "a part of this path is a file"),
        (["BROKEN"], "episodes.jsonl:1: "),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    run, broken = write_run(tmp_path / "run", 1, problems=4), tmp_path / "broken"
    broken.mkdir()
    (broken / "episodes.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as stop:
        main(["report", *(word.replace("RUN", str(run)).replace("BROKEN", str(broken)) for word in words)])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and expected in error


def test_names_from_models_are_inert(tmp_path: Path) -> None:
    hostile = "=cmd|'/c' & <script>$x_1^2$</script> [a](javascript:b) `\u202e\\input{x} \x1b%~\"#{}\n|"
    section = Section(hostile, hostile, [["run", hostile], [hostile, "1.0 ± 0.1"]], name="t", numbers=[[hostile, 1.5]])
    page = markdown_page(hostile, [section])
    assert "<script" not in page and "\u202e" not in page and "\x1b" not in page
    assert not re.search(r"(?<!\\)\]\(javascript", page)
    assert {line.count("|") - line.count("\\|") for line in page.splitlines() if line.startswith("| ")} == {3}
    latex = latex_table(section)
    body = latex.split(r"\toprule")[1].split(r"\bottomrule")[0]
    assert re.sub(r"\\[{}]", "", body).count("{") == re.sub(r"\\[{}]", "", body).count("}")
    assert r"\input" not in body and not re.search(r"(?<!\\)[%#_&](?! )", body.replace(r"\\", "").replace(" & ", " "))
    assert csv_text(section).startswith("\"'=cmd")
    assert escapes.plain("a\u200bb\u2066c") == "abc"


def test_the_same_report_is_written_twice_to_the_byte(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 1)
    for name in ("a", "b"):
        assert main(["report", str(folder), f"out={tmp_path / name}"]) == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files and all((tmp_path / "a" / each).read_bytes() == (tmp_path / "b" / each).read_bytes() for each in files)
