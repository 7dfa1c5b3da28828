"""Text of others, made fit to be stored or shown as it is."""

from __future__ import annotations

from prefdisco.llm.data import INVISIBLE


def plain(text: str, most: int | None = None) -> str:
    """Lines of text without control, direction and invisible characters (no escape sequence survives), cut to `most`.

    A tab becomes a space.
    """
    lines = (INVISIBLE.sub("", line.replace("\t", " ")).rstrip() for line in text[:most].splitlines())
    return "\n".join(lines).strip()
