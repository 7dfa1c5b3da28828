"""Commercial and other providers through litellm: `openai/NAME`, `anthropic/NAME`, `gemini/NAME`, ...

litellm finds the keys in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...), and prices in the table it brings.
Retries, limits and the cache are ours, so that they are the same for every model; litellm's own are off.
"""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from typing import Any

from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.llm.keys import redact
from prefdisco.llm.limits import Fault, retried, retry_after
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.wire import Answer, read_answer, request_body

# litellm knows more; these are told from Hub ids without its import of several seconds.
PROVIDERS = (
    "anthropic", "azure", "azure_ai", "bedrock", "cerebras", "cohere", "cohere_chat", "dashscope", "databricks",
    "deepinfra", "deepseek", "fireworks_ai", "gemini", "github", "groq", "hosted_vllm", "huggingface",
    "litellm_proxy", "llamafile", "lm_studio", "mistral", "moonshot", "nvidia_nim", "ollama", "ollama_chat", "openai",
    "openrouter", "perplexity", "replicate", "sagemaker", "sambanova", "together_ai", "vertex_ai", "volcengine",
    "watsonx", "xai",
)  # fmt: skip
ADVICE = {
    401: "set the provider's key in the environment",
    403: "the provider's key may not use this model",
    404: "check the model's name with the provider",
}
# What strict schemas of the providers do not take; the answer is checked against the full schema anyway.
NOT_STRICT = ("default", "title", "examples", "minLength", "maxLength", "uniqueItems")


class Provider:
    """One model of a provider, by litellm's name for it."""

    def __init__(self, name: str, options: RemoteOptions) -> None:
        self.model, self.options = name, options
        self.litellm = library()
        # A base address from the environment is another endpoint, with answers of its own.
        prefix = name.partition("/")[0].upper()
        bases = (os.environ.get(f"{prefix}_{suffix}", "") for suffix in ("BASE_URL", "API_BASE"))
        self.endpoint = " ".join((name, *bases)).strip()
        if options.max_usd is not None and self.price(1_000_000, 1_000_000) is None:
            raise ModelError(f"model {name}: litellm knows no price for it, so max_usd cannot hold; do without max_usd")

    async def find(self) -> str:
        """The model's name; nothing is asked."""
        return self.model

    def body(self, model: str, conversation: Conversation, sampling: Sampling) -> dict[str, Any]:
        """The request, with a schema as providers take it, and without earlier thinking, which they leave out too."""
        body = request_body(model, conversation, sampling, think_tags=False)
        if conversation.schema is not None:
            body["response_format"]["json_schema"]["schema"] = strict_schema(conversation.schema)
        return body

    async def send(self, body: dict[str, Any], payload: bytes) -> Answer:
        """One attempt. Raises Fault."""
        try:
            async with asyncio.timeout(self.options.timeout_s):
                response = await self.litellm.acompletion(
                    **body, timeout=self.options.timeout_s, num_retries=0, max_retries=0, drop_params=True
                )
        except TimeoutError:
            raise Fault(f"no answer within {self.options.timeout_s:g} s") from None
        except Exception as error:  # litellm's own errors, its clients', and what a malformed response trips it with
            raise fault(error) from None
        answer = read_answer(plain(response), body["max_tokens"])
        return answer._replace(usd=self.cost(response, answer))

    def cost(self, response: Any, answer: Answer) -> float:
        """Dollars of one response; 0 where litellm knows no price, which `max_usd` rules out beforehand."""
        try:
            return float(self.litellm.completion_cost(completion_response=response, model=self.model))
        except Exception:  # one of many, for a model it does not know, or a response without a count of tokens
            return self.price(answer.prompt_tokens, answer.completion_tokens) or 0.0

    def price(self, read: int, written: int) -> float | None:
        """Dollars for so many tokens, or None where litellm does not know."""
        try:
            parts = self.litellm.cost_per_token(model=self.model, prompt_tokens=read, completion_tokens=written)
        except Exception:  # as above
            return None
        return float(sum(parts))


def library() -> Any:
    """litellm, silent and without anything fetched. Raises ModelError where it is not installed."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import fetches the table of prices
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # or its import reads a .env file
    try:
        import litellm
    except ImportError:
        raise ModelError("models of providers need litellm; install it with `pip install litellm`") from None
    # Of its response types, each time pydantic meets one of them for the first time.
    warnings.filterwarnings("ignore", message=r".*using the `ReadOnly` qualifier", category=UserWarning)
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.turn_off_message_logging = True
    litellm.num_retries = 0
    for hook in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, hook, [])
    for hook in ("_async_success_callback", "_async_failure_callback", "_async_input_callback"):
        setattr(litellm, hook, [])
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm


def plain(response: Any) -> dict[str, Any]:
    """The parts of litellm's response that are read, as JSON has them; its own dump warns on standard error."""
    choices = [
        {
            "message": {field: getattr(choice.message, field, None) for field in ("content", "reasoning_content")},
            "finish_reason": choice.finish_reason,
        }
        for choice in getattr(response, "choices", None) or []
    ]
    usage = getattr(response, "usage", None)
    return {
        "choices": choices,
        "usage": {field: getattr(usage, field, 0) for field in ("prompt_tokens", "completion_tokens")},
    }


def fault(error: Exception) -> Fault:
    """What litellm raised, as a Fault: by its HTTP status where it has one, else worth another attempt."""
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    what = redact(f"{type(error).__name__}: {error}")
    if not isinstance(status, int) or retried(status):
        return Fault(what, after=retry_after(headers.get("retry-after") or headers.get("Retry-After")), status=status)
    advice = ADVICE.get(status)
    return Fault(f"{what}; {advice}" if advice else what, again=False, status=status)


def strict_schema(schema: Any) -> Any:
    """A JSON schema as strict modes want it: every field required, no others, no annotations.

    What is left unsaid here (lengths, defaults) is still checked when the answer is read.
    """
    if isinstance(schema, list):
        return [strict_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):  # here keys are names, not keywords
            strict[key] = {name: strict_schema(inner) for name, inner in value.items()}
        elif key not in NOT_STRICT:
            strict[key] = value if key in ("enum", "const", "required") else strict_schema(value)
    if "properties" in strict:
        strict |= {"additionalProperties": False, "required": list(strict["properties"])}
    return strict
