"""Records of the published benchmark as scenarios, one line at a time.

for scenario in read_records("math.jsonl"): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prefdisco.complaints import short
from prefdisco.hashing import digest
from prefdisco.records.checks import METADATA, RECORD, check, kind_of, problem_of, text_of
from prefdisco.records.lines import Fault, numbered_lines, parse
from prefdisco.records.writing import (
    KEPT,
    fresh_criterion,
    fresh_persona,
    fresh_preference,
    leftover,
    scores_of,
)
from prefdisco.schema import Criterion, DataError, Persona, Preference, Scenario

OURS, THEIRS = {"problem", "profile", "rubric"}, {"original_problem", "persona_preferences", "evaluation_rubric"}
HELD = {"type", "problem_id", "parsed_problem", "persona", *THEIRS}
PLAIN_NAMES = {"train", "test", "validation", "data", "benchmark"}  # files whose folder says what they are
LOOK_AHEAD = 20  # lines that is_published looks at


def read_records(path: str | Path) -> Iterator[Scenario]:
    """Yield the scenarios of a published file. The persona's weights are the shares of its importances.

    Raises DataError, `file:line: field: what`, for a missing file or the first record that cannot be read.
    """
    metadata: Mapping[str, Any] = {}
    for number, record, found in _inspect(Path(path)):
        if fault := next((each for each in found if each.fatal), None):
            raise DataError(_line(path, number, fault))
        if record is not None and record["type"] == METADATA:
            metadata = record
        elif record is not None:
            try:
                yield scenario_of(record, _dataset(Path(path), metadata), str(metadata.get("domain") or ""))
            except ValidationError as error:  # what the checks let pass and the schema does not
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"])) or "line"
                raise DataError(_line(path, number, Fault(field, first["msg"]))) from None


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """The metadata line without its `type`, or None where the file has none. Raises DataError."""
    for number, line in numbered_lines(Path(path)):
        record = parse(line)
        if isinstance(record, Fault):
            raise DataError(_line(path, number, record))
        if isinstance(record, dict) and record.get("type") == METADATA:
            return {name: value for name, value in record.items() if name != "type"}
        return None
    return None


def faults(path: str | Path) -> Iterator[str]:
    """Every fault of a published file, one line each: `file:line: field: what`. Raises DataError for a missing file."""
    empty = True
    for number, record, found in _inspect(Path(path)):
        empty = empty and (record is not None and record.get("type") == METADATA)
        yield from (_line(path, number, fault) for fault in found)
    if empty:
        yield _line(path, 1, Fault("line", "the file has no records"))


def is_published(path: str | Path) -> bool:
    """Whether a file holds published records rather than scenarios in our own form. Raises DataError."""
    for count, (_, line) in enumerate(numbered_lines(Path(path))):
        record = parse(line)
        if isinstance(record, dict):
            if record.get("type") in (METADATA, RECORD) or THEIRS & record.keys():
                return True
            if OURS & record.keys():
                return False
        elif any(f'"{name}"'.encode() in line for name in THEIRS):
            return True  # a broken line, but one of theirs
        if count + 1 == LOOK_AHEAD:
            break
    return False


def scenario_of(record: Mapping[str, Any], task: str, domain: str = "") -> Scenario:
    """One record without fatal faults as a scenario."""
    problem = problem_of(record, task)
    profile = profile_of(record["persona_preferences"])
    rubric, rests = rubric_of(record["evaluation_rubric"], {each.attribute: each.weight for each in profile})
    kept = {
        "problem_id": record["problem_id"],
        "parsed_problem": record.get("parsed_problem"),
        "rubric": rests,
        "extra": {
            name: value
            for name, value in record.items()
            if name not in HELD and not (name == "provenance" and _made(record))
        },
    }
    known = {name for name in kept if kept[name] or (name == "parsed_problem" and name in record)}
    if record["problem_id"] == f"{problem.id}_{record['persona']['id']}":
        known.discard("problem_id")
    return Scenario(
        id=record["problem_id"],
        problem=problem.model_copy(update={"domain": domain}) if domain else problem,
        persona=persona_of(record["persona"]),
        profile=profile,
        rubric=rubric,
        provenance={**_made(record), KEPT: {name: kept[name] for name in kept if name in known}},
    )


def _made(record: Mapping[str, Any]) -> dict[str, Any]:
    """Who made a record, where `write_records` wrote it."""
    made = record.get("provenance")
    return made if isinstance(made, dict) else {}


def persona_of(raw: Mapping[str, Any]) -> Persona:
    """A published persona. `expertise` holds its domains, `details` what our fields do not."""
    persona = Persona(
        id=raw["id"],
        name=raw["name"],
        description=raw["minimal_necessary_description"],
        demographics=raw["demographics"],
        big5=scores_of(raw.get("personality_big5", {})),
        expertise={"domains": raw["domain_expertise"]} if "domain_expertise" in raw else {},
        background=raw["backstory"] if isinstance(raw.get("backstory"), str) else "",
    )
    return persona.model_copy(update={"details": leftover(raw, fresh_persona(persona))})


def profile_of(raw: Mapping[str, Mapping[str, Any]]) -> tuple[Preference, ...]:
    """Published preferences; a weight is the preference's importance, divided by their sum."""
    total = sum(each["local_importance"] for each in raw.values())
    profile = []
    for name, each in raw.items():
        importance = each["local_importance"]
        preference = Preference(
            attribute=name,
            value=text_of(each["value"]),
            weight=importance / total,
            kind=kind_of(each.get("type")),
            description=each.get("description") or "",
            justification=each.get("justification") or "",
        )
        kept = leftover(each, fresh_preference(preference, importance)) | {"local_importance": importance}
        profile.append(preference.model_copy(update={"details": kept}))
    return tuple(profile)


