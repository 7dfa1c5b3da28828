"""Models behind an API: no call is lost, none is paid for twice, limits hold, and keys stay where they are."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prefdisco.config import ConfigError
from prefdisco.llm.base import Completion, Conversation, Model, ModelError, Sampling
from prefdisco.llm.cache import Cache
from prefdisco.llm.keys import redact
from prefdisco.llm.limits import LONGEST_RETRY_AFTER, Pacer, SpendingCapReached, delay, retry_after
from prefdisco.llm.models import kind_of, load_model
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.providers import PROVIDERS, strict_schema
from prefdisco.llm.remote import Account, RemoteModel
from prefdisco.llm.wire import Answer
from prefdisco.schema import Message, Usage
from tests.faulty import FAULTS, REFUSALS, Faulty, serving

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


# Faults


@pytest.mark.parametrize("fault", FAULTS)
def test_every_passing_fault_is_tried_again(fault: str) -> None:
    with serving(script=[fault]) as server:
        completion = say(connect(server, timeout_s=0.5))
        assert completion.text == "echo 0 of hello" and server.calls == 2 and server.met == {fault: 1}
        assert completion.usage == Usage(calls=1, prompt_tokens=100, completion_tokens=10)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_call_fails_at_once_on_one_line_without_the_key(status: str) -> None:
    with serving(script=[status] * 9) as server:
        with pytest.raises(ModelError, match=f"server/{server.url}#test: HTTP {status}: status .*; ") as caught:
            say(connect(server))
        assert server.calls == 1 and f"Bearer {KEY}" == server.headers[0]["Authorization"]
        assert KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_no_call_is_lost_where_a_third_of_them_fail() -> None:
    often = [fault for fault in FAULTS if fault != "429-date"]  # which has whole seconds only
    with serving(rate=0.35, faults=often, seed=3) as server:
        model = connect(server, timeout_s=0.5, retries=20, concurrency=64)
        answers = asyncio.run(say_all(model, range(300)))
        assert [answer.text for answer in answers] == [f"echo {seed} of hello" for seed in range(300)]
        # on a busy machine a sound answer can come too late as well
        assert set(server.met) == set(often) and model.tally.retries >= sum(server.met.values()) > 100


def test_a_call_that_never_succeeds_ends_after_its_retries() -> None:
    with serving(rate=1, faults=["500"]) as server:
        with pytest.raises(ModelError, match=r"HTTP 500: status 500 .* \(tried 3 times\)$") as caught:
            say(connect(server, retries=2))
        assert server.calls == 3 and KEY not in str(caught.value)
    with pytest.raises(ModelError, match=r"Connect.*tried 2 times"):
        say(connect(server, retries=1))  # nobody there any more


def test_retry_after_is_waited_for() -> None:
    with serving(script=["429-after"], retry_after=0.4) as server:
        say(connect(server))
        assert 0.4 <= server.times[1] - server.times[0] < 2
    now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert retry_after("2.5") == 2.5 and retry_after("86400") == LONGEST_RETRY_AFTER and retry_after("-3") == 0
    assert (
        retry_after("Fri, 20 Nov 2026 12:00:30 GMT", now) == 30
        and retry_after("Fri, 20 Nov 2026 11:00:00 GMT", now) == 0
    )
    assert retry_after(None) is retry_after("soon") is retry_after("nan") is None


def test_backoff_grows_and_never_undercuts_the_server() -> None:
    assert all(0.5 * 2**n * 0.5 <= delay(n + 1, 0.5, None) <= 0.5 * 2**n for n in range(6))
    assert delay(40, 0.5, None) <= 30 and delay(1, 0.5, 7.0) == 7.0


# The wire


def test_thinking_comes_in_think_tags_and_goes_back_to_servers_whose_templates_decide() -> None:
    for field in ("reasoning", "reasoning_content"):
        with serving(reply=lambda body, field=field: {"content": "42", field: "hm"}) as server:
            past = Conversation(
                messages=[Message(role="assistant", content="Why?", thinking="secret"), *talk().messages]
            )
            model = connect(server)
            assert asyncio.run(model.complete(past, Sampling())).text == "<think>hm</think>42"
            assert server.bodies[0]["messages"][0] == {"role": "assistant", "content": "<think>secret</think>Why?"}


def test_a_request_carries_sampling_and_a_strict_schema_in_its_own_order() -> None:
    schema = {
        "title": "Grade",
        "type": "object",
        "properties": {"reason": {"type": "string"}, "grade": {"type": "integer"}},
    }
    with serving() as server:
        sampling = Sampling(temperature=0.4, top_p=0.9, max_tokens=7, seed=2**32 - 1)
        asyncio.run(connect(server).complete(talk(schema=schema, thinking=False), sampling))
        sent = server.bodies[0]
        assert (sent["model"], sent["temperature"], sent["top_p"], sent["max_tokens"]) == ("test", 0.4, 0.9, 7)
        assert sent["seed"] == 2**31 - 1 and sent["chat_template_kwargs"] == {"enable_thinking": False}
        form = sent["response_format"]["json_schema"]
        assert form["strict"] and form["name"] == "Grade" and list(form["schema"]["properties"]) == ["reason", "grade"]


def test_no_text_counts_as_an_answer_only_where_all_tokens_were_used() -> None:
    with serving(reply=lambda body: "") as server:
        with pytest.raises(ModelError, match="an empty text"):
            say(connect(server, retries=0))
        server.completion = lambda said: {  # type: ignore[method-assign]
            "choices": [{"message": {"content": None}, "finish_reason": "length"}],
            "usage": {"completion_tokens": 256},
        }
        assert say(connect(server)) == Completion("", "length", Usage(calls=1, completion_tokens=256))


def test_text_that_no_file_can_hold_is_mended() -> None:
    with serving(reply=lambda body: "a\ud800b") as server:
        assert say(connect(server)).text == "a\ufffdb"


def test_the_model_is_asked_for_where_it_is_not_named() -> None:
    with serving(models=["only"]) as server:
        model = load_model(f"server/{server.url}/", "agent", RemoteOptions(**QUICK))
        asyncio.run(say_all(model, range(3)))
        assert {body["model"] for body in server.bodies} == {"only"}
    with (
        serving(models=["one", "two"]) as server,
        pytest.raises(ModelError, match="serves one, two; choose one with #NAME"),
    ):
        say(load_model(f"server/{server.url}", "agent", RemoteOptions(**QUICK)))


# The cache


def test_answers_survive_a_restart_and_depend_on_the_whole_request(tmp_path: Path) -> None:
    with serving() as server:
        first = say(connect(server, cache=str(tmp_path)))
        again = say(connect(server, cache=str(tmp_path)))
        assert server.calls == 1 and (again.text, again.finish) == (first.text, first.finish)
        assert again.usage == Usage(cached=1)
        model = connect(server, cache=str(tmp_path))
        others: list[tuple[Conversation, Sampling]] = [
            (talk("hello!"), Sampling()),
            (talk(), Sampling(seed=1)),
            (talk(), Sampling(temperature=0.5)),
            (talk(), Sampling(top_p=0.5)),
            (talk(), Sampling(max_tokens=5)),
            (talk(schema={"type": "object"}), Sampling()),
            (talk(thinking=False), Sampling()),
            (Conversation(messages=[Message(role="system", content="hello")]), Sampling()),
        ]
        for conversation, sampling in others:
            assert asyncio.run(model.complete(conversation, sampling)).usage.calls == 1
        assert server.calls == 1 + len(others)
    with serving() as elsewhere:
        assert say(connect(elsewhere, cache=str(tmp_path))).usage.calls == 1


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with serving(script=["400"]) as server:
        model = connect(server, cache=str(tmp_path))
        with pytest.raises(ModelError):
            say(model)
        assert say(model).usage.calls == 1


def test_identical_requests_in_flight_share_one_call(tmp_path: Path) -> None:
    with serving(latency=0.05) as server:
        model = connect(server, cache=str(tmp_path))
        answers = asyncio.run(say_all(model, [7] * 20))
        assert server.calls == 1 and {answer.text for answer in answers} == {"echo 7 of hello"}
        assert sum((answer.usage for answer in answers), Usage()) == Usage(
            calls=1, cached=19, prompt_tokens=100, completion_tokens=10
        )
        assert model.account.usage == {"agent": sum((answer.usage for answer in answers), Usage())}


def test_a_shared_call_whose_owner_is_cancelled_is_made_by_another(tmp_path: Path) -> None:
    async def cancel_the_first(model: Model) -> list[Any]:
        tasks = [asyncio.ensure_future(model.complete(talk(), Sampling())) for _ in range(3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with serving(latency=0.2) as server:
        first, *others = asyncio.run(cancel_the_first(connect(server, cache=str(tmp_path))))
        assert isinstance(first, asyncio.CancelledError) and server.calls == 2
        assert sorted(answer.usage.calls for answer in others) == [0, 1]


CLIENT = """
import asyncio, os, sys
from prefdisco.llm.base import Conversation, Sampling
from prefdisco.llm.models import load_model
from prefdisco.llm.options import RemoteOptions
from prefdisco.schema import Message

