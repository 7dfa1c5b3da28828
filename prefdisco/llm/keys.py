"""API keys: read from the environment, and taken out of every text that might repeat one.

A provider's error can quote the key it refused, and a proxy can echo the headers it was sent. So every error text goes
through `redact`, and every answer through `conceal`, before anything else sees it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

from prefdisco.llm.base import ModelError

SERVER_KEY = "PREFDISCO_SERVER_KEY"
HIDDEN = "[key]"
LONGEST = 300  # characters of an error text

HOLDS_KEY = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(_ID)?$", re.IGNORECASE)
LOOKS_LIKE_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai)-[\w*.-]{6,}|\b(?:gsk|hf)_\w{8,}|\bAIza[\w-]{10,}|\bBearer\s+\S+|(?<=://)[^/\s@]+@"
)


def server_key() -> str | None:
    """The key for OpenAI-compatible servers, or None. Raises ModelError where it cannot be one, without showing it."""
    key = os.environ.get(SERVER_KEY, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(f"{SERVER_KEY}: holds a space, a line break or a letter that no key has; set it to the key")
    return key or None


def secrets() -> list[str]:
    """The values of the environment's keys, longest first, also as JSON writes them."""
    found: set[str] = set()
    for name, value in os.environ.items():
        shortest = 4 if name == SERVER_KEY or name.endswith("_API_KEY") else 8
        if HOLDS_KEY.search(name) and len(value.strip()) >= shortest:
            found |= {value.strip(), json.dumps(value.strip())[1:-1]}
    return sorted(found, key=len, reverse=True)


def redact(text: str) -> str:
    """An error text as one short line without keys: those of the environment, and whatever looks like one."""
    for secret in secrets():
        text = text.replace(secret, HIDDEN)
    line = " ".join(LOOKS_LIKE_KEY.sub(HIDDEN, text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."


def concealer() -> Callable[[str], str]:
    """A cheap function that takes the keys of the present environment, and nothing else, out of a model's answer."""
    hidden = secrets()

    def conceal(text: str) -> str:
        for secret in hidden:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    return conceal
