"""The records that flow through prefdisco, and their JSON Lines form.

One scenario = problem x persona x profile x rubric; one episode = one scenario under one condition with one seed. The
words are those of PrefDisco (arXiv 2510.00177, section 3); the weights of a profile sum to one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

Kind = Literal["reasoning", "presentation", "expertise", "personal"]
Role = Literal["system", "user", "assistant"]
Checker = Literal[
    "choice", "math", "number", "exact", "judge"
]  # how an answer is compared; see prefdisco.tasks.checkers
R = TypeVar("R", bound=BaseModel)

WEIGHT_TOLERANCE = 0.02  # published rubrics are rounded to two digits


class DataError(ValueError):
    """A record that cannot be used; the message is one line that names file, line and field."""


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Record):
    """One item of a task. `source` is the row that it came from, untouched; `image` a path or URL, never the pixels."""

    id: str
    task: str
    domain: str
    question: str
    options: tuple[str, ...] | None = None
    answer: str
    checker: Checker | None = None
    image: str | None = None
    family: str | None = None
    difficulty: int | None = None
    source: dict[str, Any] = Field(default_factory=dict)


class Persona(Record):
    """A simulated person. Big Five scores are on 1..5."""

    id: str
    name: str
    description: str
    type: str | None = None
    demographics: dict[str, Any] = Field(default_factory=dict)
    big5: dict[str, float] = Field(default_factory=dict)
    expertise: dict[str, Any] = Field(default_factory=dict)
    background: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Attribute(Record):
    """A dimension theta on which people differ, and the values it can take."""

    name: str
    kind: Kind
    description: str
    values: tuple[str, ...]


class Preference(Record):
    """(attribute theta, value v, weight w) of one persona for one problem."""

    attribute: str
    value: str
    weight: float = Field(ge=0, le=1)
    kind: Kind
    description: str = ""
    justification: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Criterion(Record):
    """How one preference is graded: `levels` anchors the scores, at least 1, 3 and 5."""

    attribute: str
    description: str
    weight: float = Field(ge=0, le=1)
    levels: dict[int, str]


class Scenario(Record):
    """The unit of everything: problem x persona x profile x rubric."""

    id: str
    problem: Problem
    persona: Persona
    profile: tuple[Preference, ...] = Field(min_length=1)
    rubric: tuple[Criterion, ...]
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("profile", "rubric")
    @classmethod
    def _weights_sum_to_one(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        total = sum(item.weight for item in items)
        if abs(total - 1) > WEIGHT_TOLERANCE:
            raise ValueError(f"weights sum to {total:.3f}, expected 1")
        return items

    def preference(self, attribute: str) -> Preference | None:
        """The persona's preference on `attribute`, or None where it has none."""
        return next((p for p in self.profile if p.attribute == attribute), None)


class Message(Record):
    """One turn as user and judge see it; `thinking` is what the agent wrote in think tags, shown to neither."""

    role: Role
    content: str
    thinking: str = ""


class Question(Record):
    """What became of one question of the agent: the preference its answer revealed, or None."""

    text: str
    answer: str
    revealed: str | None = None


class Grade(Record):
    """The judge's score of one criterion: 5 met, 3 absent or neutral, 1 opposite, 2 and 4 partial."""

    attribute: str
    score: int = Field(ge=1, le=5)
    reason: str = ""


class Tokens(Record):
    """Token ids of a whole dialogue, as they were generated; `mask` is 1 on the agent's own tokens.

    All three lists have the same length. `logprobs` is 0.0 wherever mask is 0.
    """

    ids: list[int]
    mask: list[int]
    logprobs: list[float]


class Usage(Record):
    """What an episode cost. `cached` calls were answered from the response cache."""

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class Episode(Record):
    """One scenario played under one condition with one seed. An episode with `error` carries no score."""

    scenario_id: str
    problem_id: str
    persona_id: str
    condition: str
    seed: int
    messages: tuple[Message, ...] = ()
    response: str = ""
    thinking: str = ""
    questions: tuple[Question, ...] = ()
    malformed_turns: int = 0
    truncated: bool = False
    correct: bool | None = None
    grades: tuple[Grade, ...] = ()
    alignment: float | None = None
    family: str | None = None
    domain: str = ""
    task: str = ""  # none in older files
    weights: dict[str, float] = Field(default_factory=dict)  # of the scenario's own profile, by attribute
    values: dict[str, str] = Field(default_factory=dict)  # what it prefers, by attribute; none in older files
    kinds: dict[str, Kind] = Field(default_factory=dict)  # of its attributes; none in older files
    answered_by: str | None = None  # the scenario whose person answered, where that is another one
    carried: dict[str, str] = Field(default_factory=dict)  # attribute -> value, told from an earlier problem
    consistent: bool | None = None  # the response states what the thinking arrived at; None where that is not read
    touched: tuple[str, ...] | None = None  # attributes realised beyond a generic answer; None where none is read
    adaptive: tuple[bool, ...] = ()
    usage: Usage = Usage()  # the agent's; user and judge have their own
    user_usage: Usage = Usage()
    judge_usage: Usage = Usage()
    tokens: Tokens | None = None
    error: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes an episode the same episode: (scenario id, condition, seed)."""
        return (self.scenario_id, self.condition, self.seed)

    @property
    def graded_alignment(self) -> float:
        """`alignment`, which an episode has that was graded; ValueError for one that was not."""
        if self.alignment is None or self.correct is None:
            raise ValueError(f"episode {self.key} has neither a grade nor an error: grade it first")
        return self.alignment


def read_jsonl(path: str | Path, record: type[R]) -> Iterator[R]:
    """Yield the records of a JSON Lines file.

    Raises DataError with `file:line: field: what` for a missing file or the first line that does not validate.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield parse_line(line, record, f"{path}:{number}")


def parse_line(line: str | bytes, record: type[R], where: str) -> R:
    """One line of JSON as a record; DataError says where and which field when it is not one."""
    try:
        return record.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "line"
        raise DataError(f"{where}: {field}: {first['msg']}") from None


def write_jsonl(path: str | Path, records: Iterable[BaseModel]) -> None:
    """Write records to `path` whole or not at all (a temporary file beside it, then a rename)."""
    from prefdisco.files import atomic_write

    atomic_write(path, "".join(record.model_dump_json() + "\n" for record in records))


def to_json(value: Any) -> str:
    """Canonical JSON, for hashing: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
