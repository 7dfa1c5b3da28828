"""Claims about the public tasks: rows of every schema become problems, and answers in free text are read as meant."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefdisco.config import ConfigError
from prefdisco.schema import Checker, DataError, Problem
from prefdisco.tasks import symbolic
from prefdisco.tasks.checkers import check, check_ready, final_answer
from prefdisco.tasks.loading import load_problems
from prefdisco.tasks.registry import TASKS, find_task
from prefdisco.tasks.rows import Place, to_problem

FIVE = {"label": ["A", "B", "C", "D", "E"], "text": ["pond", "desk", "oven", "kite", "shoe"]}
# One invented row in the schema of each task, and what becomes of it: domain, checker, answer, options, question.
ROWS: dict[str, tuple[dict[str, Any], tuple[str, str, str, tuple[str, ...] | None, str]]] = {
    "math500": (
        {"problem": "Halve $\\frac{2}{3}$.", "solution": "It is $\\boxed{\\frac{1}{3}}$.", "answer": "\\frac{1}{3}",
         "subject": "Prealgebra", "level": 2, "unique_id": "test/x/1.json"},
        ("math", "math", "\\frac{1}{3}", None, "Halve $\\frac{2}{3}$."),
    ),
    "aime": (
        {"ID": "1999-1", "Year": 1999, "Problem Number": 1, "Question": "Find $6 \\cdot 7$.", "Answer": "042"},
        ("math", "number", "042", None, "Find $6 \\cdot 7$."),
    ),
    "commonsenseqa": (
        {"id": "1", "question": "Where do ducks swim?", "question_concept": "duck", "choices": FIVE, "answerKey": "A"},
        ("commonsense", "choice", "A", ("pond", "desk", "oven", "kite", "shoe"), "Where do ducks swim?"),
    ),
    "logiqa": (
        {"context": "All cups are red.", "query": "What follows?", "options": ["Red cups.", "No cups."],
         "correct_option": 1},
        ("logic", "choice", "B", ("Red cups.", "No cups."), "All cups are red.\nWhat follows?"),
    ),
    "mascqa": (
        {"qid": "7", "question": "What is the gap in eV?", "correct_answer": "0.85 to 0.89 "},
        ("science", "number", "0.85 to 0.89", None, "What is the gap in eV?"),
    ),
    "medqa": (
        {"question": "A man coughs. What now?", "answer": "Wait", "options": {"B": "Wait", "A": "Operate", "C": "Pray"},
         "meta_info": "step1", "answer_idx": "B"},
        ("medicine", "choice", "B", ("Operate", "Wait", "Pray"), "A man coughs. What now?"),
    ),
    "mmlu": (
        {"question": "Which is prime?", "subject": "algebra", "choices": ["8", "9", "7", "6"], "answer": 2},
        ("knowledge", "choice", "C", ("8", "9", "7", "6"), "Which is prime?"),
    ),
    "scienceqa": (
        {"question": "Which is a solid?", "choices": ["ice", "steam"], "answer": 0, "hint": "Look.", "image": None,
         "lecture": "", "solution": ""},
        ("science", "choice", "A", ("ice", "steam"), "Look.\nWhich is a solid?"),
    ),
    "simpleqa": (
        {"problem": "Who built the mill?", "answer": "Ada Moss"},
        ("facts", "judge", "Ada Moss", None, "Who built the mill?"),
    ),
    "socialiqa": (
        {"context": "Kim fell.", "question": "How does Kim feel?", "answerA": "hurt", "answerB": "glad",
         "answerC": "rich", "label": "1"},
        ("social", "choice", "A", ("hurt", "glad", "rich"), "Kim fell.\nHow does Kim feel?"),
    ),
    "gsm8k": (
        {"question": "How many eggs?", "answer": "There are 1,000 + 200 = <<1000+200=1200>>1200 eggs.\n#### 1,200"},
        ("math", "number", "1200", None, "How many eggs?"),
    ),
}  # fmt: skip


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("how", ["named", "guessed"])
@pytest.mark.parametrize("name", TASKS)
def test_a_row_of_every_schema_becomes_a_problem(name: str, how: str, tmp_path: Path) -> None:
    row, (domain, checker, answer, options, question) = ROWS[name]
    (problem,) = load_problems(name if how == "named" else "file", path=write(tmp_path / "rows.jsonl", row))
    assert (problem.task, problem.domain, problem.checker) == (name, domain, checker)
    assert (problem.answer, problem.options, problem.question) == (answer, options, question)
    assert problem.source == row
    assert problem.difficulty == (2 if name == "math500" else None)
    if checker != "math":
        assert check(problem, f"Answer: {answer}") is (None if checker == "judge" else True)


def test_gold_is_taken_from_the_first_field_of_the_fixed_order() -> None:
    row = {"question": "Q?", "options": ["x", "y", "z"], "answer": "z", "label": 0, "answer_idx": "B"}
    assert to_problem(row, TASKS["medqa"], Place("f:1", "f#1")).answer == "B"
    assert to_problem({**row, "answer_idx": None}, TASKS["medqa"], Place("f:1", "f#1")).answer == "C"


def test_an_int_counts_from_zero_and_a_label_in_text_from_one() -> None:
    row = {"context": "", "question": "Q?", "answerA": "x", "answerB": "y", "answerC": "z"}
    assert to_problem({**row, "label": 1}, TASKS["socialiqa"], Place("f:1", "f#1")).answer == "B"
    assert to_problem({**row, "label": "1"}, TASKS["socialiqa"], Place("f:1", "f#1")).answer == "A"


@pytest.mark.parametrize(
    ("gold", "checker", "answer"),
    [("C", "choice", "C"), (" (B) ", "choice", "B"), ("A; C", "choice", "A, C"), ("-3 to -1", "number", "-3 to -1"),
     ("48 : 49", "number", "48 : 49"), ("3.2e-5", "number", "3.2e-5"), (7, "number", "7"), ("fcc", "judge", "fcc")],
)  # fmt: skip
def test_mascqa_is_checked_by_what_its_gold_answer_is(gold: str | int, checker: str, answer: str) -> None:
    row = {"question": "Which? (A) tin (B) iron (C) lead", "correct_answer": gold}
    problem = to_problem(row, TASKS["mascqa"], Place("f:1", "f#1"))
    assert (problem.checker, problem.answer) == (checker, answer)


@pytest.mark.parametrize(
    ("task", "change", "complaint"),
    [
        ("mmlu", {"answer": None}, "answer: missing; expected one of correct_answer, answerKey"),
        ("mmlu", {"answer": 4}, "answer: is 4, expected an index from 0 to 3"),
        ("mmlu", {"answer": -1}, "answer: is -1, expected an index"),
        ("mmlu", {"answer": True}, "answer: is true or false, expected text or a number"),
        ("mmlu", {"choices": ["7"], "answer": 0}, "choices: has 1 option, expected at least 2"),
        ("mmlu", {"choices": None}, "options: missing; expected one of choices, options, or answerA"),
        ("mmlu", {"choices": "7, 8"}, "choices: is text, expected a list or a dict"),
        ("mmlu", {"choices": ["7", None]}, "choices: an option is null, expected text"),
        ("mmlu", {"choices": [str(n) for n in range(30)]}, "choices: has 30 options, expected at most 26"),
        ("mmlu", {"question": "  "}, "question: is empty"),
        ("mmlu", {"question": None}, "question: missing; expected one of query, question, problem"),
        ("mmlu", {"question": ["Q"]}, "question: is a list, expected text"),
        ("commonsenseqa", {"answerKey": "F"}, "answerKey: is 'F', expected one of A, B, C, D, E, or the text of"),
        ("commonsenseqa", {"answerKey": ""}, "answerKey: is empty; a split without gold answers"),
        ("commonsenseqa", {"choices": {"label": ["A"], "text": ["x", "y"]}}, "choices: has 1 labels for 2 texts"),
        ("socialiqa", {"label": "4"}, "label: is '4', expected 1 to 3"),
        ("socialiqa", {"context": 3}, "context: is int, expected text"),
        ("gsm8k", {"answer": "Nobody knows.\n#### many"}, "answer: is 'many', expected a number after ####"),
        ("aime", {"Answer": "no idea"}, "Answer: is 'no idea', expected a number"),
    ],
)  # fmt: skip
def test_a_broken_row_is_one_line_with_file_line_and_field(
    task: str, change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    row = ROWS[task][0]
    path = write(tmp_path / "rows.jsonl", row, row, {**row, **change})
    with pytest.raises(DataError) as caught:
        load_problems(task, path=path, limit=1)
    assert str(caught.value).startswith(f"{path}:3: {complaint}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"question": "Q', ":1: line: not JSON, one object a line: Unterminated string"),
        (b"\n[1, 2]\n", ":2: line: not a JSON object"),
        (b'{"question": "\xff"}', ":1: line: not UTF-8 text at byte 14"),
        (b"[" * 100_000, ":1: line: not JSON, one object a line: nested too deep"),
        (b'{"title": "x", "body": "y"}', ":1: line: fits no task (its fields: body, title); say which: task="),
        (b"\n", ": has no rows"),
    ],
)
def test_a_broken_file_is_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_problems("file", path=str(path))
    assert str(caught.value).startswith(f"{path}{complaint}")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: no such file"):
        load_problems("mmlu", path=str(tmp_path / "gone.jsonl"))
    with pytest.raises(ConfigError, match=r"task=commonsensqa: unknown task; did you mean commonsenseqa\?"):
        load_problems("commonsensqa")
    with pytest.raises(ConfigError, match="task=file: needs a file"):
        load_problems("file")
    with pytest.raises(ConfigError, match="limit=0: expected at least 1"):
        load_problems("mmlu", limit=0)
    with pytest.raises(ConfigError, match=r"online=false; .* task=math500 path=math500\.jsonl"):
        load_problems("math500", online=False)
    assert find_task("MATH-500") is TASKS["math500"]


def test_a_sample_is_seeded_ordered_and_grows(tmp_path: Path) -> None:
    rows = [{**ROWS["mmlu"][0], "question": f"Which is prime, number {number}?"} for number in range(50)]
    path = write(tmp_path / "mmlu.jsonl", *rows)
    everything = [problem.id for problem in load_problems("mmlu", path=path)]
    ten = [problem.id for problem in load_problems("mmlu", limit=10, path=path)]
    assert len(set(ten)) == 10 and ten == [each for each in everything if each in ten]
    assert ten == [problem.id for problem in load_problems("file", limit=10, path=path)]
    assert ten != [problem.id for problem in load_problems("mmlu", limit=10, seed=1, path=path)]
    assert set(ten) < {problem.id for problem in load_problems("mmlu", limit=20, path=path)}
    assert everything == [problem.id for problem in load_problems("mmlu", limit=50, path=path)]


def test_problems_that_read_the_same_have_different_ids(tmp_path: Path) -> None:
    row = ROWS["mmlu"][0]
    first, second = load_problems("mmlu", path=write(tmp_path / "rows.jsonl", row, row))
    assert second.id == f"{first.id}-2"


def test_images_are_references_never_bytes(tmp_path: Path) -> None:
    row = ROWS["scienceqa"][0]
    images = ["pictures/3.png", {"bytes": None, "path": "4.png"}, "data:image/png;base64," + "A" * 5_000, None]
    path = write(tmp_path / "s.jsonl", *({**row, "image": image} for image in images))
    problems = load_problems("scienceqa", path=path)
    assert [problem.image for problem in problems] == ["pictures/3.png", "4.png", f"{path}#3", None]
    assert problems[2].source["image"] == f"{path}#3"


def test_parquet_rows_lose_nulls_of_other_rows_and_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    medqa = ROWS["medqa"][0]
    path = str(tmp_path / "medqa.parquet")
    more = {**medqa, "options": {"A": "x", "B": "y", "C": None, "D": "z"}, "answer_idx": "D"}
    parquet.write_table(pyarrow.Table.from_pylist([medqa, more]), path)
    assert [problem.options for problem in load_problems("file", path=path)] == [
        ("Operate", "Wait", "Pray"),
        ("x", "y", "z"),
    ]
    assert load_problems("medqa", path=path)[1].answer == "C"
    pictured = {**ROWS["scienceqa"][0], "image": {"bytes": b"\x89PNG" * 100, "path": "image.png"}}
    path = str(tmp_path / "scienceqa.parquet")
    parquet.write_table(pyarrow.Table.from_pylist([pictured]), path)
    (problem,) = load_problems("file", path=path)
    assert problem.image == problem.source["image"] == f"{path}#1"
    assert "PNG" not in problem.model_dump_json()
    (tmp_path / "no.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no\.parquet: not a Parquet file"):
        load_problems("medqa", path=str(tmp_path / "no.parquet"))


class Rows(list[dict[str, Any]]):
    """What `datasets.load_dataset` returns, as far as it is used."""

    column_names = ("question", "image")

    def cast_column(self, name: str, to: object) -> Rows:
        self.cast = (name, to)
        return self


def hub(monkeypatch: pytest.MonkeyPatch, rows: Rows | Exception) -> list[Any]:
    calls: list[Any] = []

    def load_dataset(*args: Any, **options: Any) -> Rows:
        calls.append((args, options))
        if isinstance(rows, Exception):
            raise rows
        return rows

    fake = types.ModuleType("datasets")
    fake.load_dataset, fake.Image = load_dataset, lambda decode: f"decode={decode}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return calls


def test_the_hub_is_asked_for_the_right_split_and_images_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROWS["scienceqa"][0]
    rows = Rows([row, {**row, "image": {"bytes": b"pixels", "path": None}}, {**row, "image": object()}])
    calls = hub(monkeypatch, rows)
    problems = load_problems("scienceqa")
    assert calls == [(("derek-thomas/ScienceQA", None), {"split": "test", "revision": None})]
    assert rows.cast == ("image", "decode=False")
    there = "hub:derek-thomas/ScienceQA#test"
    assert [problem.image for problem in problems] == [None, f"{there}/1", f"{there}/2"]
    assert [problem.source["image"] for problem in problems] == [None, f"{there}/1", f"{there}/2"]
    assert len({problem.id for problem in problems}) == 3
    for problem in problems:
        problem.model_dump_json()
    calls.clear()
    rows[:] = [ROWS["socialiqa"][0]]
    load_problems("socialiqa")
    assert calls[0][1] == {"split": "validation", "revision": "refs/convert/parquet"}


def test_without_network_one_line_says_how_to_use_a_local_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, ConnectionError("Couldn't reach 'HuggingFaceH4/MATH-500'\non the Hub"))
    with pytest.raises(ConfigError) as caught:
        load_problems("math500")
    assert "\n" not in str(caught.value)
    assert "cannot load HuggingFaceH4/MATH-500 (ConnectionError: Couldn't reach" in str(caught.value)
    assert "task=math500 path=math500.jsonl" in str(caught.value)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys; import prefdisco.tasks.loading, prefdisco.tasks.checkers;"
        "print([name for name in ('torch', 'datasets', 'pyarrow', 'sympy', 'math_verify') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def problem(checker: Checker, answer: str, options: tuple[str, ...] | None = None, question: str = "Q?") -> Problem:
    return Problem(id="p", task="t", domain="d", question=question, options=options, answer=answer, checker=checker)


DRINKS = ("coffee", "tea", "milk", "water")
ANIMALS = ("mammal", "a dog", "bird", "I, Robot")
GERMS = ("Salmonella", "E. coli", "C. difficile", "B cells", "Vitamin C")
NUMBERS = ("0", "4", "2", "6")


@pytest.mark.parametrize(
    "response",
    [
        "B", "b", "(b)", "B.", "b) tea", "B: tea", "B - tea", "Option B", "option (b)", "tea", "Tea.", "- B",
        "> **B) tea**",
        "Answer: B", "**Answer:** B", "**Answer: B**", "Answer: **B**", "### Answer\nB", "### Answer\n\n**B) tea**",
        "Answer:\n\nB", "Answer: B (tea)", "answer=B", "answer is b", "FINAL ANSWER: B. Tea",
        "The best option is **B**",
        "The answer is (b).", "The answer to the question is B.", "The correct option is B, because A is bitter.",
        "\\boxed{B}", "\\boxed{\\text{B}}", "The answer is $\\boxed{\\textbf{(B)}}$.", "\\boxed{B. tea}",
        "\\boxed{tea}",
        "Answer: tea", "The answer is a cup of tea.", "They drink tea.", "**tea**", "It's B.", "I would choose B.",
        "I'd go with option B.", "Option B is the correct answer.", "(B) is the right choice, since coffee is bitter.",
        "Answer: B\n\nHope this helps! A great question.", "B) tea\n\nBecause it is warm. Enjoy!",
        "Option A is wrong because coffee is bitter. Option C is wrong. Therefore the answer is B.",
        "**A)** bitter\n**B)** warm\n**C)** white\n\nSo B.", "The answer is not A. The answer is B.",
        "You might think the answer is A, but the answer is B.",
        "The answer is A. Wait, that's wrong. The answer is B.",
        "Since it is not coffee, the answer is B.", "Coffee isn't warm and milk is wrong, so the correct answer is B.",
        "**A) coffee** is too bitter.\n\nB", "A is not right. B is right.",
        "B) tea\nA and C are cold, D is not a drink.",
        "We choose a drink that is warm. The answer is B.", "Answer: B. Actually, the answer is not even close to A.",
        "So the answer is B: tea.\n\nIf the answer is A, then it would be bitter.",
    ],
)  # fmt: skip
def test_a_choice_is_read_as_it_was_meant(response: str) -> None:
    assert check(problem("choice", "B", DRINKS), response) is True


@pytest.mark.parametrize(
    "response",
    [
        "", "   ", "A", "Answer: A", "Answer: E", "Answer: Z", "Boy", "Be kind.", "I do not know.", "It is not tea.",
        "Answer: A or B", "Answer: A and B", "Answer: B, C", "Answer: B/C", "Answer: B (or C)", "either B or C",
        "Answer: B\nAnswer: C", "\\boxed{B} and \\boxed{C}", "The answer is B. The answer is C.",
        "Answer: B\n\\boxed{C}",
        "**B** or **C**", "**A**\n**B**", "**A** it is.\n\nB", "I pick B. I pick C.",
        "Answer: B) coffee", "Answer: B) tea or C) milk", "A B C D", "Answer: ABCD",
        "A) coffee\nB) tea\nC) milk\nD) water", "The answer is not B.", "Is the answer B?", "The answer is B? No.",
        "If the answer is B, then pigs fly.", "I like tea and coffee.", "The answer is coffee, not tea.",
        "Answer: B\nActually, let me reconsider.\nAnswer: A",
    ],
)  # fmt: skip
def test_another_choice_and_two_choices_are_wrong(response: str) -> None:
    assert check(problem("choice", "B", DRINKS), response) is False


@pytest.mark.parametrize(
    ("options", "gold", "response", "right"),
    [
        (ANIMALS, "A", "The answer is a mammal.", True),
        (ANIMALS, "A", "The answer is a bird.", False),
        (ANIMALS, "A", "A bird sings.", False),
        (ANIMALS, "A", "The answer is a good one: a bird", False),
        (ANIMALS, "B", "The answer is a dog.", True),
        (ANIMALS, "A", "The answer is A because it is warm.", True),
        (ANIMALS, "A", "The answer is a", True),
        (ANIMALS, "D", "Answer: I, Robot", True),
        (ANIMALS, "A", "I hope this helps. A good question!", False),
        (GERMS, "B", "Answer: E. coli", True),
        (GERMS, "E", "Answer: E. coli", False),
        (GERMS, "E", "Answer: E", True),
        (GERMS, "C", "The answer is C. difficile infection", True),
        (GERMS, "D", "The answer is B cells.", True),
        (GERMS, "C", "The answer is Vitamin C", False),
        (NUMBERS, "B", "Answer: x = 4", True),
        (NUMBERS, "B", "Answer: 2 or 4", False),
        (("-1", "1"), "B", "Answer: -1", False),
        (("x+1", "x-1"), "A", "Answer: x-1", False),
        (("red", "dark red"), "B", "It is dark red.", True),
        (("red", "dark red"), "A", "Answer: dark red", False),
        (("one", "Both A and C", "two"), "B", "Both A and C", True),
        (("yes", "Not enough information"), "B", "Answer: Not enough information", True),
        (("same", "other", "same"), "C", "Answer: A", True),  # two options that read the same
    ],
)
def test_words_that_look_like_letters_are_words(
    options: tuple[str, ...], gold: str, response: str, right: bool
) -> None:
    assert check(problem("choice", gold, options), response) is right


@pytest.mark.parametrize(
    ("gold", "response", "right"),
    [("B", "The answer is Mercury", True), ("B", "(C)", False), ("A, C", "Answer: A and C", True),
     ("A, C", "Answer: (C), (A)", True), ("A, C", "Answer: A", False), ("A, C", "Answer: A, B and C", False)],
)  # fmt: skip
def test_options_within_the_question_and_several_gold_letters(gold: str, response: str, right: bool) -> None:
    question = "Which? (A) Water (B) Mercury (C) Copper (D) Silver"
    assert check(problem("choice", gold, question=question), response) is right


@pytest.mark.parametrize(
    ("gold", "response", "right"),
    [
        ("18", "18", True), ("18", "Answer: $18.00", True), ("18", "#### 18", True),
        ("18", "\\boxed{18\\text{ eggs}}", True),
        ("18", "She makes 9 * 2 = $18 every day.\nWell done!", True), ("18", "So **18** eggs in 2 days.", True),
        ("18", "Answer: 1.8 × 10^1", True), ("18", "Answer: $1.8 \\times 10^{1}$", True),
        ("18", "Answer: 18e0 m", True),
        ("18", "Answer: \\frac{36}{2}", True), ("18", "The area is 18 m^2.", True),
        ("18", "Answer: 18 (9 pairs)", True),
        ("18", "Answer: 17", False), ("18", "Answer: 18 or 19", False), ("18", "Answer: 18.5", False),
        ("18", "Answer: -18", False), ("-18", "Answer: −18", True), ("18", "The answer is not 18.", False),
        ("18", "eighteen", False), ("18", "", False), ("7", "Answer: 7e99999", False),
        ("4", "3 friends share 12 apples, so each has 4.", True), ("18", "1. Add.\n2. That makes 18 eggs", True),
        ("18", "We choose x = 3. That makes 18.", True), ("5", "3. It is 5", True), ("3", "3. It is 5", False),
        ("1200", "Answer: 1,200", True), ("1200", "Answer: $1{,}200$", True), ("1200", "1,201", False),
        ("42", "Answer: 042", True), ("1", "Answer: 1.0000001", True), ("1", "Answer: 1.00001", False),
        ("20", "Answer: 20%", True), ("0.2", "Answer: 20 percent", True), ("20%", "0.2", True), ("20%", "2%", False),
        ("0.85 to 0.89", "Answer: 0.87 μm", True), ("0.85 to 0.89", "0.85", True), ("0.85 to 0.89", "0.89.", True),
        ("0.85 to 0.89", "Answer: 8.7 × 10⁻¹ μm", True), ("0.85 to 0.89", "λ = 1240/1430 = 0.867 μm", True),
        ("0.85 to 0.89", "Answer: 0.8499", False), ("0.85 to 0.89", "Answer: 0.9", False),
        ("0.85 to 0.89", "Answer: 0.86 to 0.88", True), ("0.85 to 0.89", "Answer: 0.5 to 1.5", False),
        ("-3 to -1", "Answer: -2 kJ/mol", True), ("-3 to -1", "Answer: 2", False), ("-3 to -1", "-3", True),
        ("48 : 49", "48.5 °C", True), ("2 * $10^(-3)$ to 3 * $10^(-3)$", "0.0025", True),
         ("1.2 or 3 to 4", "Answer: 3.5", True), ("1.2 or 3 to 4", "Answer: 2", False),
    ],
)  # fmt: skip
def test_numbers_are_compared_as_numbers(gold: str, response: str, right: bool) -> None:
    assert check(problem("number", gold), response) is right


def test_a_number_problem_without_a_number_is_a_data_error() -> None:
    with pytest.raises(DataError, match="problem p: answer: 'many' is no number or range"):
        check(problem("number", "many"), "3")


@pytest.mark.parametrize(
    ("gold", "response", "right"),
    [("New York", "Answer: new york.", True), ("ice-cream", "Answer: Ice Cream", True), ("U.S.", "Answer: US", True),
     ("Mt. Fuji", "The answer is Mt. Fuji. It is high.", True), ("Eve", "\\boxed{\\text{Eve}}", True), ("+", "+", True),
     ("New York", "Answer: New York City", False), ("3.5", "35", False), ("+", "Answer: -", False),
     ("Eve", "Not Eve", False)],
)  # fmt: skip
def test_exact_answers_forgive_case_space_and_punctuation_only(gold: str, response: str, right: bool) -> None:
    assert check(problem("exact", gold), response) is right


def test_a_judge_is_needed_where_the_checker_says_so() -> None:
    assert check(problem("judge", "Ada"), "Ada") is None
    assert check(problem("judge", "Ada").model_copy(update={"checker": None}), "Ada") is None


@pytest.mark.parametrize(
    ("response", "answer"),
    [("x \\boxed{a{b}c} y", "a{b}c"), ("\\boxed{1}\n\\boxed{2}", "2"), ("Answer: 42", "42"), ("\\boxed{1", "\\boxed{1"),
     ("The answer is 3.14 m. Yes.", "3.14 m"), ("Answer: E. coli", "E. coli"), ("So **B** it is.", "B"),
     ("The answer is $\\frac{1}{2}$.", "\\frac{1}{2}"), ("one\ntwo.\n\n", "two"), ("", None), (" \n", None)],
)  # fmt: skip
def test_the_final_answer_is_what_is_stated_last(response: str, answer: str | None) -> None:
    assert final_answer(response) == answer


def test_a_long_response_is_read_from_its_end() -> None:
    long = "word, 17. " * 100_000
    assert check(problem("choice", "B", DRINKS), f"{long}\nAnswer: B") is True
    assert check(problem("number", "18"), f"{long}\nThat makes 18.") is True
    assert check(problem("number", "18"), "9" * 100_000) is False


@pytest.mark.parametrize(
    "unit",
    ["A", "answer ", "answer is ", "answer to ", "\\boxed{", "{", "*", "**a", "1", "1,", "1 ", "=1", "\n", "(A)",
     "A or ",
     "Answer: A or ", "#", "\n#", "- ", "$", "\\frac{1}{", "A, ", "10^", "1/", "wait ", "B is ", "Answer: tea\n", " ",
     "(1 "],
)  # fmt: skip
def test_a_megabyte_is_read_in_no_time(unit: str) -> None:
    text = "Answer: " + unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    check(problem("choice", "B", DRINKS), text)
    check(problem("number", "1 to 2"), text)
    check(problem("exact", "x"), text)
    assert time.perf_counter() - start < 2  # three checks, and room for a busy machine; 0.1 s on a free one


FAKE = """
import threading, time
class LatexExtractionConfig:
    def __init__(self, boxed_match_priority): assert boxed_match_priority == 0
