"""An OpenAI-compatible server that is slow, and that fails on demand: for tests of whatever calls one.

    with serving(rate=0.2, latency=0.01) as server:   # a thread of this process, a free port
        load_model(f"server/{server.url}#test", "agent", ...)
        assert server.calls == 3

    python tests/faulty.py --port 8000 --rate 0.1 --latency 0.2     # a process of its own

Which attempts fail depends on the seed, the request and the number of the attempt alone, not on the order of arrival.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web

# What may be tried again, and how it looks from outside.
FAULTS = (
    "429",  # without Retry-After
    "429-after",  # with it, in seconds
    "429-date",  # with it, as an HTTP date
    "500",
    "reset",  # the connection is cut before a word
    "hang",  # nothing ever comes
    "truncated",  # JSON that breaks off
    "cut",  # a body shorter than announced
    "shape",  # JSON of another shape
    "empty",  # a completion without text
    "huge",  # ten megabytes of text
    "trickle",  # a byte at a time
)
REFUSALS = ("400", "401", "403", "404")
Body = dict[str, Any]


def echo(body: Body) -> str:
    """An answer that differs for each request."""
    return f"echo {body['seed']} of {body['messages'][-1]['content']}"


class Faulty:
    """The server and what it has seen.

    `script` is the fault of each call as they arrive, None for an answer; after it, attempts fail at `rate` with a
    fault drawn from `faults`. `reply` makes a message's text, or a whole message, from a request body.
    """

    def __init__(
        self,
        script: Sequence[str | None] = (),
        rate: float = 0.0,
        faults: Sequence[str] = FAULTS,
        latency: float = 0.0,
        seed: int = 0,
        retry_after: float = 0.1,
        reply: Callable[[Body], str | dict[str, Any]] = echo,
        models: Sequence[str] = ("test",),
        port: int = 0,
    ) -> None:
        self.script, self.rate, self.faults = list(script), rate, faults
        self.latency, self.seed, self.retry_after = latency, seed, retry_after
        self.reply, self.models, self.port = reply, models, port
        self.bodies: list[Body] = []  # of all calls, failed ones included
        self.times: list[float] = []  # when they came, by time.monotonic
        self.headers: list[dict[str, str]] = []
        self.met: Counter[str] = Counter()  # the faults that were dealt out
        self.attempts: Counter[str] = Counter()  # by request
        self.answered: Counter[str] = Counter()  # by request: the calls that a provider would bill
        self.flying = self.most_flying = 0
        self.started = threading.Event()

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def calls(self) -> int:
        """Calls so far, failed ones included."""
        return len(self.bodies)

    def run(self) -> None:
        """Serve until `stop`."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serve until `stop`, in the running loop."""
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/v1/models", self.list_models)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=2048)
        await site.start()
        self.port = runner.addresses[0][1]
        self.started.set()
        await self.stopping.wait()
        await runner.cleanup()

    def stop(self) -> None:
        """End `serve`, from any thread."""
        self.loop.call_soon_threadsafe(self.stopping.set)

    async def list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.times.append(time.monotonic())
        self.headers.append(dict(request.headers))
        fault = self.next_fault(json.dumps(body))
        self.flying += 1
        self.most_flying = max(self.flying, self.most_flying)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            if fault is not None:
                self.met[fault] += 1
                return await self.fail(fault, request)
            self.answered[json.dumps(body)] += 1
            return web.json_response(self.completion(self.reply(body)))
        finally:
            self.flying -= 1

    def next_fault(self, request: str) -> str | None:
        """What becomes of this attempt."""
        self.attempts[request] += 1
        if self.script:
            return self.script.pop(0)
        draw = random.Random(f"{self.seed} {request} {self.attempts[request]}")
        return draw.choice(list(self.faults)) if draw.random() < self.rate else None

    def completion(self, said: str | dict[str, Any]) -> Body:
        """A response body."""
        message = {"role": "assistant", **({"content": said} if isinstance(said, str) else said)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": self.models[0]}
        return {**head, "choices": [choice], "usage": usage}

    async def fail(self, fault: str, request: web.Request) -> web.StreamResponse:
        """Deal out one fault."""
        whole = json.dumps(self.completion("never seen"))
        if fault.isdigit() or fault.startswith("429"):
            after = {"429-after": f"{self.retry_after:g}", "429-date": formatdate(time.time() + 1, usegmt=True)}
            headers = {"Retry-After": after[fault]} if fault in after else {}
            sent = request.headers.get("Authorization", "no key")  # as careless servers do
            error = {"error": {"message": f"status {fault} for {sent}\nsecond line"}}
            return web.json_response(error, status=int(fault[:3]), headers=headers)
        if fault in ("reset", "hang"):
            if fault == "hang":
                await self.stopping.wait()
            elif request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("as asked for")
        if fault in ("cut", "trickle"):
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(whole)
            await response.prepare(request)
            for letter in whole[: len(whole) // 2].encode():
                if fault == "trickle":
                    await asyncio.sleep(0.05)
                await response.write(bytes([letter]))
            if request.transport is not None:
                request.transport.abort()
            return response
        text = {
            "truncated": whole[: len(whole) // 2],
            "shape": json.dumps({"choices": [{"text": "of an older interface"}]}),
            "empty": json.dumps(self.completion("")),
            "huge": json.dumps(self.completion("x" * 10_000_000)) if fault == "huge" else "",
        }[fault]
        return web.Response(text=text, content_type="application/json")


@contextmanager
def serving(**options: Any) -> Iterator[Faulty]:
    """A server (the arguments are those of Faulty) in a thread of this process until the block ends."""
    server = Faulty(**options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.started.wait(10), "the server did not start"
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--rate", type=float, default=0.0, help="share of attempts that fail")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--faults", nargs="+", default=FAULTS, choices=FAULTS + REFUSALS)
    server = Faulty(**vars(parser.parse_args()))
    threading.Thread(target=lambda: server.started.wait() and print(server.url, flush=True), daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
