"""For tests of models behind an API: a client of a faulty server, with a key, and its calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from prefdisco.llm.base import Completion, Conversation, Model, Sampling
from prefdisco.llm.models import load_model
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.remote import Account, RemoteModel
from prefdisco.schema import Message
from tests.faulty import Faulty

ROOT = Path(__file__).parent.parent
KEY = "sk-test-0123456789abcdef"
QUICK: dict[str, Any] = {"backoff_s": 0.01, "timeout_s": 5, "cache": None}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFDISCO_SERVER_KEY", KEY)


def talk(text: str = "hello", **fields: Any) -> Conversation:
    return Conversation(messages=[Message(role="user", content=text)], **fields)


def connect(server: Faulty | str, account: Account | None = None, **options: Any) -> RemoteModel:
    url = server if isinstance(server, str) else server.url
    settings = RemoteOptions(**{**QUICK, **options})
    model = load_model(f"server/{url}#test", "agent", settings, account=account)
    assert isinstance(model, RemoteModel)
    return model


def say(model: Model, text: str = "hello", seed: int = 0, **fields: Any) -> Completion:
    return asyncio.run(model.complete(talk(text, **fields), Sampling(seed=seed)))


async def say_all(model: Model, seeds: Any, text: str = "hello") -> list[Any]:
    calls = (model.complete(talk(text), Sampling(seed=seed)) for seed in seeds)
    return await asyncio.gather(*calls, return_exceptions=True)
