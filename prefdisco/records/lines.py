"""The lines of a JSON Lines file, and what can be wrong with them before one asks what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from prefdisco.complaints import short
from prefdisco.schema import DataError


class Fault(NamedTuple):
    """One thing that is wrong: the dotted field, what it is, and whether it keeps the record from being read."""

    field: str
    what: str
    fatal: bool = True


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number, line without its end) of every line that is not blank. Raises DataError for a missing file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if line.strip():
                yield number, line.rstrip()


def parse(line: bytes) -> Any:
    """The JSON of a line, or the fault that keeps it from being read."""
    try:
        record = json.loads(line.decode(), object_pairs_hook=_object, parse_constant=_constant)
        if b"\\ud" in line or b"\\uD" in line:
            json.dumps(record, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except json.JSONDecodeError as error:
        return Fault("line", f"not JSON: {error.msg} at character {error.pos + 1}")
    except UnicodeDecodeError as error:
        return Fault("line", f"not UTF-8 text at byte {error.start + 1}")
    except UnicodeEncodeError:
        return Fault("line", "not text: half of a surrogate pair")
    except RecursionError:
        return Fault("line", "not a record: nested too deeply")
    except ValueError as error:
        return Fault("line", f"not a record: {error}")
    return record


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {short(next(name for name in names if names.count(name) > 1))} occurs twice")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")
