"""Calls a second to a server, and the client's CPU time for each: prefdisco's way beside litellm's and openai's.

    python bench/evaluate.py [--quick] [--calls 12800] [--in-flight 256] [--latency 0.2] [--repeat 3] [--only NAME]

A server in a process of its own answers every call after a fixed time with a canned text, so the ideal is in-flight /
latency calls a second. Each way runs in a fresh process, after a warm-up that opens its connections; CPU time is that
process's, all threads. The rows "new" and "again" have the cache on: first every answer is written, then every answer
is found. litellm and openai are measured where they are installed. Medians over the repetitions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

PROMPT = "A person asks: which of the following holds, and why? Answer as this person would like it. " * 12
ANSWER = "The second one holds, since the first would need a larger sample than the study had. " * 8
SPAWN = multiprocessing.get_context("spawn")
Call = Callable[[int], Coroutine[Any, Any, Any]]


class Load(NamedTuple):
    """What to measure: `calls` calls of which `in_flight` at a time, each answered after `latency` seconds."""

    calls: int
    in_flight: int
    latency: float


class Server(asyncio.Protocol):
    """As much of HTTP as these clients need, cheap enough not to be what is measured."""

    def __init__(self, latency: float) -> None:
        self.latency, self.buffer = latency, b""
        message = {"role": "assistant", "content": ANSWER}
        body = json.dumps(
            {
                "id": "chatcmpl-0",
                "object": "chat.completion",
                "created": 0,
                "model": "test",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 250, "completion_tokens": 150, "total_tokens": 400},
            }
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.response = head.encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            self.buffer = b""
            asyncio.get_running_loop().call_later(self.latency, self.answer)

    def answer(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.write(self.response)


def serve(latency: float, tell: Connection) -> None:
    """Run the server for ever; its port goes to `tell`."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Server(latency), "127.0.0.1", 0, backlog=4096)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The base address of a server in a process of its own."""
    receive, send = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=serve, args=(latency, send), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receive.recv()}/v1"
    finally:
        process.terminate()


def ours(url: str, load: Load, cache: str | None) -> Call:
    """The way of the evaluation: `RemoteModel.complete`, which limits the calls in flight itself."""
    from prefdisco.llm.base import Conversation, Sampling
    from prefdisco.llm.models import load_model
    from prefdisco.llm.options import RemoteOptions
    from prefdisco.schema import Message

    model = load_model(f"server/{url}#test", "agent", RemoteOptions(concurrency=load.in_flight, cache=cache))
    messages = [Message(role="user", content=PROMPT)]
    return lambda seed: model.complete(Conversation(messages=messages), Sampling(seed=seed))


def through_litellm(url: str, load: Load, cache: str | None) -> Call:
    """litellm.acompletion as it comes, but without fetching prices."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    slots, messages = asyncio.Semaphore(load.in_flight), [{"role": "user", "content": PROMPT}]

    async def call(seed: int) -> None:
        async with slots:
            await litellm.acompletion(
                model="openai/test", messages=messages, seed=seed, api_base=url, api_key="none", max_tokens=256
            )

    return call


def through_openai(url: str, load: Load, cache: str | None) -> Call:
    """The openai package's asynchronous client as it comes."""
    import openai

    client = openai.AsyncOpenAI(base_url=url, api_key="none")
    slots = asyncio.Semaphore(load.in_flight)
    messages: Any = [{"role": "user", "content": PROMPT}]

    async def call(seed: int) -> None:
        async with slots:
            await client.chat.completions.create(model="test", messages=messages, seed=seed, max_tokens=256)

    return call


def measure(way: Callable[..., Call], url: str, load: Load, cache: str | None) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of all calls at once."""

    from prefdisco.llm.loops import run, side_by_side

    async def main() -> tuple[float, float]:
        call = way(url, load, cache)
        await side_by_side(call(10**6 + seed) for seed in range(load.in_flight))  # warm up
        wall, cpu = time.perf_counter(), time.process_time()
        await side_by_side(call(seed) for seed in range(load.calls))  # as evaluations run their episodes
        return time.perf_counter() - wall, time.process_time() - cpu

    return run(main())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls, one repetition")
    parser.add_argument("--calls", type=int, default=12800, help="calls of a repetition")
    parser.add_argument("--in-flight", type=int, default=256, help="calls in flight")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds before the server answers")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions")
    parser.add_argument("--only", default="", help="measure the ways whose names begin so")
    options = parser.parse_args()
    load = Load(512 if options.quick else options.calls, options.in_flight, options.latency)
    ways: dict[str, tuple[Callable[..., Call], bool]] = {
        "prefdisco, no cache": (ours, False),
        "prefdisco, new": (ours, True),
        "prefdisco, again": (ours, True),
    }
    if find_spec("litellm"):
        ways["litellm"] = (through_litellm, False)
    if find_spec("openai"):
        ways["openai"] = (through_openai, False)
    ways = {name: way for name, way in ways.items() if name.startswith(options.only)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with serving(load.latency) as url, ProcessPoolExecutor(1, SPAWN, max_tasks_per_child=1) as fresh:
        for _ in range(1 if options.quick else options.repeat):  # in turns, so that a busy moment hits all
            with tempfile.TemporaryDirectory() as folder:
                for name, (way, cached) in ways.items():
                    found[name].append(fresh.submit(measure, way, url, load, folder if cached else None).result())
    ideal = load.in_flight / load.latency
    print(f"{load.calls} calls, {load.in_flight} in flight, {load.latency:g} s until an answer, {os.cpu_count()} cores")
    print(f"{'':24}{'calls/s':>10}{'of ideal':>10}{'CPU ms a call':>16}")
    for name, times in found.items():
        rate = load.calls / statistics.median(wall for wall, _ in times)
        cpu = 1000 * statistics.median(cpu for _, cpu in times) / load.calls
        share = "-" if name.endswith("again") else f"{rate / ideal:.3f}"
        print(f"{name:24}{rate:10.0f}{share:>10}{cpu:16.3f}")
    print(f"{'ideal':24}{ideal:10.0f}{1:10.3f}")


if __name__ == "__main__":
    main()
