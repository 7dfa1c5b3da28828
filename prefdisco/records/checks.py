"""What can be wrong with one record of the published benchmark, each fault with its field.

A fault is fatal where the record cannot be read, or would be read as something it is not. The others depart from the
format without harm (a missing section of the persona, weights that do not sum to one: ours come from the importances);
`faults` reports them all, `read_records` stops at fatal ones only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from prefdisco.complaints import short
from prefdisco.records.lines import Fault
from prefdisco.records.rows import Unreadable, problem_of_parsed, problem_of_row
from prefdisco.schema import Kind, Problem

PROBLEM_ID = re.compile(r"(problem_\d+)_(.+)", re.DOTALL)
RECORD, METADATA = "personalized_problem", "metadata"
ANCHORS = (1, 3, 5)
RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-|–|—|to)\s*(\d+(?:\.\d+)?)")
ROUNDING = 0.005  # a weight rounded to two digits is off by at most this
KINDS: dict[str, Kind] = {
    "expertise": "expertise",
    "personal": "personal",
    "reasoning": "reasoning",
    "presentation": "presentation",
}
NEAR_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"expert|comfort|knowledge|skill|familiar|technical", "expertise"),
    (r"reason|cogniti|strateg|problem", "reasoning"),
    (r"present|style|format|communic|tone|general", "presentation"),
)


def check(record: Any) -> Iterator[Fault]:
    """Every fault of one parsed line that is not metadata."""
    if not isinstance(record, dict):
        yield Fault("line", f"expected a JSON object, got {short(record)}")
        return
    if record.get("type") != RECORD:
        given = "missing" if "type" not in record else f"{short(record['type'])}"
        yield Fault("type", f"{given}; expected {RECORD}, or {METADATA} on the first line")
        return
    for name in ("problem_id", "original_problem", "persona", "persona_preferences", "evaluation_rubric"):
        if name not in record:
            yield Fault(name, "missing")
    yield from _identity(record)
    yield from _problem(record)
    if "persona" in record:
        yield from _persona(record["persona"])
    preferences = record.get("persona_preferences")
    if "persona_preferences" in record:
        if isinstance(preferences, dict) and preferences:
            for name, preference in preferences.items():
                yield from _preference(f"persona_preferences.{name}", name, preference)
        else:
            yield Fault("persona_preferences", "expected an object with at least one preference")
    if "evaluation_rubric" in record:
        yield from _rubric(record["evaluation_rubric"], preferences if isinstance(preferences, dict) else {})


def problem_of(record: Mapping[str, Any], task: str) -> Problem:
    """The problem of a record; all personas of one problem share its id. Raises Unreadable."""
    match = PROBLEM_ID.fullmatch(record["problem_id"])
    row, parsed, id = record["original_problem"], record.get("parsed_problem"), match[1] if match else ""
    field = "parsed_problem" if parsed else "original_problem"
    try:
        return problem_of_parsed(parsed, row, task, id) if parsed else problem_of_row(row, task, id)
    except Unreadable as error:
        raise Unreadable(f"{field}.{error.field}", str(error)) from None


def kind_of(type: Any) -> Kind:
    """Our kind for a preference's `type`; for one that is unknown, the nearest, and personal for none at all."""
    name = type.strip().casefold() if isinstance(type, str) else ""
    if name in KINDS:
        return KINDS[name]
    return next((kind for words, kind in NEAR_KINDS if re.search(words, name)), "personal")