def rubric_of(raw: Mapping[str, Any], weights: Mapping[str, float]) -> tuple[tuple[Criterion, ...], dict[str, Any]]:
    """(criteria with the weights of their preferences, what else the rubric held)."""
    criteria: dict[str, Criterion] = {}
    rests: dict[str, Any] = {}
    repeated = []
    for each in raw["evaluation_criteria"]:
        name = each["preference"]
        if name in criteria:
            repeated.append(each)
            continue
        levels: dict[int, str] = {}
        for level in each["levels"]:
            levels.setdefault(level["score"], level["description"])
        criteria[name] = Criterion(attribute=name, description=each["description"], weight=weights[name], levels=levels)
        if rest := leftover(each, fresh_criterion(criteria[name]), ignore=("weight",)):
            rests[name] = rest
    extra = {name: value for name, value in raw.items() if name != "evaluation_criteria"}
    parts = {"criteria": rests, "repeated": repeated, "extra": extra}
    return tuple(criteria.values()), {name: part for name, part in parts.items() if part}


def _inspect(path: Path) -> Iterator[tuple[int, dict[str, Any] | None, list[Fault]]]:
    """(line number, record or None where it could not be parsed, faults) of every line that is not blank.

    Beside what `check` sees in one record: metadata after the first line, an id that occurred before, and a problem
    that differs from what an earlier record says under the same number.
    """
    seen: dict[str, int] = {}
    problems: dict[str, tuple[str, int]] = {}
    first = True
    for number, line in numbered_lines(path):
        record = parse(line)
        if isinstance(record, Fault):
            yield number, None, [record]
        elif isinstance(record, dict) and record.get("type") == METADATA:
            late = Fault("type", "metadata after the first line: two files in one? Split them")
            yield number, record, [] if first else [late]
        else:
            found = list(check(record))
            if not any(fault.fatal for fault in found):
                found += _repeated(record, number, seen, problems)
            yield number, record if isinstance(record, dict) else None, found
        first = False


def _repeated(
    record: Mapping[str, Any], number: int, seen: dict[str, int], problems: dict[str, tuple[str, int]]
) -> Iterator[Fault]:
    id = record["problem_id"]
    if (before := seen.setdefault(id, number)) != number:
        yield Fault("problem_id", f"{short(id)} is also that of line {before}")
    problem = problem_of(record, "")
    content = digest(problem.question, problem.options, problem.answer)
    other, line = problems.setdefault(problem.id, (content, number))
    if other != content:
        yield Fault("original_problem", f"{problem.id} is another problem than that of line {line}")


def _dataset(path: Path, metadata: Mapping[str, Any]) -> str:
    """The data set that a file is made of: what its metadata says, else its name, or its folder's."""
    named = metadata.get("dataset")
    if isinstance(named, str) and named.strip():
        return named.strip()
    return path.absolute().parent.name if path.stem in PLAIN_NAMES else path.stem


def _line(path: str | Path, number: int, fault: Fault) -> str:
    return " ".join(f"{path}:{number}: {fault.field}: {fault.what}".split())