url, folder, log, count = sys.argv[1:]
model = load_model(f"server/{url}#test", "agent", RemoteOptions(cache=folder, concurrency=16))
file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def call(seed):
    await model.complete(Conversation(messages=[Message(role="user", content="hello")]), Sampling(seed=seed))
    os.write(file, f"{seed}\\n".encode())

async def main():
    await asyncio.gather(*map(call, range(int(count))))

asyncio.run(main())
"""


def start(server: Faulty, folder: Path, log: Path, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CLIENT, server.url, str(folder), str(log), str(count)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def test_a_killed_run_does_not_pay_again_for_what_was_finished(tmp_path: Path) -> None:
    count = 1500
    with serving(latency=0.005) as server:
        process = start(server, tmp_path / "cache", tmp_path / "first", count)
        deadline = time.monotonic() + 30
        while server.calls < count // 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        finished = {int(line) for line in (tmp_path / "first").read_text().split()}
        assert count // 4 < len(finished) < count
        second = start(server, tmp_path / "cache", tmp_path / "second", count)
        assert second.wait(30) == 0, second.communicate()
        paid = {json.loads(body)["seed"]: times for body, times in server.answered.items()}
        assert set(paid) == set(range(count))
        assert sum(paid[seed] > 1 for seed in finished) <= 0.001 * len(finished)
        assert sum(paid.values()) <= count + 32  # those in flight, and those that had just arrived


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    with serving() as server:
        processes = [start(server, tmp_path / "cache", tmp_path / name, 200) for name in ("one", "two")]
        for process in processes:
            assert process.wait(30) == 0, process.communicate()
        process = start(server, tmp_path / "cache", tmp_path / "three", 200)
        calls = server.calls
        assert process.wait(30) == 0 and server.calls == calls


def test_a_cache_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "responses.sqlite").write_text("this is no database, but as long as one " * 100)
    with pytest.raises(ModelError, match=r"responses.sqlite: the response cache cannot be used: .*cache=null"):
        Cache(tmp_path).get(b"key")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be used"):
        asyncio.run(Cache(tmp_path / "file" / "below").put(b"key", Answer("text", "stop", 1, 1)))


# Keys


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


# Limits


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    with serving(latency=0.02) as server:
        account = Account(RemoteOptions(**QUICK))
        both = [connect(server, account, concurrency=4) for _ in range(2)]

        async def main() -> None:
            await asyncio.gather(*(say_all(model, range(20)) for model in both))

        asyncio.run(main())
        assert server.calls == 40 and server.most_flying == 4  # for both roles together


def test_requests_keep_to_the_pace_retries_included() -> None:
    with serving(script=["500", "500"]) as server:
        asyncio.run(say_all(connect(server, requests_per_minute=1200), range(14)))
        assert server.calls == 16 and server.times[-1] - server.times[0] >= 15 * 0.05 - 0.02


def test_tokens_keep_to_the_pace_as_the_endpoint_counts_them() -> None:
    now, taken = [0.0], []

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    async def main() -> None:
        pacer = Pacer(600, clock=lambda: now[0], sleep=sleep)  # ten a second
        for _ in range(20):
            await pacer.take(50)
            taken.append(now[0])
            pacer.correct(-30)

    asyncio.run(main())
    assert taken == pytest.approx([2.0 * call for call in range(20)])
    with serving() as server:  # 110 tokens a call, 55 calls a second
        model = connect(server, tokens_per_minute=60 * 110 * 55, concurrency=1)
        asyncio.run(say_all(model, range(30)))
        assert server.times[-1] - server.times[1] >= 0.9 * 28 / 55


def test_the_spending_cap_stops_new_calls_and_nothing_else(tmp_path: Path) -> None:
    prices = {"price_in": 100.0, "price_out": 1000.0}  # 0.02 dollars a call
    options = RemoteOptions(**{**QUICK, "cache": str(tmp_path), "max_usd": 0.1, "concurrency": 3, **prices})
    with serving(latency=0.02) as server:
        account = Account(options)
        model = load_model(f"server/{server.url}#test", "judge", options, account=account)
        answers = asyncio.run(say_all(model, range(20)))
        paid = [answer for answer in answers if isinstance(answer, Completion)]
        assert (
            len(paid) == server.calls == server.answered.total() in (5, 6, 7)
        )  # the fifth reaches it, two may be in flight
        assert all(isinstance(answer, SpendingCapReached) for answer in answers if answer not in paid)
        assert account.usage["judge"].usd == pytest.approx(0.02 * len(paid)) == account.budget.spent
        with pytest.raises(ModelError, match=r"spending cap of \$0.1 reached \(\$0.1\d* spent\); raise max_usd"):
            say(model, seed=50)
        assert say(model, seed=0).usage == Usage(cached=1)  # costs nothing
        continued = load_model(f"server/{server.url}#test", "judge", options, account=Account(options, spent=0.1))
        with pytest.raises(SpendingCapReached):
            say(continued, seed=50)


def test_each_role_has_its_own_bill() -> None:
    with serving() as server:
        account = Account(RemoteOptions(**QUICK))
        for role, calls in (("agent", 1), ("judge", 2)):
            model = load_model(f"server/{server.url}#test", role, RemoteOptions(**QUICK), account=account)
            asyncio.run(say_all(model, range(calls)))
        assert {role: usage.calls for role, usage in account.usage.items()} == {"agent": 1, "judge": 2}


# Loops and names


def test_a_model_serves_one_event_loop_after_another_and_closes_its_connections(tmp_path: Path) -> None:
    with serving() as server:
        model = connect(server, cache=str(tmp_path))
        sessions = []
        for seed in range(3):
            say(model, seed=seed)
            sessions.append(model.client.opened.value.session)  # type: ignore[attr-defined]
        assert server.calls == 3 and len(set(map(id, sessions))) == 3 and all(session.closed for session in sessions)


def test_check_tells_at_once_whether_the_endpoint_is_there() -> None:
    with serving() as server:
        asyncio.run(connect(server).check())
        assert server.calls == 0
    with pytest.raises(ModelError, match="Connect"):
        asyncio.run(connect(server, retries=0).check())


def test_a_name_says_where_its_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai" / "mine").mkdir(parents=True)
    names = {
        "server/http://localhost:8000/v1": "server",
        "openai/gpt-5": "provider",
        "openrouter/qwen/qwen3-8b": "provider",
        "openai/mine": "local",
        "Qwen/Qwen3-0.6B": "local",
        "runs/sft/checkpoint": "local",
        "pocket-base": "local",
        "./openai/gpt-5": "local",
    }
    assert {name: kind_of(name) for name in names} == names
    for name in ("server/localhost:8000", "server/", "server/http://", "server/http://host:port/v1"):
        with pytest.raises(ModelError, match="expected server/http://HOST:PORT/v1"):
            load_model(name, "agent")


def test_options_refuse_what_cannot_be() -> None:
    for wrong in ({"concurrency": 0}, {"max_usd": 0}, {"api_key": "x"}):
        with pytest.raises(ValueError):
            RemoteOptions(**wrong)
    assert issubclass(ConfigError, ValueError)


# Providers


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
