"""The tasks that can be loaded: where each lives on the Hugging Face Hub, its domain, and how its answers are checked.

A task is data. A further one in one of these schemas needs one more entry and no code:

Task("arc", "allenai/ai2_arc", "test", "science", "choice", fields=("question", "choices", "answerKey"))
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from prefdisco.config import ConfigError
from prefdisco.schema import Checker

PARQUET = "refs/convert/parquet"  # the Hub's own conversion, for data sets that `datasets` has to run a script for


@dataclass(frozen=True)
class Task:
    """One task. `fields` are those by which its rows are recognized, "a|b" meaning either.

    `checker` None: chosen row by row from the gold answer. `context` fields go before the question.
    """

    name: str
    hub: str
    split: str
    domain: str
    checker: Checker | None
    fields: tuple[str, ...]
    config: str | None = None
    revision: str | None = None
    context: tuple[str, ...] = ("context",)

    def fits(self, present: Collection[str]) -> bool:
        """Whether a row with these fields can be a row of this task."""
        return all(any(name in present for name in field.split("|")) for field in self.fields)


# The order matters: `guess` takes the first that fits, so those with the most telling fields come first.
_ALL = (
    Task(
        "socialiqa", "allenai/social_i_qa", "validation", "social", "choice",
        fields=("context", "question", "answerA", "answerB", "answerC", "label"), revision=PARQUET,
    ),
    Task(
        "logiqa", "lucasmccabe/logiqa", "test", "logic", "choice",
        fields=("query", "options", "correct_option"), revision=PARQUET,
    ),
    Task(
        "medqa", "GBaker/MedQA-USMLE-4-options", "test", "medicine", "choice",
        fields=("question", "options", "answer_idx"),
    ),
    Task(
        "commonsenseqa", "tau/commonsense_qa", "validation", "commonsense", "choice",
        fields=("question", "choices", "answerKey"),
    ),
    # A hint is what the question is about, most often: "Figure: ...", or the passage to read.
    Task(
        "scienceqa", "derek-thomas/ScienceQA", "test", "science", "choice",
        fields=("question", "choices", "answer", "hint|lecture|image"), context=("context", "hint"),
    ),
    Task(
        "mmlu", "lighteval/mmlu", "test", "knowledge", "choice",
        fields=("question", "choices|options", "answer"), config="all",
    ),
    Task("math500", "HuggingFaceH4/MATH-500", "test", "math", "math", fields=("problem", "answer", "solution|level")),
    Task("aime", "gneubig/aime-1983-2024", "train", "math", "number", fields=("Question", "Answer")),
    Task("mascqa", "stellalisy/MaScQA", "train", "science", None, fields=("question", "correct_answer")),
    Task("simpleqa", "pvduy/simpleqa", "train", "facts", "judge", fields=("problem", "answer")),
    Task("gsm8k", "openai/gsm8k", "test", "math", "number", fields=("question", "answer"), config="main"),
)  # fmt: skip
TASKS = {task.name: task for task in _ALL}
FILE = "file"  # the task name that means: look at the fields


def find_task(name: str) -> Task:
    """The task called `name`; case and punctuation do not matter. Raises ConfigError, with the nearest name."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    if key in TASKS:
        return TASKS[key]
    known = [*TASKS, FILE]
    close = "".join(f"did you mean {match}? " for match in get_close_matches(key, known, n=1))
    raise ConfigError(f"task={name}: unknown task; {close}Known: {', '.join(known)}")


def guess(present: Collection[str]) -> Task | None:
    """The task whose rows have these fields; the most specific one, or None."""
    return next((task for task in TASKS.values() if task.fits(present)), None)
