"""Models of providers, through litellm: named, priced, and asked with strict schemas."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from prefdisco.llm.base import ModelError
from prefdisco.llm.models import load_model
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.providers import PROVIDERS, strict_schema
from tests.faulty import serving
from tests.remote import KEY, QUICK, say
from tests.remote import key as key  # for every test here


def test_providers_without_litellm_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ModelError, match="pip install litellm"):
        load_model("openai/gpt-5", "judge")


def test_strict_schemas_require_every_field_and_keep_their_names() -> None:
    item = {"type": "object", "properties": {"title": {"type": "string", "minLength": 1}}}
    loose = {
        "title": "A",
        "type": "object",
        "properties": {"default": {"$ref": "#/$defs/I", "default": 1}},
        "$defs": {"I": item},
    }
    strict = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "additionalProperties": False,
        "required": ["title"],
    }
    assert strict_schema(loose) == {
        "type": "object",
        "properties": {"default": {"$ref": "#/$defs/I"}},
        "$defs": {"I": strict},
        "additionalProperties": False,
        "required": ["default"],
    }
    assert loose["title"] == "A"


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return pytest.importorskip("litellm")


def test_a_provider_is_called_with_our_retries_and_its_prices(
    litellm: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    options = RemoteOptions(**{**QUICK, "max_usd": 1.0, "cache": str(tmp_path), "timeout_s": 60})
    passing = ["429-after", "500", "reset", "truncated", "shape", "empty"]
    with serving(
        script=[*passing, None, "401"], reply=lambda body: {"content": "42", "reasoning_content": "hm"}
    ) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        model = load_model("openai/gpt-4o-mini", "judge", options)
        completion = say(model, schema={"type": "object", "properties": {"a": {"type": "string"}}})
        assert completion.text == "<think>hm</think>42" and server.calls == len(passing) + 1
        assert completion.usage.usd == pytest.approx((100 * 0.15 + 10 * 0.6) / 1e6)
        with pytest.raises(ModelError, match="set the provider's key") as caught:
            say(model, seed=1)
        assert KEY not in str(caught.value) and "\n" not in str(caught.value) and server.calls == len(passing) + 2
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    printed = "".join(capfd.readouterr())
    assert b"42" in kept and KEY.encode() not in kept and not printed


def test_a_cap_needs_a_price(litellm: Any) -> None:
    with pytest.raises(ModelError, match="knows no price"):
        load_model("openai/never-heard-of", "judge", RemoteOptions(max_usd=1))


def test_every_provider_that_is_listed_is_litellms(litellm: Any) -> None:
    assert set(PROVIDERS) <= {str(getattr(provider, "value", provider)) for provider in litellm.provider_list}
