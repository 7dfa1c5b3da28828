"""Stable names and seeds: the same parts give the same result in every process, on every machine."""

from __future__ import annotations

import hashlib


def digest(*parts: object, length: int = 10) -> str:
    """Hexadecimal name of `parts` (bytes as they are, all else as text), `length` characters long."""
    raw = (part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return hashlib.blake2b(b"\x1f".join(raw), digest_size=16).hexdigest()[:length]


def stable_seed(*parts: object) -> int:
    """A seed in 0..2**32-1 made of `parts`."""
    return int(digest(*parts, length=8), 16)
