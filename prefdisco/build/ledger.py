"""What a build has paid for: a file of finished units, one line each, that a rerun reads instead of asking again.

A unit is one structured answer (a person, the attributes of one problem, a profile, a rubric) with who made it and what
it cost. What failed stands in a file of its own, with its cost, and is tried again by the next run with another seed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from tqdm import tqdm

from prefdisco.build.config import BuildConfig
from prefdisco.build.instructions import messages, version
from prefdisco.files import RunError, append_line, read_complete_lines
from prefdisco.hashing import stable_seed
from prefdisco.llm.base import Completion, Conversation, Model, ModelError, Sampling
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.llm.structured import ask
from prefdisco.schema import Record, Usage, parse_line

UNITS, FAILURES = "units.jsonl", "failures.jsonl"
PATIENCE = 20  # failures in a row after which something is wrong with the model, not with a unit
T = TypeVar("T", bound=BaseModel)


class Origin(Record):
    """Who made a unit: the model's name, the prompt's version, the seed of the call."""

    model: str
    prompt: str
    seed: int


class Unit(Record):
    """One finished piece. `value` is the answer as JSON."""

    unit: str
    value: dict[str, Any]
    origin: Origin
    usage: Usage = Usage()


class Failure(Record):
    """One attempt at a unit that came to nothing, and what it cost."""

    unit: str
    error: str
    usage: Usage = Usage()


class Ledger:
    """The units of a build folder: looked up by name, asked for where they are missing."""

    def __init__(self, folder: Path, model: Model, config: BuildConfig, bar: tqdm[Any] | None = None) -> None:
        self.folder, self.model, self.config, self.bar = folder, model, config, bar
        self.units = {unit.unit: unit for unit in _read(folder / UNITS, Unit)}
        self.failures = _read(folder / FAILURES, Failure)
        self.tries = Counter(failure.unit for failure in self.failures)
        self.slots = asyncio.Semaphore(config.remote.concurrency)
        self.in_a_row = 0

    async def ask(
        self,
        name: str,
        stage: str,
        material: dict[str, Any],
        record: type[T],
        fields: dict[str, int] | None = None,
        temperature: float | None = None,
    ) -> Unit | None:
        """The unit called `name`: from the file, or from the model, then appended. None where the model failed.

        Raises RunError when PATIENCE units in a row failed, SpendingCapReached at the cap.
        """
        if found := self.units.get(name):
            return found
        async with self.slots:
            metered = Metered(self.model)
            seed = stable_seed(self.config.seed, name, self.tries[name])
            warmth = self.config.temperature if temperature is None else temperature
            sampling = Sampling(temperature=warmth, max_tokens=self.config.max_tokens, seed=seed)
            try:
                answer = await ask(metered, messages(stage, material, **fields or {}), record, sampling)
            except SpendingCapReached:
                raise
            except ModelError as error:
                self.fail(name, str(error), metered.usage)
                return None
        value = answer.value.model_dump(mode="json", by_alias=True)
        self.in_a_row = 0
        origin = Origin(model=self.model.name, prompt=version(stage), seed=seed)
        return self.keep(Unit(unit=name, value=value, origin=origin, usage=metered.usage))

    def keep(self, unit: Unit) -> Unit:
        """Append a unit to the file."""
        append_line(self.folder / UNITS, unit.model_dump_json())
        self.units[unit.unit] = unit
        if self.bar is not None and unit.usage != Usage():
            self.bar.update()
        return unit

    def fail(self, name: str, error: str, usage: Usage = Usage()) -> None:  # noqa: B008 - Usage is immutable
        """Note that a unit could not be made. Raises RunError where nothing can."""
        failure = Failure(unit=name, error=" ".join(error.split()), usage=usage)
        append_line(self.folder / FAILURES, failure.model_dump_json())
        self.failures.append(failure)
        self.tries[name] += 1
        self.in_a_row += 1
        if self.in_a_row >= PATIENCE:
            raise RunError(
                f"{self.folder}: {PATIENCE} calls in a row failed, the last with: {failure.error}; "
                "the same command continues where it stopped"
            )

    @property
    def failed(self) -> dict[str, str]:
        """What is still missing: unit -> its last error."""
        return {failure.unit: failure.error for failure in self.failures if failure.unit not in self.units}

    @property
    def usage(self) -> Usage:
        """What everything in this folder has cost, failures included."""
        parts: Sequence[Unit | Failure] = [*self.units.values(), *self.failures]
        return sum((part.usage for part in parts), Usage())


class Metered:
    """A model whose calls are counted, so that those of a failed attempt are too."""

    def __init__(self, model: Model) -> None:
        self.model, self.name = model, model.name
        self.usage = Usage()

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The model's own completion."""
        completion = await self.model.complete(conversation, sampling)
        self.usage += completion.usage
        return completion


@asynccontextmanager
async def all_at_once() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first exception comes out as it is, after the other tasks were cancelled."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


R = TypeVar("R", bound=Record)


def _read(path: Path, record: type[R]) -> list[R]:
    return [parse_line(line, record, f"{path}:{number}") for number, line in enumerate(read_complete_lines(path), 1)]
