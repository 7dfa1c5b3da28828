"""Models behind an API: no call is lost, limits hold, and a model is found by its name."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prefdisco.config import ConfigError
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.limits import LONGEST_RETRY_AFTER, Pacer, SpendingCapReached, delay, retry_after
from prefdisco.llm.models import kind_of, load_model
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.remote import Account
from prefdisco.schema import Message, Usage
from tests.faulty import FAULTS, REFUSALS, serving
from tests.remote import KEY, QUICK, connect, say, say_all, talk
from tests.remote import key as key  # for every test here


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
