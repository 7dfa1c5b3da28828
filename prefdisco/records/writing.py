"""Scenarios as records of the published benchmark.

Our fields decide what is written. What a record had beyond them was kept when it was read: in `details` of persona and
preference, and in `provenance["record"]`; `restore` lays it over the fields again, so that reading and writing give the
same record, but for the rubric's weights, which are then the shares of the importances.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prefdisco.files import writing
from prefdisco.records.checks import METADATA, PROBLEM_ID, RECORD, kind_of, problem_of, text_of
from prefdisco.records.rows import Unreadable
from prefdisco.schema import Criterion, DataError, Persona, Preference, Problem, Scenario

ABSENT = "absent"  # in what is kept of a part: the fields that it lacked
KEPT = "record"  # in provenance: what is kept of the record as a whole


def write_records(path: str | Path, scenarios: Iterable[Scenario], metadata: Mapping[str, Any] | None = None) -> None:
    """Write scenarios in the published format, one by one, to a file that appears whole or not at all.

    `metadata` becomes the first line. Problems whose ids are not of the form problem_NUMBER are numbered in the order
    of their appearance. Raises DataError for two problems of one number, RunError where the file cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    numbers = _Numbers()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("x", encoding="utf-8") as file:
                if metadata is not None:
                    file.write(json.dumps({"type": METADATA, **metadata}, ensure_ascii=False) + "\n")
                for scenario in scenarios:
                    record = record_of(scenario, numbers.of(scenario.problem))
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def record_of(scenario: Scenario, problem_id: str) -> dict[str, Any]:
    """One scenario as a record; `problem_id` is problem_NUMBER, the persona's id is added here."""
    kept = scenario.provenance.get(KEPT, {})
    id = f"{problem_id}_{scenario.persona.id}"
    importances = _importances(scenario)
    record = {
        "type": RECORD,
        "problem_id": kept.get("problem_id", id),
        "original_problem": scenario.problem.source or parsed_problem(scenario.problem),
        "persona": persona_record(scenario.persona),
        "persona_preferences": {
            preference.attribute: preference_record(preference, importance)
            for preference, importance in zip(scenario.profile, importances, strict=True)
        },
        "evaluation_rubric": _rubric(scenario, kept.get("rubric", {})),
    }
    record |= kept.get("extra", {})
    if "parsed_problem" in kept:
        record["parsed_problem"] = kept["parsed_problem"]
    if not _says(record, scenario.problem):
        record["parsed_problem"] = parsed_problem(scenario.problem)
    if made := {name: value for name, value in scenario.provenance.items() if name != KEPT}:
        record["provenance"] = made
    return record


def parsed_problem(problem: Problem) -> dict[str, Any]:
    """What a record says about a problem in words of its own: options by letter, the answer as it is."""
    options = {chr(ord("A") + index): option for index, option in enumerate(problem.options or ())}
    return {
        "question": problem.question,
        "options": options,
        "answer": problem.answer,
        "solution": None,
        "image": problem.image,
    }


def persona_record(persona: Persona) -> dict[str, Any]:
    """A persona in the published form."""
    kept = dict(persona.details)
    big5 = kept.get("personality_big5")
    if isinstance(big5, dict) and scores_of(big5) != persona.big5:
        del kept["personality_big5"]  # the scores were changed since
    return restore(fresh_persona(persona), kept)


def fresh_persona(persona: Persona) -> dict[str, Any]:
    """What our fields say of a persona, in the published form."""
    return {
        "id": persona.id,
        "name": persona.name,
        "minimal_necessary_description": persona.description,
        "demographics": persona.demographics,
        "personality_big5": {trait: {"score": score} for trait, score in persona.big5.items()},
        "backstory": persona.background,
        "domain_expertise": persona.expertise.get("domains", []),
    }


