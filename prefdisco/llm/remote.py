"""A model behind an API: cache, budget, limits and retries around one way of sending a request.

`Account` is what the models of a run share; `RemoteModel` is the `Model` that users, judges, builders and agents see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.llm.cache import Cache, request_key
from prefdisco.llm.keys import concealer, redact
from prefdisco.llm.limits import Budget, Fault, Gate, persist
from prefdisco.llm.loops import PerLoop
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.wire import CHARACTERS_A_TOKEN, Answer, encode
from prefdisco.schema import Usage

T = TypeVar("T")

CACHED = Usage(cached=1)


class Client(Protocol):
    """One way to send requests: server.Server or providers.Provider."""

    endpoint: str  # where requests go: part of what an answer is kept under

    @property
    def model(self) -> str | None: ...
    async def find(self) -> str: ...
    def body(self, model: str, conversation: Conversation, sampling: Sampling) -> dict[str, Any]: ...
    async def send(self, body: dict[str, Any], payload: bytes) -> Answer: ...


class Account:
    """What the models of one run share: the spending cap, the cache, the limits of each endpoint, and the bill.

    `spent` is what earlier runs of the same folder have cost, so that a continued run keeps to the same cap.
    """

    def __init__(self, options: RemoteOptions | None = None, spent: float = 0.0) -> None:
        options = options or RemoteOptions()
        self.budget = Budget(options.max_usd, spent)
        self.cache = Cache(options.cache) if options.cache else None
        self.gates: dict[tuple[object, ...], Gate] = {}
        self.bill: dict[str, Tally] = {}

    def gate(self, endpoint: str, options: RemoteOptions) -> Gate:
        """The gate of an endpoint: one for all roles that call it with the same limits."""
        limits = (options.concurrency, options.requests_per_minute, options.tokens_per_minute)
        return self.gates.setdefault((endpoint, *limits), Gate(*limits))

    def tally(self, role: str) -> Tally:
        """The running sums of a role."""
        return self.bill.setdefault(role, Tally())

    @property
    def usage(self) -> dict[str, Usage]:
        """Calls, tokens and dollars of each role in this run, calls whose episode failed included."""
        return {role: tally.usage for role, tally in self.bill.items()}


class Tally:
    """Sums of one role, cheap to add to. `retries` are the attempts that failed and were repeated."""

    def __init__(self) -> None:
        self.calls = self.cached = self.prompt_tokens = self.completion_tokens = self.retries = 0
        self.usd = 0.0

    def add(self, answer: Answer) -> None:
        """Count a call that was paid for."""
        self.calls += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens
        self.usd += answer.usd

    @property
    def usage(self) -> Usage:
        """The sums as a record."""
        return Usage(**{name: getattr(self, name) for name in Usage.model_fields})


class RemoteModel:
    """The `Model` for one role of the run, behind `client`. It can be used in one event loop after another.

    Identical requests that are in flight together are sent once, unless there is no cache.
    """

    def __init__(self, name: str, role: str, client: Client, options: RemoteOptions, account: Account) -> None:
        self.name, self.role = name, role
        self.client, self.options, self.account = client, options, account
        self.gate, self.tally = account.gate(client.endpoint, options), account.tally(role)
        self.conceal = concealer()
        self.searches: PerLoop[list[asyncio.Task[str]]] = PerLoop(list)
        self.flying: PerLoop[dict[bytes, asyncio.Future[Answer | None]]] = PerLoop(dict)

    async def check(self) -> None:
        """Raise ModelError where the endpoint cannot be reached: once and now, rather than at every call."""
        await self.persist(self.client.find)

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        """The next turn, from the cache or the endpoint; `usage` is what this call itself has cost.

        Raises ModelError when all attempts failed, at once where trying again cannot help; SpendingCapReached.
        """
        model = self.client.model or await self.search()
        body = self.client.body(model, conversation, sampling)
        payload = encode(body)
        cache = self.account.cache
        if cache is None:
            return paid(await self.call(body, payload))
        key = request_key(self.client.endpoint, payload)
        flying = self.flying.here()
        while (answer := cache.get(key)) is None:
            if key not in flying:
                return paid(await self.lead(cache, key, body, payload))
            if answer := await asyncio.shield(flying[key]):
                break  # otherwise the call that this one waited for was cancelled
        self.tally.cached += 1
        return Completion(answer.text, answer.finish, CACHED)

    async def lead(self, cache: Cache, key: bytes, body: dict[str, Any], payload: bytes) -> Answer:
        """Make the call for all that want the same, and keep its answer."""
        flying = self.flying.here()
        future = flying[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self.call(body, payload)
            await cache.put(key, answer)
            future.set_result(answer)
        except ModelError as error:
            future.set_exception(error)
            future.exception()  # nobody need have waited for it
            raise
        finally:
            del flying[key]
            if not future.done():
                future.set_result(None)
        return answer

    async def call(self, body: dict[str, Any], payload: bytes) -> Answer:
        """Attempts until one succeeds, within the limits of the endpoint and of the budget."""

        async def attempt() -> Answer:
            booked = await self.gate.pace(len(payload) / CHARACTERS_A_TOKEN, body["max_tokens"])
            self.account.budget.check()
            answer = await self.client.send(body, payload)
            self.gate.used(answer.prompt_tokens, answer.completion_tokens, booked)
            return answer

        async with self.gate.slots.here():
            answer = await self.persist(attempt)
        self.account.budget.spent += answer.usd
        self.tally.add(answer)
        return answer._replace(text=self.conceal(answer.text))

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempts until one succeeds; ModelError when none did."""
        try:
            value, failed = await persist(attempt, self.options.retries, self.options.backoff_s)
        except Fault as fault:
            tried = f" (tried {self.options.retries + 1} times)" if fault.again and self.options.retries else ""
            raise ModelError(redact(f"model {self.name}: {fault}{tried}")) from None
        self.tally.retries += failed
        return value

    async def search(self) -> str:
        """The name of the model that the server has: asked once, however many calls wait for it."""
        searches = self.searches.here()
        if not searches:
            searches.append(asyncio.ensure_future(self.persist(self.client.find)))
        return await asyncio.shield(searches[0])


def paid(answer: Answer) -> Completion:
    """What a call of one's own brought, and what it cost."""
    usage = Usage(
        calls=1, prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens, usd=answer.usd
    )
    return Completion(answer.text, answer.finish, usage)
