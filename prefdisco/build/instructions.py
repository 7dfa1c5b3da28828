"""What the model is told: a prompt of `prompts/` as the system message, the material as JSON in the user's.

Problems and personas are material: they stand in JSON strings that they cannot close, never among the instructions.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from prefdisco.conditions import problem_text
from prefdisco.hashing import digest
from prefdisco.llm.data import as_data
from prefdisco.schema import Message, Persona, Problem

PROMPTS = Path(__file__).parent / "prompts"
STAGES = ("personas", "attributes", "consolidate", "profiles", "rubrics")


@cache
def prompt(stage: str) -> str:
    """The text of `prompts/<stage>.txt` without its last newline."""
    return (PROMPTS / f"{stage}.txt").read_text(encoding="utf-8").strip()


def version(stage: str) -> str:
    """The stage and a hash of its prompt: another text is another version."""
    return f"{stage}@{digest(prompt(stage), length=8)}"


def messages(stage: str, material: dict[str, Any], **fields: int) -> list[Message]:
    """The two messages of a call. `fields` fill the prompt's {fields}."""
    return [
        Message(role="system", content=prompt(stage).format(**fields) if fields else prompt(stage)),
        Message(role="user", content=as_data(**material)),
    ]


def about_problem(problem: Problem) -> dict[str, Any]:
    """What the model sees of a problem: question and options, not the answer."""
    return {"domain": problem.domain or problem.task, "text": problem_text(problem)}


def about_persona(persona: Persona) -> dict[str, Any]:
    """What the model sees of a person: all of it."""
    return persona.model_dump(mode="json", exclude={"id", "type"})