class ExprExtractionConfig: pass
def parse(text, extraction_config, parsing_timeout):
    assert parsing_timeout is None and text.startswith("\\\\boxed{")
    print("noise")
    if "hang" in text: time.sleep(60)
    if "die" in text: raise SystemExit
    return [text]
def verify(gold, answer, timeout_seconds):
    assert timeout_seconds is None
    return gold[0].replace(" ", "") == answer[0].replace("~", "")
"""


@pytest.fixture
def fresh_child() -> Iterator[None]:
    symbolic._child().stop()
    yield
    symbolic._child().stop()


@pytest.fixture
def fake_math(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_child: None) -> None:
    (tmp_path / "math_verify").mkdir()
    (tmp_path / "math_verify" / "__init__.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(symbolic, "SECONDS", 1.0)


def test_a_comparison_that_hangs_or_dies_is_wrong_and_the_next_one_works(fake_math: None) -> None:
    assert symbolic.equal("x + 1", "x+~1") is True
    assert symbolic.equal("x + 1", "hang") is False
    assert symbolic.equal("x + 1", "die") is False
    assert symbolic.equal("x + 1", "x+~1") is True
    assert symbolic.equal("x", "x" * 10_000) is False and symbolic.equal("x", " ") is False


def test_math_is_checked_from_any_thread(fake_math: None) -> None:
    results: list[bool | None] = []
    eve = problem("math", "p - q")
    ask = [threading.Thread(target=lambda: results.append(check(eve, "So it is $p~-q$."))) for _ in range(4)]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    assert results == [True] * 4


def test_without_math_verify_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "find_spec", lambda name: None)
    for ask in (lambda: check(problem("math", "1"), "Answer: 1"), lambda: check_ready([problem("math", "1")])):
        with pytest.raises(ConfigError, match=r"pip install math-verify$"):
            ask()
    check_ready([problem("number", "1")])


@pytest.mark.parametrize(
    ("gold", "response", "right"),
    [
        ("\\frac{14}{3}", "\\boxed{\\frac{14}{3}}", True), ("\\frac{14}{3}", "The answer is $14/3$.", True),
        ("\\frac{14}{3}", "Answer: 14/3", True), ("\\frac{14}{3}", "Answer: 4.6", False),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "The answer is $(3, \\pi/2)$.", True),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "Answer: (3, pi/2)", True),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "\\boxed{(3, \\pi)}", False),
        ("p - q", "\\[\\boxed{-q + p}\\]", True), ("p - q", "Answer: q - p", False),
        ("3\\sqrt{13}", "Answer: 3*sqrt(13)", True), ("3\\sqrt{13}", "So it is $\\sqrt{117}$.", True),
        ("90^\\circ", "Answer: 90 degrees", True), ("\\text{Evelyn}", "Answer: Evelyn", True),
        ("\\text{Evelyn}", "Answer: Angela", False), ("6 - 5i", "\\boxed{-5i+6}", True), ("x=5", "Answer: 5", True),
        ("4", "Answer: 4x", False), ("6 - 5i", "Answer: 5.5", False), ("5", "Answer: $2 + 3$", True),
        ("42", "Answer: 42 apples", True), ("42", "Answer: 41", False), ("1,-2", "\\boxed{-2, 1}", True),
        ("2", "\\boxed{5^{5^{5^{5^{5}}}}}", False), ("2", "\\boxed{99999999999!}", False), ("2", "", False),
        ("\\frac{3}{2}", "\\boxed{\\frac{3}{2}1}", False), ("3", "\\boxed{\\frac{3}{2}2}", False),
        ("x+1", "\\boxed{\\sqrt{x^2}1+1}", False), ("x+1", "Answer: x+1}", False),
        ("\\frac12", "\\boxed{\\frac{1}2}", True),
    ],
)  # fmt: skip
def test_mathematics_is_compared_by_meaning(gold: str, response: str, right: bool) -> None:
    pytest.importorskip("math_verify")
    assert check(problem("math", gold), response) is right
