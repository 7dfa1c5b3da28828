"""The words for what is wrong with a configuration: where it was written, the nearest valid key, the expected type."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

COMMAND_LINE = "command line"
Layers = Sequence[tuple[str, dict[str, Any]]]  # (name, tree) of what is laid over a file, the last on top


def origin(key: Sequence[str], file: str | None, layers: Layers) -> str:
    """The last layer that holds the key, or gave the section it is in whole; else the recipe file."""
    return next((name for name, tree in reversed(layers) if _holds(tree, key)), file or COMMAND_LINE)


def _holds(tree: Any, key: Sequence[str]) -> bool:
    for part in key:
        if not isinstance(tree, dict):
            break
        if part not in tree:
            return False
        tree = tree[part]
    return True


def keys_of(model_class: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Every dotted key that can be set, sections unfolded."""
    keys: dict[str, FieldInfo] = {}
    for name, field in model_class.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= keys_of(field.annotation, f"{prefix}{name}.")
        else:
            keys[prefix + name] = field
    return keys


def nearest(wrong: str, keys: Iterable[str]) -> str:
    """The key most like `wrong`; its last part counts as much as the whole, so that a missing section does no harm."""

    def likeness(key: str) -> float:
        whole = SequenceMatcher(None, key, wrong).ratio()
        return whole + SequenceMatcher(None, key.rpartition(".")[2], wrong.rpartition(".")[2]).ratio()

    return max(keys, key=likeness)


def explain(
    error: ValidationError, model_class: type[BaseModel], tree: dict[str, Any], file: str | None, layers: Layers
) -> str:
    """One line for the first thing that is wrong; unknown keys come first, since they explain missing ones."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    parts: list[str] = []
    annotation: Any = model_class
    value: Any = tree
    for part in first["loc"]:  # as far as there are models; what is inside a list or a dictionary is shown whole
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        parts.append(str(part))
        field = annotation.model_fields.get(str(part))
        annotation = field.annotation if field else None
        value = value.get(part) if isinstance(value, dict) else None
    key, place = ".".join(parts), origin(parts, file, layers)
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown key {key}; did you mean {nearest(key, _with_sections(keys_of(model_class)))}?"
    if first["type"] == "missing":
        return f"{place}: {key} is missing; give {key}=... ({keys_of(model_class)[key].description})"
    if first["type"].endswith(("_type", "_parsing", "_error", "_float")) and first["type"] != "value_error":
        return f"{place}: {key}={short(value)}: expected {expected(annotation)}"
    return f"{place}: {key}={short(value)}: {first['msg'].replace('Input should', 'should')}"


def _with_sections(keys: Iterable[str]) -> list[str]:
    """The keys and, after them, the sections that hold them."""
    keys = list(keys)
    return keys + [".".join(parts[:n]) for parts in (key.split(".") for key in keys) for n in range(1, len(parts))]


def expected(annotation: Any) -> str:
    """An annotation in words: `int`, `one of exact, random`, `list of str`, `a section with ...`."""
    source, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "null"
    if source is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if source is typing.Annotated:  # by its own words, where it has some
        named = [each.description for each in arguments[1:] if getattr(each, "description", None)]
        return named[0] if named else expected(arguments[0])
    if source in (types.UnionType, typing.Union):
        return " or ".join(expected(each) for each in arguments)
    if source is dict or annotation is dict:
        return "a section (key: value)"
    if source in (list, tuple) and arguments:
        return f"list of {expected(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with {', '.join(annotation.model_fields)}"
    return getattr(annotation, "__name__", str(annotation))


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value from a YAML file can stand where `annotation` is asked for; true for annotations beyond pydantic.

    Neither text nor a truth value is taken for a number; an int is taken for a float, a list for a tuple.
    """
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        return True
    try:
        adapter.validate_python(value, strict=True)
        return True
    except ValidationError:
        pass
    try:
        converted = adapter.validate_python(value)
    except ValidationError:
        return False
    return isinstance(converted, Enum) or not isinstance(value, str | bool)


def short(value: Any) -> str:
    """A value as one would write it on a command line, at most 60 characters."""
    if value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(short, value))}]"
    else:
        text = str(value) if value != "" else "''"
    return text if len(text) <= 60 else text[:57] + "..."
