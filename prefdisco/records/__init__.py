"""The published benchmark's own format, JSON Lines: read, written, and checked line by line.

PrefDisco (arXiv 2510.00177); docs/records.md says what goes where.
"""

from prefdisco.records.reading import (
    faults,
    is_published,
    persona_of,
    profile_of,
    read_metadata,
    read_records,
    rubric_of,
    scenario_of,
)
from prefdisco.records.rows import problem_of_row, task_of
from prefdisco.records.writing import record_of, write_records

__all__ = [
    "faults",
    "is_published",
    "persona_of",
    "problem_of_row",
    "profile_of",
    "read_metadata",
    "read_records",
    "record_of",
    "rubric_of",
    "scenario_of",
    "task_of",
    "write_records",
]
