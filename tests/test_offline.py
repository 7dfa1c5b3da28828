"""Claims about `prefdisco elicit`: figures are what they say, test people stay unseen, and mistakes are one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted import people, scenario

from prefdisco import cli
from prefdisco.config import ElicitConfig
from prefdisco.elicitation.beliefs import learn
from prefdisco.elicitation.offline import evaluate, mean_level, strangers
from prefdisco.pocket.scenarios import scenarios
from prefdisco.records import write_records
from prefdisco.schema import DataError, write_jsonl
from prefdisco.world import belief_of

TRAIN, TEST = people(300), people(60, seed=1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that `prefdisco elicit` prints for a mistake."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["elicit", *words])
    line = capsys.readouterr().err
    assert caught.value.code == 2 and line.startswith("prefdisco: error: ") and line.count("\n") == 1, line
    return line.removeprefix("prefdisco: error: ").strip()


def only(figures: dict, policy: str) -> dict[str, float | None]:
    """The means of the one cell with this policy."""
    (found,) = [each for each in figures["cells"] if each["policy"] == policy]
    return {name: value["mean"] for name, value in found.items() if isinstance(value, dict)}


def test_figures_of_one_interview_are_those_made_by_hand() -> None:
    training = [
        scenario(f"t{n}", f"t{n}", "cook", {"tone": "warm" if n % 3 else "dry", "tables": "4"} | extra)
        for n, extra in enumerate([{"sources": "x"}, {}, {}] * 20)
    ]
    person = scenario("p", "p", "cook", {"tone": "dry", "tables": "2", "humour": "y"})
    config = ElicitConfig(policies=["expected_value"], budget=1, k=[1, 2])
    figures = only(evaluate([person], {"prior": learn("prior", training)}, config), "expected_value")
    assert figures["questions"] == 1 and figures["precision"] == 1
    assert figures["recall"] == pytest.approx(1 / 3), "the tone was asked: a third of the weight"
    assert figures["precision@1"] == figures["precision@2"] == 1 and figures["recall@2"] == pytest.approx(2 / 3)
    assert figures["f1@2"] == pytest.approx(0.8)
    assert figures["precision_unasked@1"] == 1 and figures["recall_unasked@1"] == pytest.approx(1 / 2)
    assert figures["wrong@0"] == 1 and figures["wrong@1"] == pytest.approx(1 / 2), "dry was told, y never heard of"
    assert figures["wrong_unasked@1"] == 1 and figures["distance_unasked@1"] == pytest.approx(2)
    assert figures["alignment"] == pytest.approx((5 + 3 + 3) / 3), "dry followed, 4 for 2, nothing for y"
    assert figures["alignment_revealed"] == pytest.approx((5 + 3 + 3) / 3)
    assert figures["adaptivity"] is None, "there is no second question"


def test_only_learning_policies_react_to_answers_and_learned_values_get_better() -> None:
    config = ElicitConfig(policies=["fixed", "random", "expected_value"], budget=4)
    figures = evaluate(TEST, {"bayesian": learn("bayesian", TRAIN)}, config)
    assert only(figures, "fixed")["adaptivity"] == only(figures, "random")["adaptivity"] == 0
    cell = only(figures, "expected_value")
    assert (cell["adaptivity"] or 0) > 0.3
    assert cell["wrong@0"] > cell["wrong@2"] > cell["wrong@4"]
    assert cell["wrong_unasked@0"] > cell["wrong_unasked@2"], "what was not asked is learned too"
    assert cell["alignment"] > figures["generic"]["mean"] + 0.5


def test_the_bayesian_belief_comes_close_to_the_exact_posterior() -> None:
    test, training = scenarios("test", 80), scenarios("train", 2000)
    factories = {name: belief_of(name, test, training, "beliefs") for name in ("exact", "bayesian", "prior")}
    figures = evaluate(test, factories, ElicitConfig(policies=["expected_value"]))
    share = {cell["belief"]: cell["share"]["mean"] for cell in figures["cells"]}
    told = {cell["belief"]: cell["share_revealed"]["mean"] for cell in figures["cells"]}
    assert share["exact"] == pytest.approx(1, abs=0.03)
    assert share["bayesian"] > 0.9 > share["prior"] and told["bayesian"] > 0.86 > 0.82 > told["prior"]


def test_training_scenarios_of_test_people_are_left_out() -> None:
    config = ElicitConfig()
    assert strangers([*TRAIN, *TEST], TEST, config) == list(TRAIN)
    with pytest.raises(DataError, match="all its people are in test=pocket:test"):
        strangers(TEST, TEST, config)


def test_numbers_are_foretold_by_their_mean_and_by_the_middle_where_nothing_is_known() -> None:
    assert mean_level([(0.1, "1"), (0.3, "5"), (0.6, "warm")]) == pytest.approx(4)
    assert mean_level([]) == 3


def test_elicit_runs_on_a_file_in_the_published_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records("mine.jsonl", people(120, numbers=True), {"dataset": "toy"})
    words = ["train=mine.jsonl", "test=mine.jsonl", "limit=20", "budget=3", "policies=[expected_value,random]", "k=[2]"]
    cli.main(["elicit", *words, "beliefs=[prior,bayesian]", "run=out"])
    printed = capsys.readouterr().out
    assert "bayesian, expected_value" in printed and "share %" not in printed and printed.endswith("out/report.md\n")
    figures = json.loads((here / "out" / "elicitation.json").read_text())
    assert figures["train"] == {"scenarios": 100, "left_out": 20} and figures["ceiling"] is None
    assert [(cell["belief"], cell["policy"]) for cell in figures["cells"]] == [
        (belief, policy) for belief in ("prior", "bayesian") for policy in ("expected_value", "random")
    ]
    for cell in figures["cells"]:
        assert cell["wrong@0"]["mean"] is None and 0 < cell["distance@3"]["mean"] < cell["distance@0"]["mean"] < 2
        low, high = cell["alignment"]["ci"]
        assert low <= cell["alignment"]["mean"] <= high
    page = (here / "out" / "report.md").read_text()
    assert "20 left out, of people who are in the test" in page and "| off 3 open |" in page


def test_elicit_on_pocket_has_the_exact_posterior_beside_and_repeats_itself(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train_limit=120", "limit=10", "beliefs=[hybrid]", "policies=[expected_value]", "run=out"]
    cli.main(["elicit", *words])
    first = (here / "out" / "elicitation.json").read_text()
    assert [cell["belief"] for cell in json.loads(first)["cells"]] == ["exact", "hybrid"]
    cli.main(["elicit", *words])
    assert (here / "out" / "elicitation.json").read_text() == first
    assert "told share %" in capsys.readouterr().out
    assert "made with limit=10, not 12" in complaint(capsys, *words, "limit=12")


def test_dry_run_and_help_make_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["elicit", "limit=3", "--dry-run"])
    assert "limit: 3" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        cli.main(["elicit", "--help"])
    assert "policies" in capsys.readouterr().out and not list(here.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["limits=3"], "unknown key limits; did you mean limit?"),
        (["policies=[greedy]"], "policies=[greedy]: expected list of one of exact, expected_value, information_gain"),
        (
            ["beliefs=[psychic]"],
            "beliefs=[psychic]: expected list of one of exact, exact_train, exact_new, prior, naive_bayes",
        ),
        (["beliefs=[]"], "beliefs=[]: List should have at least 1 item"),
        (["k=[0]"], "k=[0]: should be greater than or equal to 1"),
        (["budget=-1"], "budget=-1: should be greater than or equal to 0"),
        (["test=nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["test=pocket:tset"], "unknown split 'tset'"),
        (["test=toy.jsonl", "train=toy.jsonl"], "train=toy.jsonl: all its people are in test=toy.jsonl"),
        (
            ["test=toy.jsonl", "train=pocket:train", "train_limit=9", "beliefs=[exact]"],
            "beliefs=exact: only Pocket's posterior is known exactly; choose a learned belief: prior",
        ),
        (["train_limit=9", "limit=2", "beliefs=[prior]", "run=toy.jsonl"], "toy.jsonl"),
    ],
)
def test_a_mistake_is_one_line_and_makes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    write_jsonl("toy.jsonl", people(12))
    assert expected in complaint(capsys, *words)
    assert [path.name for path in here.iterdir()] == ["toy.jsonl"]
