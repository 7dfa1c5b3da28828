"""The published format: read, written back equal, and every fault named in one line with file, line and field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_made import scenario as hand_made

from prefdisco.records import (
    faults,
    is_published,
    problem_of_row,
    read_metadata,
    read_records,
    write_records,
)
from prefdisco.records.rows import Unreadable
from prefdisco.schema import DataError, Scenario, read_jsonl, write_jsonl

Json = dict[str, Any]
LEVELS = [{"score": 1, "description": "no"}, {"score": 3, "description": "half"}, {"score": 5, "description": "yes"}]
METADATA = {"type": "metadata", "dataset": "GBaker/MedQA-USMLE-4-options", "sample_size": 100}
ROW = {
    "question": "What now?",
    "answer": "Wait",
    "options": {"A": "Act", "B": "Wait", "C": "Ask", "D": "Leave"},
    "answer_idx": "B",
    "meta_info": "step1",
}
PARSED = {"question": "What now?", "options": ROW["options"], "answer": "B", "solution": None, "image": None}


def preference(value: Any, importance: int, type: str = "personal", **more: Any) -> Json:
    return {
        "value": value, "justification": "since", "local_importance": importance, "type": type,
        "description": "what it is", "value_range": "1-5 (1: low, 5: high)", **more,
    }  # fmt: skip


def criterion(name: str, weight: float) -> Json:
    return {"preference": name, "description": f"how {name} is met", "weight": weight, "levels": copy.deepcopy(LEVELS)}


def record(index: int = 0, persona: str = "vásquez_1a2b", **more: Any) -> Json:
    """A record as it is published, without `parsed_problem`."""
    trait = {"score": 4, "description": "curious"}
    made = {
        "type": "personalized_problem",
        "problem_id": f"problem_{index}_{persona}",
        "original_problem": {**ROW, "question": f"What now, {index}?"},
        "persona": {
            "id": persona,
            "name": "Carmen Vásquez",
            "minimal_necessary_description": "A cook who learns by doing.",
            "demographics": {
                "age": 41, "occupation": "cook", "location": "Austin", "family_context": "sons", "hobbies": ["chess"],
            },
            "educational_profile": {
                "knowledge_level": "high school", "common_errors": "haste",
                "cognitive_features": {"learning_style": "hands-on"}, "affective_features": {"confidence": "low"},
            },
            "personality_big5": {name: dict(trait) for name in ("openness", "neuroticism")},
            "backstory": "She came late to cooking.",
            "domain_expertise": ["food", "budgets"],
            "usage_count": 3,
        },
        "persona_preferences": {
            "Comfort with Medicine": preference(2, 5, "expertise"),
            "Tone": preference("warm", 4, value_range="warm / neutral"),
            "Explanation Depth": preference(3.5, 3, problem_context="question"),
        },
        "evaluation_rubric": {
            "evaluation_criteria": [
                criterion("Comfort with Medicine", 0.42), criterion("Tone", 0.33), criterion("Explanation Depth", 0.25),
            ]
        },
        "generation_success": True,
    }  # fmt: skip
    return copy.deepcopy({**made, **more})


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records), encoding="utf-8")
    return path


def normalized(record: Json) -> Json:
    """The record with the weights that reading gives it."""
    made = copy.deepcopy(record)
    importances = {name: each["local_importance"] for name, each in made["persona_preferences"].items()}
    for each in made["evaluation_rubric"]["evaluation_criteria"]:
        each["weight"] = pytest.approx(importances[each["preference"]] / sum(importances.values()))
    return made


def again(tmp_path: Path, *records: Any, metadata: Json | None = METADATA) -> list[Json]:
    """The records after reading and writing, the metadata line among them."""
    path = write(tmp_path / "in.jsonl", *([metadata] if metadata else []), *records)
    write_records(tmp_path / "out.jsonl", read_records(path), read_metadata(path))
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]


UNUSUAL: dict[str, Callable[[Json], Any]] = {
    "as published": lambda r: None,
    "with parsed_problem": lambda r: r.update(parsed_problem={**PARSED, "question": "What now, 0?"}),
    "parsed_problem is null": lambda r: r.update(parsed_problem=None),
    "value as text of a number": lambda r: r["persona_preferences"]["Tone"].update(value="4"),
    "no type": lambda r: r["persona_preferences"]["Tone"].pop("type"),
    "unknown type": lambda r: r["persona_preferences"]["Tone"].update(type="Communication style"),
    "no description": lambda r: r["persona_preferences"]["Tone"].pop("description"),
    "scores without descriptions": lambda r: r["persona"].update(personality_big5={"openness": 2}),
    "a short persona": lambda r: [r["persona"].pop(k) for k in ("backstory", "domain_expertise", "personality_big5")],
    "levels from 5 to 1": lambda r: r["evaluation_rubric"]["evaluation_criteria"][0]["levels"].reverse(),
    "a criterion that says more": lambda r: r["evaluation_rubric"]["evaluation_criteria"][1].update(note="x"),
    "a rubric that says more": lambda r: r["evaluation_rubric"].update(version=2),
    "criteria in another order": lambda r: r["evaluation_rubric"]["evaluation_criteria"].reverse(),
    "weights far off": lambda r: r["evaluation_rubric"]["evaluation_criteria"][0].update(weight=2),
    "a list for a value": lambda r: r["persona_preferences"]["Tone"].update(value=["warm", "dry"]),
    "line separators in text": lambda r: r["persona"].update(backstory="one\u2028two\nthree"),
}


@pytest.mark.parametrize("change", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_read_is_written_equal_but_for_normalized_weights(
    change: Callable[[Json], Any], tmp_path: Path
) -> None:
    raw = record()
    change(raw)
    other = record(index=1, persona="b_2")
    assert again(tmp_path, raw, other) == [METADATA, normalized(raw), normalized(other)]


def test_a_file_without_metadata_stays_without(tmp_path: Path) -> None:
    assert again(tmp_path, record(), metadata=None) == [normalized(record())]


def test_fields_go_where_our_schema_has_them(tmp_path: Path) -> None:
    (scenario,) = read_records(write(tmp_path / "x.jsonl", METADATA, record()))
    assert (scenario.id, scenario.problem.id) == ("problem_0_vásquez_1a2b", "problem_0")
    assert (scenario.problem.task, scenario.problem.domain, scenario.problem.checker) == ("medqa", "medicine", "choice")
    assert scenario.problem.options == ("Act", "Wait", "Ask", "Leave") and scenario.problem.answer == "B"
    assert scenario.problem.source == record()["original_problem"]
    assert scenario.persona.big5 == {"openness": 4, "neuroticism": 4}
    assert scenario.persona.expertise == {"domains": ["food", "budgets"]}
    assert [(p.value, p.kind, p.weight) for p in scenario.profile] == [
        ("2", "expertise", pytest.approx(5 / 12)), ("warm", "personal", pytest.approx(4 / 12)),
        ("3.5", "personal", pytest.approx(3 / 12)),
    ]  # fmt: skip
    assert [c.weight for c in scenario.rubric] == [p.weight for p in scenario.profile]
    assert scenario.rubric[0].levels == {1: "no", 3: "half", 5: "yes"}


def test_scenarios_of_our_own_can_be_published_and_read_again(tmp_path: Path) -> None:
    ours = [
        hand_made("p1", "ann", tone="formal", format="bullets"),
        hand_made("p1", "bob", tone="warm"),
        hand_made("p2", "ann"),
    ]
    ours[0] = ours[0].model_copy(update={"provenance": {"model": "m", "seed": 3}})
    write_records(tmp_path / "x.jsonl", ours, {"dataset": "toy", "domain": "math"})
    assert list(faults(tmp_path / "x.jsonl")) == [
        f"{tmp_path}/x.jsonl:{line}: {field}"
        for line in (2, 3, 4)
        for field in (
            "persona.backstory: expected text, got ''",
            "persona.educational_profile: missing",
            "persona.demographics.age: expected a number of years, got null",
            "persona.demographics.occupation: missing",
        )
    ]
    read = list(read_records(tmp_path / "x.jsonl"))
    assert [each.id for each in read] == ["problem_0_ann", "problem_0_bob", "problem_1_ann"]
    assert [each.rubric for each in read] == [each.rubric for each in ours]
    assert read[0].provenance["seed"] == 3
    for one, other in zip(read, ours, strict=True):
        assert (one.problem.question, one.problem.answer) == (other.problem.question, other.problem.answer)
        assert [(p.attribute, p.value, p.weight) for p in one.profile] == [
            (p.attribute, p.value, p.weight) for p in other.profile
        ]


def test_changed_scenarios_are_written_as_they_are_now(tmp_path: Path) -> None:
    (scenario,) = read_records(write(tmp_path / "in.jsonl", METADATA, record(parsed_problem=PARSED)))
    value = scenario.profile[0].model_copy(update={"value": "4", "kind": "reasoning"})
    problem = scenario.problem.model_copy(update={"question": "And now?"})
    persona = scenario.persona.model_copy(update={"big5": {"openness": 1.0}})
    changed = scenario.model_copy(
        update={"problem": problem, "persona": persona, "profile": (value, *scenario.profile[1:])}
    )
    write_records(tmp_path / "out.jsonl", [changed], METADATA)
    (read,) = read_records(tmp_path / "out.jsonl")
    assert read.problem.question == "And now?" and read.persona.big5 == {"openness": 1.0}
    assert (read.profile[0].value, read.profile[0].kind) == ("4", "reasoning")


ROWS: dict[str, tuple[Json, tuple[str, tuple[str, ...] | None, str]]] = {
    "MATH-500": ({"problem": "1+1?", "solution": "..", "answer": "2"}, ("1+1?", None, "2")),
    "AIME": ({"Question": "x?", "Answer": 21}, ("x?", None, "21")),
    "GSM8K": ({"question": "how many?", "answer": "3 + 3 = <<6>>6\n#### 6"}, ("how many?", None, "6")),
    "MASCQA": ({"question": "E?", "correct_answer": "0.85 to 0.89"}, ("E?", None, "0.85 to 0.89")),
    "CommonsenseQA": (
        {"question": "where?", "choices": {"label": ["A", "B"], "text": ["bank", "mall"]}, "answerKey": "B"},
        ("where?", ("bank", "mall"), "B"),
    ),
    "LogiQA": (
        {"context": "All a are b.", "query": "So?", "options": ["x", "y", "z"], "correct_option": 2},
        ("All a are b.\nSo?", ("x", "y", "z"), "C"),
    ),
    "MedQA": (ROW, ("What now?", ("Act", "Wait", "Ask", "Leave"), "B")),
    "MMLU": ({"question": "?", "choices": ["0", "4", "2"], "answer": 1}, ("?", ("0", "4", "2"), "B")),
    "SocialIQA": (
        {
            "context": "Kim fell.",
            "question": "Why?",
            "answerA": "ice",
            "answerB": "fun",
            "answerC": "joy",
            "label": "3",
        },
        ("Kim fell.\nWhy?", ("ice", "fun", "joy"), "C"),
    ),
    "the text of an option": ({"prompt": "?", "options": ["no", "yes"], "answer": "yes"}, ("?", ("no", "yes"), "B")),
    "other labels": ({"prompt": "?", "options": {"p": "no", "q": "yes"}, "answer": "q"}, ("?", ("no", "yes"), "B")),
}


@pytest.mark.parametrize("source", ROWS)
def test_rows_of_every_source_are_understood(source: str) -> None:
    row, expected = ROWS[source]
    problem = problem_of_row(row, source, "1")
    assert (problem.question, problem.options, problem.answer) == expected
    assert problem.source == row


@pytest.mark.parametrize("label", [4, -1, True, "E", None, ""])
def test_an_answer_that_names_no_option_is_refused(label: Any) -> None:
    with pytest.raises(Unreadable):
        problem_of_row({"question": "?", "choices": ["a", "b", "c", "d"], "answer": label}, "x", "1")


P, R = "persona_preferences", "evaluation_rubric"
C = f"{R}.evaluation_criteria"
FATAL: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no type": (lambda r: r.pop("type"), "type"),
    "another type": (lambda r: r.update(type="problem"), "type"),
    "no id": (lambda r: r.pop("problem_id"), "problem_id"),
    "an id without a persona": (lambda r: r.update(problem_id="problem_3"), "problem_id"),
    "an id without a number": (lambda r: r.update(problem_id="problem_x_ann"), "problem_id"),
    "an id that is a number": (lambda r: r.update(problem_id=3), "problem_id"),
    "no source row": (lambda r: r.pop("original_problem"), "original_problem"),
    "an empty source row": (lambda r: r.update(original_problem={}), "original_problem"),
    "a source row of text": (lambda r: r.update(original_problem="What?"), "original_problem"),
    "no question": (lambda r: r["original_problem"].pop("question"), "original_problem.question"),
    "a question of numbers": (lambda r: r["original_problem"].update(question=[1]), "original_problem.question"),
    "no answer": (
        lambda r: [r["original_problem"].pop(k) for k in ("answer", "answer_idx")], "original_problem.answer",
    ),
    "an answer that is no option": (
        lambda r: r["original_problem"].update(answer_idx="E"), "original_problem.answer_idx",
    ),
    "options of text": (lambda r: r["original_problem"].update(options="A, B"), "original_problem.options"),
    "an option that is none": (lambda r: r["original_problem"]["options"].update(A=[1]), "original_problem.options"),
    "labels without texts": (
        lambda r: r["original_problem"].update(choices={"label": ["A"], "text": []}), "original_problem.choices",
    ),
    "parsed_problem of text": (lambda r: r.update(parsed_problem="x"), "parsed_problem"),
    "parsed_problem without question": (
        lambda r: r.update(parsed_problem={**PARSED, "question": " "}), "parsed_problem.question",
    ),
    "parsed_problem without answer": (
        lambda r: r.update(parsed_problem={**PARSED, "answer": None}), "parsed_problem.answer",
    ),
    "parsed answer beyond the options": (
        lambda r: r.update(parsed_problem={**PARSED, "answer": 4}), "parsed_problem.answer",
    ),
    "no persona": (lambda r: r.pop("persona"), "persona"),
    "a persona of text": (lambda r: r.update(persona="Ann"), "persona"),
    "a persona without id": (lambda r: r["persona"].pop("id"), "persona.id"),
    "a persona without name": (lambda r: r["persona"].update(name=" "), "persona.name"),
    "a persona without description": (
        lambda r: r["persona"].pop("minimal_necessary_description"), "persona.minimal_necessary_description",
    ),
    "no demographics": (lambda r: r["persona"].pop("demographics"), "persona.demographics"),
    "a profile of text": (lambda r: r["persona"].update(educational_profile="x"), "persona.educational_profile"),
    "traits in a list": (lambda r: r["persona"].update(personality_big5=[4]), "persona.personality_big5"),
    "a score of 7": (
        lambda r: r["persona"]["personality_big5"]["openness"].update(score=7),
        "persona.personality_big5.openness.score",
    ),
    "a score in words": (
        lambda r: r["persona"]["personality_big5"].update(openness="high"), "persona.personality_big5.openness",
    ),
    "expertise of text": (lambda r: r["persona"].update(domain_expertise="food"), "persona.domain_expertise"),
    "no preferences": (lambda r: r.pop(P), P),
    "empty preferences": (lambda r: r.update({P: {}}), P),
    "preferences in a list": (lambda r: r.update({P: [1]}), P),
    "a preference of text": (lambda r: r[P].update(Tone="warm"), f"{P}.Tone"),
    "a preference without value": (lambda r: r[P]["Tone"].pop("value"), f"{P}.Tone.value"),
    "an empty value": (lambda r: r[P]["Tone"].update(value=""), f"{P}.Tone.value"),
    "a value that is an object": (lambda r: r[P]["Tone"].update(value={"a": 1}), f"{P}.Tone.value"),
    "no importance": (lambda r: r[P]["Tone"].pop("local_importance"), f"{P}.Tone.local_importance"),
    "an importance of 0": (lambda r: r[P]["Tone"].update(local_importance=0), f"{P}.Tone.local_importance"),
    "an importance in words": (lambda r: r[P]["Tone"].update(local_importance="high"), f"{P}.Tone.local_importance"),
    "a justification in a list": (lambda r: r[P]["Tone"].update(justification=["x"]), f"{P}.Tone.justification"),
    "no rubric": (lambda r: r.pop(R), R),
    "a rubric in a list": (lambda r: r.update({R: []}), R),
    "a rubric without criteria": (lambda r: r.update({R: {"evaluation_criteria": []}}), C),
    "a criterion of text": (lambda r: r[R]["evaluation_criteria"].append("x"), f"{C}.3"),
    "a criterion of no preference": (
        lambda r: r[R]["evaluation_criteria"].append(criterion("Pace", 0)), f"{C}.3.preference",
    ),
    "a preference without criterion": (lambda r: r[R]["evaluation_criteria"].pop(), C),
    "a criterion without description": (
        lambda r: r[R]["evaluation_criteria"][1].pop("description"), f"{C}.1.description",
    ),
    "a negative weight": (lambda r: r[R]["evaluation_criteria"][1].update(weight=-0.33), f"{C}.1.weight"),
    "a weight in words": (lambda r: r[R]["evaluation_criteria"][1].update(weight="a third"), f"{C}.1.weight"),
    "no levels": (lambda r: r[R]["evaluation_criteria"][2].pop("levels"), f"{C}.2.levels"),
    "a level of text": (lambda r: r[R]["evaluation_criteria"][2]["levels"].append("best"), f"{C}.2.levels.3"),
    "a level of score 6": (
        lambda r: r[R]["evaluation_criteria"][2]["levels"][2].update(score=6), f"{C}.2.levels.2.score",
    ),
}  # fmt: skip
HARMLESS: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no backstory": (lambda r: r["persona"].pop("backstory"), "persona.backstory"),
    "no traits": (lambda r: r["persona"].pop("personality_big5"), "persona.personality_big5"),
    "no educational profile": (lambda r: r["persona"].pop("educational_profile"), "persona.educational_profile"),
    "an age in words": (lambda r: r["persona"]["demographics"].update(age="forties"), "persona.demographics.age"),
    "no occupation": (lambda r: r["persona"]["demographics"].pop("occupation"), "persona.demographics.occupation"),
    "another persona in the id": (lambda r: r["persona"].update(id="x"), "problem_id"),
    "an unknown type": (lambda r: r[P]["Tone"].update(type="social"), f"{P}.Tone.type"),
    "no type of a preference": (lambda r: r[P]["Tone"].pop("type"), f"{P}.Tone.type"),
    "a value beyond the scale": (
        lambda r: r[P]["Explanation Depth"].update(value=9), f"{P}.Explanation Depth.value",
    ),
    "an importance of 8": (lambda r: r[P]["Tone"].update(local_importance=8), f"{P}.Tone.local_importance"),
    "no justification": (lambda r: r[P]["Tone"].pop("justification"), f"{P}.Tone.justification"),
    "weights that sum to 1.1": (lambda r: r[R]["evaluation_criteria"][0].update(weight=0.52), C),
    "no weight": (lambda r: r[R]["evaluation_criteria"][0].pop("weight"), f"{C}.0.weight"),
    "two criteria of one preference": (
        lambda r: r[R]["evaluation_criteria"].append(criterion("Tone", 0)), f"{C}.3.preference",
    ),
    "no level 3": (lambda r: r[R]["evaluation_criteria"][2]["levels"].pop(1), f"{C}.2.levels"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "field"), [*FATAL.values(), *HARMLESS.values()], ids=[*FATAL, *HARMLESS])
def test_a_malformed_record_is_one_line_with_file_line_and_field(
    change: Callable[[Json], Any], field: str, tmp_path: Path
) -> None:
    bad = record(index=1)
    change(bad)
    path = write(tmp_path / "x.jsonl", METADATA, record(), bad)
    (line,) = faults(path)
    assert line.startswith(f"{path}:3: {field}: ") and "\n" not in line
    if (change, field) in HARMLESS.values():
        assert len(list(read_records(path))) == 2
    else:
        with pytest.raises(DataError) as caught:
            list(read_records(path))
        assert str(caught.value) == line


LINES = {
    "{": "not JSON: .* at character 2",
    "[1]": "expected a JSON object",
    '{"a": 1, "a": 2}': "the key a occurs twice",
    '{"a": NaN}': "NaN is not a number of JSON",
    '{"a": "\\ud800"}': "half of a surrogate pair",
    "[" * 100_000: "nested too deeply",
    b'{"a": "\xff"}': "not UTF-8 text at byte 8",
}


@pytest.mark.parametrize(("line", "what"), LINES.items(), ids=[what for what in LINES.values()])
def test_a_line_that_is_no_json_is_one_fault(line: str | bytes, what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", record())
    with path.open("ab") as file:
        file.write((line.encode() if isinstance(line, str) else line) + b"\n")
    (found,) = faults(path)
    assert found.startswith(f"{path}:2: line: ")
    with pytest.raises(DataError, match=f":2: line: .*{what}"):
        list(read_records(path))


def test_every_fault_of_a_file_is_listed(tmp_path: Path) -> None:
    bad = record()
    bad["persona"].pop("name")
    bad["persona_preferences"]["Tone"].update(value=None, local_importance=-1)
    found = list(faults(write(tmp_path / "x.jsonl", METADATA, bad, "text", record(), record())))
    assert [line.removeprefix(f"{tmp_path}/x.jsonl:").rpartition(": ")[0] for line in found] == [
        "2: persona.name", "2: persona_preferences.Tone.value", "2: persona_preferences.Tone.local_importance",
        "3: line", "5: problem_id",
    ]  # fmt: skip


def test_one_number_is_one_problem_and_metadata_comes_first(tmp_path: Path) -> None:
    other = record(persona="b")
    other["original_problem"]["question"] = "Something else?"
    found = list(faults(write(tmp_path / "x.jsonl", METADATA, record(), other, METADATA)))
    assert [line.partition("x.jsonl:")[2] for line in found] == [
        "3: original_problem: problem_0 is another problem than that of line 2",
        "4: type: metadata after the first line: two files in one? Split them",
    ]


def test_missing_and_empty_files_are_one_line(tmp_path: Path) -> None:
    for read in (read_records, faults):
        with pytest.raises(DataError, match="no such file"):
            list(read(tmp_path / "none"))
    assert list(faults(write(tmp_path / "x.jsonl", METADATA))) == [
        f"{tmp_path}/x.jsonl:1: line: the file has no records"
    ]
    assert list(read_records(tmp_path / "x.jsonl")) == []


def test_the_two_formats_are_told_apart(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "ours.jsonl", [hand_made()])
    assert not is_published(tmp_path / "ours.jsonl")
    assert is_published(write(tmp_path / "theirs.jsonl", record()))
    assert is_published(write(tmp_path / "with.jsonl", METADATA, record()))
    (tmp_path / "broken.jsonl").write_text('{"persona_preferences": {')
    assert is_published(tmp_path / "broken.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    assert not is_published(tmp_path / "empty.jsonl")


def test_without_metadata_the_file_names_the_task(tmp_path: Path) -> None:
    (tmp_path / "medqa").mkdir()
    for name in ("medqa.jsonl", "medqa/train.jsonl"):
        (scenario,) = read_records(write(tmp_path / name, record()))
        assert scenario.problem.task == "medqa"


def test_imported_scenarios_survive_our_own_format(tmp_path: Path) -> None:
    read = list(read_records(write(tmp_path / "x.jsonl", METADATA, record(), record(1))))
    write_jsonl(tmp_path / "ours.jsonl", read)
    write_records(tmp_path / "again.jsonl", read_jsonl(tmp_path / "ours.jsonl", Scenario), METADATA)
    assert list(read_records(tmp_path / "again.jsonl")) == read