def preference_record(preference: Preference, importance: float) -> dict[str, Any]:
    """A preference in the published form."""
    kept = {name: value for name, value in preference.details.items() if name != "local_importance"}
    if "value" in kept and text_of(kept["value"]) != preference.value:
        del kept["value"]  # the value was changed since
    if "type" in kept and kind_of(kept["type"]) != preference.kind:
        del kept["type"]
    if preference.kind != kind_of(None):
        kept[ABSENT] = [name for name in kept.get(ABSENT, ()) if name != "type"]
    return restore(fresh_preference(preference, importance), kept)


def fresh_preference(preference: Preference, importance: float) -> dict[str, Any]:
    """What our fields say of a preference, in the published form: 1..5 is a number there."""
    value = preference.value
    return {
        "value": int(value) if value in ("1", "2", "3", "4", "5") else value,
        "justification": preference.justification,
        "local_importance": importance,
        "type": preference.kind,
        "description": preference.description,
    }


def fresh_criterion(criterion: Criterion) -> dict[str, Any]:
    """What our fields say of a criterion, in the published form."""
    return {
        "preference": criterion.attribute,
        "description": criterion.description,
        "weight": criterion.weight,
        "levels": [{"score": score, "description": text} for score, text in criterion.levels.items()],
    }


def scores_of(big5: Mapping[str, Any]) -> dict[str, float]:
    """Trait -> score, of traits given as a number or as {score, description}."""
    return {trait: float(given["score"] if isinstance(given, dict) else given) for trait, given in big5.items()}


def leftover(raw: Mapping[str, Any], fresh: Mapping[str, Any], ignore: tuple[str, ...] = ()) -> dict[str, Any]:
    """What has to be kept beside our fields so that `restore(fresh, kept)` is `raw`."""
    kept = {
        name: value
        for name, value in raw.items()
        if name not in ignore and not (name in fresh and _same(fresh[name], value))
    }
    if missing := [name for name in fresh if name not in raw and name not in ignore]:
        kept[ABSENT] = missing
    return kept


def restore(fresh: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh` with what was kept laid over it, without what was absent."""
    absent = kept.get(ABSENT, ())
    known = {name: value for name, value in fresh.items() if name not in absent}
    return known | {name: value for name, value in kept.items() if name != ABSENT}


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)  # in Python, True == 1


def _rubric(scenario: Scenario, kept: Mapping[str, Any]) -> dict[str, Any]:
    rests = kept.get("criteria", {})
    criteria = [restore(fresh_criterion(each), rests.get(each.attribute, {})) for each in scenario.rubric]
    return {**kept.get("extra", {}), "evaluation_criteria": criteria + kept.get("repeated", [])}


def _importances(scenario: Scenario) -> list[float]:
    """The recorded importances where they still give the weights, else the weights on a scale up to 5."""
    recorded = [preference.details.get("local_importance") for preference in scenario.profile]
    numbers = [float(each) for each in recorded if isinstance(each, int | float)]
    weights = [preference.weight for preference in scenario.profile]
    if len(numbers) == len(weights) and (total := sum(numbers)) > 0:
        shares = (number / total for number in numbers)
        if all(abs(share - weight) < 1e-6 for share, weight in zip(shares, weights, strict=True)):
            return [each for each in recorded if each is not None]
    if min(weights) <= 0:
        raise DataError(f"scenario {scenario.id}: profile: a weight is 0, and the published format has no such thing")
    return [5 * weight / max(weights) for weight in weights]


def _says(record: Mapping[str, Any], problem: Problem) -> bool:
    """Whether the record, read again, gives this problem."""
    try:
        read = problem_of(record, problem.task)
    except Unreadable:
        return False
    return (read.question, read.options, read.answer) == (problem.question, problem.options, problem.answer)


class _Numbers:
    """problem_NUMBER for each problem: its own id where that is of this form, else the next free number."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.taken: set[str] = set()

    def of(self, problem: Problem) -> str:
        if problem.id not in self.names:
            own = PROBLEM_ID.fullmatch(f"{problem.id}_x")
            name = own[1] if own and own[1] == problem.id else f"problem_{len(self.names)}"
            if name in self.taken:
                raise DataError(f"problem {problem.id}: {name} is another problem's; give all of them ids of one form")
            self.names[problem.id] = name
            self.taken.add(name)
        return self.names[problem.id]
