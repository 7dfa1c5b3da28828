"""The cache of models behind an API: no call is paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from prefdisco.llm.base import Conversation, Model, ModelError, Sampling
from prefdisco.llm.cache import Cache
from prefdisco.llm.wire import Answer
from prefdisco.schema import Message, Usage
from tests.faulty import Faulty, serving
from tests.remote import ROOT, connect, say, say_all, talk
from tests.remote import key as key  # for every test here


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
