"""The chat-completions format: a conversation as a request body, and a response body as an answer.

Every provider that litellm reaches is made to speak this format too, so this is the only place that knows it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from prefdisco.llm.base import Conversation, Finish, Sampling
from prefdisco.llm.keys import redact
from prefdisco.llm.limits import Fault
from prefdisco.protocol import join_thinking

MOST_BYTES = 4 * 2**20  # of a response; no turn is that long, and a server that sends more is broken
CHARACTERS_A_TOKEN = 3.5  # of a request, to book tokens before the endpoint has counted them
COMPACT = json.JSONEncoder(separators=(",", ":"))
SEEDS = 2**31  # some providers hold seeds in 32 signed bits


class Answer(NamedTuple):
    """What a model answered: thinking in think tags, then what it shows. Tokens are those that the endpoint counted."""

    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    usd: float = 0.0


def request_body(model: str, conversation: Conversation, sampling: Sampling, think_tags: bool) -> dict[str, Any]:
    """The request for the next turn. Earlier thinking goes back in its tags, or is left out where not `think_tags`.

    The order of the keys is fixed, and a schema's order is kept: constrained decoding writes fields in that order.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": m.role, "content": join_thinking(m.thinking, m.content) if think_tags else m.content}
            for m in conversation.messages
        ],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed % SEEDS,
    }
    if conversation.schema is not None:
        name = str(conversation.schema.get("title") or "answer")
        schema = {"name": name, "schema": conversation.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def encode(body: dict[str, Any]) -> bytes:
    """A request body in JSON, without white space."""
    return COMPACT.encode(body).encode()


def decode(raw: bytes) -> Any:
    """A response body as JSON. Raises Fault."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Fault(f"an answer that is not JSON ({len(raw)} bytes)") from None


def read_answer(response: Any, max_tokens: int) -> Answer:
    """The first choice of a response. Raises Fault for another shape, and for no text.

    No text is an answer only where all of `max_tokens` were used up: the model was still thinking, out of sight.
    """
    try:
        choice = response["choices"][0]
        message = choice["message"]
        content = message.get("content") or ""
        thinking = message.get("reasoning") or message.get("reasoning_content") or ""
        reason = choice.get("finish_reason")
        usage = response.get("usage") or {}
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    except (AttributeError, IndexError, KeyError, TypeError):
        raise Fault(
            f"JSON that is no chat completion: {redact(json.dumps(response, default=str)[:1000])[:80]}"
        ) from None
    if not isinstance(content, str) or not isinstance(thinking, str):
        raise Fault("a chat completion whose content is not text")
    if len(content) + len(thinking) > MOST_BYTES:
        raise Fault(f"a text of {len(content) + len(thinking)} characters, at most {MOST_BYTES} are read")
    finish: Finish = "length" if reason == "length" else "stop"
    text = join_thinking(thinking, content)
    if not text.strip() and not (finish == "length" and written >= max_tokens):
        raise Fault(f"an empty text (finish_reason {redact(str(reason))})")
    return Answer(_writable(text), finish, read, written)


def read_error(raw: bytes) -> str:
    """What an error response says, on one line and without keys."""
    text = raw.decode(errors="replace")
    try:
        content = json.loads(text)
        inner = content.get("error", content)
        said = inner if isinstance(inner, str) else inner.get("message") or inner.get("detail") or text
    except (ValueError, AttributeError, RecursionError):
        said = text
    return redact(str(said))


def _count(value: Any) -> int:
    """A token count of the endpoint's; what is none counts as 0."""
    return value if type(value) is int and value >= 0 else 0


def _writable(text: str) -> str:
    """`text`, with lone surrogates replaced: JSON can carry them, no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
