"""From a row of a source to a Problem. The sources name the same things differently; the order of the names is fixed.

question  query, question, problem, Question, prompt; the task's context fields go before it
options   choices or options (a dict, a list, or {label: [..], text: [..]}), or answerA, answerB, ..
gold      correct_answer, answerKey, correct_option, answer_idx, Answer, answer, label

An int indexes the options from 0, a string of digits in `label` from 1 (SocialIQA); else gold is an option's label or
its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefdisco.hashing import digest
from prefdisco.schema import Checker, DataError, Problem
from prefdisco.tasks.quantities import gold_quantities
from prefdisco.tasks.registry import Task

QUESTION = ("query", "question", "problem", "Question", "prompt")
OPTIONS = ("choices", "options")
GOLD = ("correct_answer", "answerKey", "correct_option", "answer_idx", "Answer", "answer", "label")
MOST_OPTIONS = 26
MOST_REFERENCE = 2_000  # characters of an image's path or URL; a longer string is the image itself
_LETTERS = re.compile(r"\(?[A-H]\)?(?:\s*(?:,|;|&|and|\s)\s*\(?[A-H]\)?)*")


@dataclass(frozen=True)
class Place:
    """Where a row is: `line` for errors ("file:line"), `reference` for its image ("hub:owner/name#split/3")."""

    line: str
    reference: str

    def wrong(self, field: str, what: str) -> DataError:
        """The error about one field of this row."""
        return DataError(f"{self.line}: {field}: {what}")


def to_problem(row: Mapping[str, Any], task: Task, place: Place) -> Problem:
    """The row as a problem of `task`; its id is a hash of what the problem asks.

    Raises DataError, one line `file:line: field: what`.
    """
    question = _question(row, task, place)
    labels, options, options_field = _options(row, place)
    field, gold = _gold(row, place)
    if task.checker == "choice":
        if not options:
            raise place.wrong("options", f"missing; expected one of {', '.join(OPTIONS)}, or answerA, answerB, ..")
        if len(options) < 2:
            raise place.wrong(options_field, "has 1 option, expected at least 2")
        answer: str = chr(ord("A") + _index(field, gold, labels, options, place))
        checker: Checker = "choice"
    else:
        checker, answer = _free(field, gold, task, place)
        options = []
    image = _image(row.get("image"), place)
    return Problem(
        id=f"{task.name}-{digest(question, *options, image)}",
        task=task.name,
        domain=task.domain,
        question=question,
        options=tuple(options) or None,
        answer=answer,
        checker=checker,
        image=image,
        difficulty=_level(row.get("level")),
        source={name: _storable(value, place) for name, value in row.items()},
    )


def _question(row: Mapping[str, Any], task: Task, place: Place) -> str:
    field = next((name for name in QUESTION if row.get(name) is not None), None)
    if field is None:
        raise place.wrong("question", f"missing; expected one of {', '.join(QUESTION)}")
    parts = []
    for name in (*task.context, field):
        text = row.get(name)
        if text is not None and not isinstance(text, str):
            raise place.wrong(name, f"is {_kind(text)}, expected text")
        parts.append((text or "").strip())
    if not parts[-1]:
        raise place.wrong(field, "is empty")
    return "\n".join(filter(None, parts))


def _options(row: Mapping[str, Any], place: Place) -> tuple[list[str], list[str], str]:
    """(the labels that the source gives the options, their texts, the field they come from)."""
    field = next((name for name in OPTIONS if row.get(name) is not None), None)
    if field is None:
        names = [name for name in sorted(row) if re.fullmatch("answer[A-Z]", name) and row[name] is not None]
        return [name[-1] for name in names], [_text(row[name], name, place) for name in names], "answerA"
    value = row[field]
    if isinstance(value, Mapping) and set(value) == {"label", "text"}:
        labels, texts = list(value["label"] or ()), list(value["text"] or ())
        if len(labels) != len(texts):
            raise place.wrong(field, f"has {len(labels)} labels for {len(texts)} texts")
    elif isinstance(value, Mapping):
        # Parquet gives every row every key: those of other rows' options are null.
        labels = sorted(name for name in value if value[name] is not None)
        texts = [value[name] for name in labels]
    elif isinstance(value, list | tuple):
        texts = list(value)
        labels = [chr(ord("A") + index) for index in range(len(texts))]
    else:
        raise place.wrong(field, f"is {_kind(value)}, expected a list or a dict")
    if len(texts) > MOST_OPTIONS:
        raise place.wrong(field, f"has {len(texts)} options, expected at most {MOST_OPTIONS}")
    return [str(label) for label in labels], [_text(text, field, place) for text in texts], field


def _gold(row: Mapping[str, Any], place: Place) -> tuple[str, str | int]:
    """(its field, the gold answer: text without spaces around, or an index)."""
    field = next((name for name in GOLD if row.get(name) is not None), None)
    if field is None:
        raise place.wrong("answer", f"missing; expected one of {', '.join(GOLD)}")
    value = row[field]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise place.wrong(field, f"is {_kind(value)}, expected text or a number")
    value = value if isinstance(value, int) else str(value).strip()
    if value == "":
        raise place.wrong(field, "is empty; a split without gold answers cannot be checked")
    return field, value


def _index(field: str, gold: str | int, labels: list[str], options: list[str], place: Place) -> int:
    """Which option the gold answer names, from 0."""
    if isinstance(gold, int):
        if 0 <= gold < len(options):
            return gold
        raise place.wrong(field, f"is {gold}, expected an index from 0 to {len(options) - 1}")
    if field == "label" and gold.isdecimal():
        if 1 <= int(gold) <= len(options):
            return int(gold) - 1
        raise place.wrong(field, f"is {gold!r}, expected 1 to {len(options)}")
    for names in (labels, options):
        if names.count(gold) >= 1:
            return names.index(gold)
    known = ", ".join(labels)
    raise place.wrong(field, f"is {gold[:60]!r}, expected one of {known}, or the text of an option")


def _free(field: str, gold: str | int, task: Task, place: Place) -> tuple[Checker, str]:
    """(checker, answer) of a problem without options."""
    text = str(gold)
    if task.name == "gsm8k":
        text = text.rpartition("####")[2].strip().replace(",", "")
    if task.checker is None:
        if _LETTERS.fullmatch(text):
            return "choice", ", ".join(sorted(set(re.findall("[A-H]", text))))
        return ("number" if gold_quantities(text) else "judge"), text
    if task.checker == "number" and not gold_quantities(text):
        hint = " after ####" if "####" in str(gold) else ""
        raise place.wrong(field, f"is {text[:60]!r}, expected a number{hint}")
    return task.checker, text


def _image(value: Any, place: Place) -> str | None:
    """A reference to the image of a row: its path or URL where there is one, else the row itself."""
    if isinstance(value, Mapping) and value.get("bytes") is None:
        value = value.get("path")
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= MOST_REFERENCE and not value.startswith("data:"):
        return value
    return place.reference


def _storable(value: Any, place: Place) -> Any:
    """The value, with a reference in place of bytes and image objects."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return place.reference if value.startswith("data:image/") else value
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes | bytearray):
            return place.reference
        return {str(name): _storable(each, place) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(each, place) for each in value]
    # Dates and decimals, as Parquet has them, are text; what is left is an image.
    return str(value) if hasattr(value, "isoformat") or hasattr(value, "as_tuple") else place.reference


def _level(value: Any) -> int | None:
    """2 and "Level 2" are 2; "Level ?" is nothing."""
    digits = re.search(r"\d{1,6}", value) if isinstance(value, str) else None
    if digits:
        return int(digits[0])
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any, field: str, place: Place) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise place.wrong(field, f"an option is {_kind(value)}, expected text")
    return str(value).strip()


def _kind(value: Any) -> str:
    names = {"dict": "an object", "list": "a list", "str": "text", "NoneType": "null", "bool": "true or false"}
    return names.get(type(value).__name__, type(value).__name__)
