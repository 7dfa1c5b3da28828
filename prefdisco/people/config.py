"""What `prefdisco chat`, `prefdisco study` and `prefdisco people` are told; made of words alone."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from prefdisco.complaints import COMMAND_LINE
from prefdisco.hashing import digest
from prefdisco.llm.options import RemoteOptions
from prefdisco.loading import Config, ConfigError
from prefdisco.schema import to_json

PERSON: Final = "person"
LOCAL_NAMES = ("localhost",)


class SeatConfig(Config):
    """What chat and study share. A folder belongs to `decisive`; all else may differ when it is continued."""

    agent: str = Field(
        min_length=1, description="the model to talk with: a folder, pocket-base, server/.., provider/.."
    )
    scenarios: str = Field(default="pocket", description="where problems come from: pocket, pocket:SPLIT, or a file")
    limit: int = Field(default=100, ge=1, description="scenarios to draw problems from")
    seed: int = Field(default=0, description="seed of the draw of problems and of the agent's sampling")
    budget: int = Field(default=5, ge=0, description="questions that the agent may ask")
    temperature: float = Field(default=1.0, ge=0, description="sampling temperature of the agent; 0 is greedy")
    max_tokens: int = Field(default=256, ge=1, description="tokens of one turn of the agent, thinking included")
    user: Literal["person"] = Field(default=PERSON, description="who answers")
    referee: str = Field(
        default="", description="a model that decides whether answers are right, for tasks that have no checker"
    )
    remote: RemoteOptions = RemoteOptions()
    run: str | None = Field(default=None, description="run folder")

    def decisive(self) -> dict[str, Any]:
        """What decides an episode."""
        names = ("agent", "scenarios", "limit", "seed", "budget", "temperature", "max_tokens")
        return self.model_dump(mode="json", include=set(names))

    def folder(self, command: str) -> Path:
        """`run`, or runs/COMMAND-AGENT-HASH with a hash of the settings that decide what an episode is."""
        name = re.sub(r"[^\w.-]+", "-", Path(self.agent).name).strip("-")
        return Path(self.run or f"runs/{command}-{name}-{digest(to_json(self.decisive()), length=6)}")


class ChatConfig(SeatConfig):
    """One dialogue in the terminal."""

    scenario: str = Field(default="", description="id of the scenario to play; without, you choose one of a few")
    role: Literal["persona", "self"] = Field(
        default="persona", description="persona: you play the person shown; self: you state your own preferences"
    )
    condition: str = Field(default="discovery", min_length=1, description="what the agent is told and may do")
    judge: Literal["auto", "exact", "person"] = Field(
        default="auto", description="who grades: exact (Pocket's computed judge), you, or auto: exact where it can be"
    )
    thinking: bool = Field(default=False, description="show what the agent thought")

    def decisive(self) -> dict[str, Any]:
        """What decides an episode."""
        return {**super().decisive(), "judge": self.judge}


class StudyConfig(SeatConfig):
    """A study in the browser."""

    judge: Literal["person"] = Field(default=PERSON, description="who grades")
    problems: int = Field(default=3, ge=1, description="problems for each participant")
    participants: int = Field(default=200, ge=1, description="people who may take part; then it is closed")
    thinking: bool = Field(default=True, description="whether the agent thinks before each turn")
    consent: str = Field(default="", description="a text file to consent to, instead of the one that comes with it")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8421, ge=0, le=65535, description="port to listen on; 0: one that is free")
    public: bool = Field(default=False, description="needed to listen on an address that other machines can reach")
    batch_size: int = Field(default=16, ge=1, description="dialogues generated together by a checkpoint")

    def decisive(self) -> dict[str, Any]:
        """What decides an episode."""
        return {**super().decisive(), "thinking": self.thinking}

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return self.host in LOCAL_NAMES or ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise ConfigError for an address that others can reach, unless that is meant."""
        if not self.is_local and not self.public:
            raise ConfigError(
                f"{COMMAND_LINE}: host={self.host}: other machines could reach the study; "
                "add public=true where that is meant"
            )


class PeopleConfig(Config):
    """How people are compared with simulated users and with a judge."""

    judge: str = Field(
        default="exact", min_length=1, description="who grades the same answers: exact (Pocket), a model, or none"
    )
    resamples: int = Field(default=1000, ge=1, description="bootstrap resamples of whole participants")
    remote: RemoteOptions = RemoteOptions()
