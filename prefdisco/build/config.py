"""What `prefdisco build` is told: one benchmark, made of words alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from prefdisco.llm.options import RemoteOptions
from prefdisco.loading import Config

# What decides no record that is already made, so that a folder can be continued with another value.
GROWS = ("limit", "per_problem", "max_tokens", "run", "path", "remote")


class BuildConfig(Config):
    """Which problems and how many people, made by which model."""

    task: str = Field(min_length=1, description="task whose problems are used, or file with path=FILE")
    model: str = Field(min_length=1, description="model that writes the benchmark: provider/name, or server/URL#NAME")
    path: str | None = Field(default=None, description="a local file of problems instead of the Hub's data set")
    limit: int = Field(default=100, ge=1, description="problems of the task")
    personas: int = Field(default=10, ge=1, description="people, shared by all problems")
    per_problem: int = Field(default=10, ge=1, description="people for each problem, at most personas")
    attributes: int = Field(default=20, ge=8, le=40, description="attributes proposed for each problem")
    fewest: int = Field(default=4, ge=1, description="preferences of a profile, at least")
    most: int = Field(default=20, ge=1, description="preferences of a profile, at most")
    seed: int = Field(default=0, description="seed of the plan of people, of who gets which problem, and of sampling")
    temperature: float = Field(default=0.7, ge=0, description="sampling temperature of the model")
    max_tokens: int = Field(default=8192, ge=256, description="tokens of one of its answers, thinking included")
    run: str | None = Field(default=None, description="folder of the benchmark; defaults to runs/build-TASK")
    remote: RemoteOptions = RemoteOptions()

    @field_validator("per_problem")
    @classmethod
    def _enough_people(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("personas", value):
            raise ValueError(f"more than there are people (personas={info.data['personas']})")
        return value

    @field_validator("most")
    @classmethod
    def _a_range(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("fewest", value):
            raise ValueError(f"less than fewest={info.data['fewest']}")
        return value

    @field_validator("fewest")
    @classmethod
    def _few_enough(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("attributes", value) // 2:
            raise ValueError(f"more than half of attributes={info.data['attributes']}; some are merged")
        return value

    @property
    def folder(self) -> Path:
        """Where the benchmark goes."""
        name = re.sub(r"[^\w.-]+", "-", self.task)
        return Path(self.run or f"runs/build-{name}")

    @property
    def decisive(self) -> dict[str, Any]:
        """The settings that decide what a record is: a folder belongs to them."""
        return self.model_dump(mode="json", exclude=set(GROWS))
