"""Keys of models behind an API stay where they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from prefdisco.llm.base import ModelError
from prefdisco.llm.keys import redact
from prefdisco.llm.models import load_model
from tests.faulty import serving
from tests.remote import KEY, connect, say
from tests.remote import key as key  # for every test here


def test_a_key_stays_out_of_errors_caches_and_representations(tmp_path: Path) -> None:
    with serving(reply=lambda body: f"my key is {KEY}", script=[None, "401", "500"]) as server:
        model = connect(server, cache=str(tmp_path), retries=0)
        assert say(model).text == "my key is [key]"
        errors = []
        for seed in (1, 2):
            with pytest.raises(ModelError) as caught:
                say(model, seed=seed)
            errors.append(str(caught.value))
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"my key is [key]" in kept and KEY.encode() not in kept
        seen = [
            *errors,
            repr(model),
            repr(vars(model)),
            repr(vars(model.client)),
            repr(model.options),
            *os.listdir(tmp_path),
        ]
        assert all(KEY not in text for text in seen)


def test_whatever_looks_like_a_key_is_taken_out_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", 'odd"key')
    texts = (
        "Incorrect API key sk-proj-abc***xyz",
        'bad odd"key',
        'bad odd\\"key',
        "Bearer abc",
        "http://me:pw@host/v1",
    )
    for text, secret in zip(texts, ("proj", "odd", "odd", "abc", "pw"), strict=True):
        assert secret not in redact(f"{text} \n rest") and redact(text + "\n rest").endswith("rest")
    assert len(redact("word " * 1000)) <= 300


def test_a_key_in_an_address_is_refused_without_repeating_it() -> None:
    for address in (f"http://me:{KEY}@host/v1", f"http://host/v1?key={KEY}"):
        with pytest.raises(ModelError, match="PREFDISCO_SERVER_KEY") as caught:
            load_model(f"server/{address}", "judge")
        assert KEY not in str(caught.value)


def test_a_key_with_a_line_break_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFDISCO_SERVER_KEY", "first\nsecond")
    with serving() as server, pytest.raises(ModelError, match="PREFDISCO_SERVER_KEY: holds") as caught:
        say(connect(server))
    assert "second" not in str(caught.value)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with serving(reply=lambda body: "") as server:
        from aiohttp import web

        def redirect(said: Any) -> Any:
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/v1/chat/completions")

        server.completion = redirect  # type: ignore[method-assign]
        with pytest.raises(ModelError, match="HTTP 307"):
            say(connect(server))