def text_of(value: Any) -> str:
    """A value of a preference as text: 4 and 4.0 are "4", a list is joined by commas, nothing else is text: ""."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if _number(value):
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return ""


def _identity(record: Mapping[str, Any]) -> Iterator[Fault]:
    id = record.get("problem_id")
    match = PROBLEM_ID.fullmatch(id) if isinstance(id, str) else None
    if "problem_id" in record and not match:
        yield Fault("problem_id", f"expected problem_NUMBER_PERSONA, got {short(id)}")
    persona = record.get("persona")
    if match and isinstance(persona, dict) and isinstance(persona.get("id"), str) and persona["id"] != match[2]:
        yield Fault(
            "problem_id", f"names persona {short(match[2])}, the persona is {short(persona['id'])}", fatal=False
        )


def _problem(record: Mapping[str, Any]) -> Iterator[Fault]:
    row, parsed = record.get("original_problem"), record.get("parsed_problem")
    readable = isinstance(record.get("problem_id"), str)
    if "original_problem" in record and not (isinstance(row, dict) and row):
        yield Fault("original_problem", f"expected the source row as an object, got {short(row)}")
        readable = False
    if parsed is not None and not isinstance(parsed, dict):
        yield Fault("parsed_problem", f"expected an object, got {short(parsed)}")
        readable = False
    if readable and isinstance(row, dict):
        try:
            problem_of(record, "")
        except Unreadable as error:
            yield Fault(error.field, str(error))


def _persona(persona: Any) -> Iterator[Fault]:
    if not isinstance(persona, dict):
        yield Fault("persona", f"expected an object, got {short(persona)}")
        return
    for name in ("id", "name", "minimal_necessary_description"):
        yield from _text(persona, name, "persona")
    yield from _text(persona, "backstory", "persona", fatal=False)
    for name in ("demographics", "educational_profile", "personality_big5"):
        if not isinstance(persona.get(name), dict):
            what = "missing" if name not in persona else f"expected an object, got {short(persona[name])}"
            yield Fault(f"persona.{name}", what, fatal=name in persona or name == "demographics")
    expertise = persona.get("domain_expertise")
    if not isinstance(expertise, list) or not all(isinstance(each, str) for each in expertise):
        what = "missing" if "domain_expertise" not in persona else f"expected a list of text, got {short(expertise)}"
        yield Fault("persona.domain_expertise", what, fatal="domain_expertise" in persona)
    demographics = persona.get("demographics")
    if isinstance(demographics, dict):
        age = demographics.get("age")
        if not _number(age) or not 0 < age < 130:
            yield Fault("persona.demographics.age", f"expected a number of years, got {short(age)}", fatal=False)
        yield from _text(demographics, "occupation", "persona.demographics", fatal=False)
    big5 = persona.get("personality_big5")
    for trait, given in big5.items() if isinstance(big5, dict) else ():
        score = given.get("score") if isinstance(given, dict) else given
        if not _number(score) or not 1 <= score <= 5:
            field = f"persona.personality_big5.{trait}" + (".score" if isinstance(given, dict) else "")
            yield Fault(field, f"expected a score of 1..5, got {short(score)}")


def _preference(field: str, name: str, preference: Any) -> Iterator[Fault]:
    if not name.strip():
        yield Fault("persona_preferences", "a preference has an empty name")
    if not isinstance(preference, dict):
        yield Fault(field, f"expected an object, got {short(preference)}")
        return
    value, importance = preference.get("value"), preference.get("local_importance")
    if not text_of(value).strip():
        what = "missing" if "value" not in preference else f"expected 1..5 or a category, got {short(value)}"
        yield Fault(f"{field}.value", what)
    elif isinstance(value, bool | list):
        yield Fault(f"{field}.value", f"expected 1..5 or a category; read as {text_of(value)!r}", fatal=False)
    elif _number(value) and not _within(value, preference.get("value_range")):
        yield Fault(f"{field}.value", f"{short(value)} is outside of its range", fatal=False)
    if not _number(importance) or importance <= 0:
        what = "missing" if "local_importance" not in preference else f"expected 1..5, got {short(importance)}"
        yield Fault(f"{field}.local_importance", what)
    elif importance > 5:
        yield Fault(f"{field}.local_importance", f"expected 1..5, got {short(importance)}", fatal=False)
    type = preference.get("type")
    if not isinstance(type, str) or type.strip().casefold() not in KINDS:
        what = "missing" if "type" not in preference else f"unknown type {short(type)}"
        yield Fault(f"{field}.type", f"{what}; read as {kind_of(type)}", fatal=False)
    for key in ("justification", "description"):
        yield from _text(preference, key, field, fatal=preference.get(key) is not None, empty=True)


def _rubric(rubric: Any, preferences: Mapping[str, Any]) -> Iterator[Fault]:
    field = "evaluation_rubric.evaluation_criteria"
    criteria = rubric.get("evaluation_criteria") if isinstance(rubric, dict) else None
    if not isinstance(criteria, list) or not criteria:
        yield Fault(field if isinstance(rubric, dict) else "evaluation_rubric", "expected a list of criteria")
        return
    names: Counter[str] = Counter()
    total, weighted = 0.0, True
    for index, criterion in enumerate(criteria):
        place = f"{field}.{index}"
        if not isinstance(criterion, dict):
            yield Fault(place, f"expected an object, got {short(criterion)}")
            continue
        name, weight = criterion.get("preference"), criterion.get("weight")
        yield from _text(criterion, "preference", place)
        yield from _text(criterion, "description", place)
        if isinstance(name, str):
            names[name] += 1
            if preferences and name not in preferences:
                yield Fault(f"{place}.preference", f"{short(name)} is none of the persona's preferences")
            if names[name] == 2:
                yield Fault(f"{place}.preference", f"second criterion of {short(name)}; the first counts", fatal=False)
        if _number(weight) and weight >= 0:
            total += weight
        else:
            weighted = False
            what = "missing" if "weight" not in criterion else f"expected a number from 0, got {short(weight)}"
            yield Fault(f"{place}.weight", what, fatal="weight" in criterion)
        yield from _levels(f"{place}.levels", criterion.get("levels"))
    missing = [name for name in preferences if name not in names]
    yield from (Fault(field, f"no criterion for the preference {short(name)}") for name in missing)
    if weighted and not missing and abs(total - 1) > ROUNDING * (len(criteria) + 1):
        yield Fault(field, f"weights sum to {total:.3f}, expected 1; read from the importances", fatal=False)


def _levels(field: str, levels: Any) -> Iterator[Fault]:
    if not isinstance(levels, list) or not levels:
        yield Fault(field, "missing" if levels is None else f"expected a list, got {short(levels)}")
        return
    scores: Counter[int] = Counter()
    for index, level in enumerate(levels):
        score = level.get("score") if isinstance(level, dict) else None
        if not isinstance(level, dict) or not isinstance(level.get("description"), str):
            yield Fault(f"{field}.{index}", "expected {score, description}")
        elif isinstance(score, bool) or not isinstance(score, int) or not 1 <= score <= 5:
            yield Fault(f"{field}.{index}.score", f"expected 1..5, got {short(score)}")
        else:
            scores[score] += 1
            if scores[score] == 2:
                yield Fault(f"{field}.{index}.score", f"a second level {score}; the first counts", fatal=False)
    missing = [anchor for anchor in ANCHORS if anchor not in scores]
    if missing and scores.total() == len(levels):
        yield Fault(field, f"no level for score {', '.join(map(str, missing))}", fatal=False)


def _text(holder: Mapping[str, Any], name: str, field: str, fatal: bool = True, empty: bool = False) -> Iterator[Fault]:
    value = holder.get(name)
    if not isinstance(value, str) or not (value.strip() or empty):
        what = "missing" if name not in holder else f"expected text, got {short(value)}"
        yield Fault(f"{field}.{name}", what, fatal)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _within(value: float, given: Any) -> bool:
    """Whether a number is in its `value_range`; 1..5 where there is none, anything where the range has no numbers."""
    if not isinstance(given, str):
        return 1 <= value <= 5
    found = RANGE.search(given)
    return found is None or float(found[1]) <= value <= float(found[2])
