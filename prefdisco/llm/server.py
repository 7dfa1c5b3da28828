"""The lean way to an OpenAI-compatible server (vLLM, SGLang, llama.cpp): one aiohttp session, one POST a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.llm.keys import SERVER_KEY, redact, server_key
from prefdisco.llm.limits import Fault, retried, retry_after
from prefdisco.llm.loops import PerLoop
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.wire import MOST_BYTES, Answer, decode, read_answer, read_error, request_body

if TYPE_CHECKING:
    import aiohttp

ADVICE = {
    400: "the request does not suit this model (context too long?)",
    401: f"set {SERVER_KEY} to the server's key",
    403: f"the key in {SERVER_KEY} may not use this model",
    404: "check the address, which usually ends in /v1, and the model's name",
}
NO_LIST = (404, 405, 501)  # a server that does not list its models can still have the one that was named


class Server:
    """One model of one server: `url` up to and with /v1, `model` None to take the only one that is served."""

    def __init__(self, url: str, model: str | None, options: RemoteOptions) -> None:
        try:
            import aiohttp
        except ImportError:
            raise ModelError("models of servers need aiohttp; install it with `pip install aiohttp`") from None
        self.http = aiohttp
        self.endpoint, self.model, self.options = checked(url), model, options
        self.opened: PerLoop[_Opened] = PerLoop(_Opened)

    async def find(self) -> str:
        """The model's name, asked from the server where none was given. Raises Fault, also where nobody answers."""
        try:
            served = await self.served()
        except Fault as fault:
            if self.model is None or fault.status not in NO_LIST:
                raise
            return self.model
        if self.model is None:
            if len(served) != 1:
                raise Fault(f"serves {', '.join(served) or 'no model'}; choose one with #NAME", again=False)
            self.model = served[0]
        return self.model

    async def served(self) -> list[str]:
        """The names of the models that the server has. Raises Fault."""
        listed = decode(await self.exchange("GET", "models"))
        try:
            return [str(entry["id"]) for entry in listed["data"]]
        except (KeyError, TypeError):
            raise Fault("its list of models is none; check the address, which usually ends in /v1", False) from None

    def body(self, model: str, conversation: Conversation, sampling: Sampling) -> dict[str, Any]:
        """The request. Thinking is on by default; servers pass the switch to the model's chat template.

        That template also decides what becomes of earlier thinking: the model reads what it reads on this machine.
        """
        body = request_body(model, conversation, sampling, think_tags=True)
        if not conversation.thinking:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        return body

    async def send(self, body: dict[str, Any], payload: bytes) -> Answer:
        """One attempt; `payload` is `body` in JSON. Raises Fault."""
        answer = read_answer(decode(await self.exchange("POST", "chat/completions", payload)), body["max_tokens"])
        if self.options.price_in or self.options.price_out:
            dollars = answer.prompt_tokens * self.options.price_in + answer.completion_tokens * self.options.price_out
            answer = answer._replace(usd=dollars / 1e6)
        return answer

    async def exchange(self, method: str, path: str, payload: bytes | None = None) -> bytes:
        """One HTTP request: the body of the response, at most MOST_BYTES. Raises Fault."""
        session = await self.session()
        try:
            # No redirects: they would carry the key to another address.
            async with session.request(
                method, f"{self.endpoint}/{path}", data=payload, allow_redirects=False
            ) as response:
                raw = await read(response)
        except TimeoutError:
            raise Fault(f"no answer within {self.options.timeout_s:g} s") from None
        except self.http.InvalidURL:
            raise Fault("this is no address", again=False) from None
        except self.http.ClientSSLError as error:
            raise Fault(f"no safe connection: {redact(str(error))}", again=False) from None
        except (self.http.ClientError, OSError) as error:
            raise Fault(f"{type(error).__name__}: {redact(str(error))}") from None
        if response.status == 200:
            return raw
        what = f"HTTP {response.status}: {read_error(raw) or 'no reason given'}"
        if retried(response.status):
            raise Fault(what, after=retry_after(response.headers.get("Retry-After")), status=response.status)
        advice = ADVICE.get(response.status)
        raise Fault(f"{what}; {advice}" if advice else what, again=False, status=response.status)

    async def session(self) -> aiohttp.ClientSession:
        """The session of the running loop. It is closed when that loop ends, whoever runs it."""
        opened = self.opened.here()
        if opened.session is None:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            if key := server_key():
                headers["Authorization"] = f"Bearer {key}"
            total = self.options.timeout_s
            opened.session = self.http.ClientSession(
                headers=headers,
                connector=self.http.TCPConnector(limit=0),  # the gate limits
                timeout=self.http.ClientTimeout(total=total, sock_connect=min(total, 30)),
                cookie_jar=self.http.DummyCookieJar(),
                auto_decompress=False,  # no small body that unfolds to gigabytes
            )
            opened.keeper = keep(opened.session)
            await anext(opened.keeper)
        return opened.session


class _Opened:
    """What is open in one event loop."""

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None
        self.keeper: AsyncIterator[None] | None = None


async def keep(session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Hold a session open until the loop shuts its asynchronous generators down, as `asyncio.run` does at its end."""
    async with session:
        yield


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The body, refused as soon as it is too long. Raises Fault."""
    length = response.content_length
    if length is not None and length <= MOST_BYTES:
        return await response.read()
    chunks, size = [], 0
    while length is None and (chunk := await response.content.readany()):
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            length = size
    if length is not None:
        response.close()
        raise Fault(f"an answer of more than {MOST_BYTES} bytes")
    return b"".join(chunks)


def checked(url: str) -> str:
    """The address of a server without a slash at its end. Raises ModelError; the text repeats nothing secret."""
    try:
        parts = urlsplit(url)
        port = parts.port or parts.scheme
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.username is not None or parts.password is not None or parts.query:
        raise ModelError(f"models of servers: a key does not belong into an address; set {SERVER_KEY} instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ModelError(f"model server/{redact(url)}: expected server/http://HOST:PORT/v1, or with #NAME of the model")
    return url.rstrip("/")
