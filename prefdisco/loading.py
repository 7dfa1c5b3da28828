"""How a configuration is made: YAML files merged with `key=value` words (OmegaConf), then validated (pydantic).

Every error is one line that says where the key was written (file or command line), and what to write instead.
This module knows no particular configuration; prefdisco.config holds those.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from yaml import YAMLError

from prefdisco.complaints import COMMAND_LINE, Layers, expected, explain, fits, keys_of, nearest, origin, short

PARTS = "configs/model"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line: where, which key, what to write instead."""


class Section(BaseModel):
    """Base of every part of a configuration: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Config(Section):
    """Base of what `load` returns; it remembers which files, if any, and which words it was made of."""

    _file: str | None = PrivateAttr(default=None)
    _layers: Layers = PrivateAttr(default=())

    def where(self, key: str) -> str:
        """Where the dotted `key` was written: the recipe file, a file that was merged with it, or the command line."""
        return origin(key.split("."), self._file, self._layers)

    def to_yaml(self) -> str:
        """Everything, defaults included, as YAML; that of a recipe can be loaded again with `recipe=PATH`."""
        return OmegaConf.to_yaml(OmegaConf.create(self.model_dump(mode="json")))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every dotted key that has a default, and it."""
        return {key: field.default for key, field in keys_of(cls).items() if not field.is_required()}


class Named(Config):
    """Base of the configurations that live in files, chosen with the word `NOUN=NAME`."""

    noun: ClassVar[str]
    folder: ClassVar[str]

    kind: str = Field(description="what the file is for")
    name: str = Field(min_length=1, description="defaults to the name of the file")
    description: str = Field(default="", description="one line, shown by --help")
    run: str = Field(default="", description="run folder; defaults to runs/<name>")

    @model_validator(mode="before")
    @classmethod
    def _name_the_run(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("run") and values.get("name"):
            return {**values, "run": f"runs/{values['name']}"}
        return values


class Recipe(Named):
    """Base of the configurations in `recipes/`, one experiment a file."""

    noun: ClassVar[str] = "recipe"
    folder: ClassVar[str] = "recipes"

    kind: str = Field(description="what the recipe is for")
    seed: int = Field(default=0, description="seed of data, initialization and order")
    trainer: dict[str, Any] = Field(default={}, description="arguments of the trainer, under its own field names")


C = TypeVar("C", bound=Config)


def parse_words(argv: Sequence[str]) -> tuple[list[str], bool, bool]:
    """Split a command line into (`key=value` words, --dry-run given, --help given); ConfigError for other options."""
    words = [word for word in argv if not word.startswith("-")]
    options = {word for word in argv if word.startswith("-")}
    if unknown := sorted(options - {"--dry-run", "--help", "-h"}):
        raise ConfigError(
            f"{COMMAND_LINE}: unknown option {unknown[0]}; options are --dry-run and --help, all else is key=value"
        )
    return words, "--dry-run" in options, bool(options & {"--help", "-h"})


def load(model_class: type[C], words: Sequence[str], folder: str | Path | None = None) -> C:
    """The file that the word `recipe=NAME` (or a path) chooses, merged with the other words and validated.

    Words `config=FILE` name parts of a recipe, as configs/model/qwen3-4b.yaml: they are merged in order, over the
    recipe and under all other words. Classes without files, as EvaluateConfig, are made of words alone. Raises
    ConfigError.
    """
    for word in words:
        if not word.partition("=")[0] or "=" not in word:
            raise ConfigError(f"{COMMAND_LINE}: expected key=value, got {word!r}")
    path: Path | None = None
    base: dict[str, Any] = {}
    layers: list[tuple[str, dict[str, Any]]] = []
    if issubclass(model_class, Recipe):
        parts = [word.removeprefix("config=") for word in words if word.startswith("config=")]
        words = [word for word in words if not word.startswith("config=")]
        layers = [(str(part), _read(part)) for part in map(find_part, parts)]
    if issubclass(model_class, Named):
        chooser = f"{model_class.noun}="
        named = [word.removeprefix(chooser) for word in words if word.startswith(chooser)]
        words = [word for word in words if not word.startswith(chooser)]
        path = find_recipe(model_class, named[-1] if named else "", folder)
        base = {"name": path.stem, **_inherited(path)}
        if base.get("kind", _kind(model_class)) != _kind(model_class):
            raise ConfigError(
                f"{path}: is a recipe of kind {base['kind']!r}: run train/{base['kind']}.py recipe={path.stem}"
            )
    tree, written = _merge(base, layers, words)
    layers.append((COMMAND_LINE, written))
    file = str(path) if path else None
    try:
        config = model_class.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, model_class, tree, file, layers)) from None
    config._file, config._layers = file, layers
    return config


def kind_of(name: str) -> str:
    """What the recipe of this name or path is for, which is also the script that takes it. Raises ConfigError."""
    return str(_inherited(find_recipe(Recipe, name)).get("kind", "sft"))


def find_part(name: str) -> Path:
    """The file of a `config=FILE` word, below the working directory or the checkout; ConfigError lists the shipped."""
    for path in (Path(name), Path(__file__).parent.parent / name):
        if path.is_file():
            return path
    shipped = [f"{PARTS}/{path.name}" for path in sorted(_folder(PARTS).glob("*.yaml"))]
    known = f"; there are {', '.join(shipped)}" if shipped else ""
    raise ConfigError(f"{COMMAND_LINE}: config={name}: no such file{known}")


def find_recipe(model_class: type[Named], name: str, folder: str | Path | None = None) -> Path:
    """The file of a recipe given by name or path; ConfigError lists the recipes and names the nearest."""
    noun, folder = model_class.noun, folder or model_class.folder
    if name.endswith((".yaml", ".yml")) or len(Path(name).parts) > 1:
        if not Path(name).is_file():
            raise ConfigError(f"{COMMAND_LINE}: {noun}={name}: no such file")
        return Path(name)
    if name and (path := _folder(folder) / f"{name}.yaml").is_file():
        return path
    names = list(recipes(model_class, folder))
    known = f"{noun}s are {', '.join(names)}" if names else f"there are no {noun}s of this kind in {_folder(folder)}"
    if not name:
        raise ConfigError(f"{COMMAND_LINE}: choose a {noun} with {noun}=NAME; {known}")
    guess = "".join(f"; did you mean {match}?" for match in get_close_matches(name, names, n=1, cutoff=0))
    raise ConfigError(f"{COMMAND_LINE}: no {noun} {name!r}; {known}{guess}")


def recipes(model_class: type[Named], folder: str | Path | None = None) -> dict[str, str]:
    """The recipes of a kind: name -> the first line of its description. A file without `kind:` is listed under each."""
    found: dict[str, str] = {}
    for path in sorted(_folder(folder or model_class.folder).glob("*.yaml")):
        try:
            content = _inherited(path)
        except ConfigError as error:  # --help must work when one recipe is broken, and show which
            found[path.stem] = f"({error})"
            continue
        if content.get("kind", _kind(model_class)) == _kind(model_class):
            found[path.stem] = str(content.get("description") or "").partition("\n")[0]
    return found


def check_trainer(
    section: dict[str, Any],
    config_class: type,
    where: Callable[[str], str] = lambda key: "recipe",
    name: str = "trainer",
) -> None:
    """Check a free section against the dataclass that will take it: trl.SFTConfig, peft.LoraConfig, LlamaConfig.

    `where` says where a dotted key was written: pass `recipe.where`. Names are always checked, types where the
    annotation can be evaluated. Raises ConfigError.
    """
    fields = [field.name for field in dataclasses.fields(config_class) if field.init]
    try:
        hints = typing.get_type_hints(config_class)
    except NameError:  # LlamaConfig's annotations name modules that it imports for type checkers only
        hints = {}
    for key, value in section.items():
        place = f"{where(f'{name}.{key}')}: "
        if key not in fields:
            guess = f"{name}.{nearest(key, fields)}"
            raise ConfigError(f"{place}unknown key {name}.{key} ({config_class.__name__}); did you mean {guess}?")
        if key in hints and not fits(value, hints[key]):
            raise ConfigError(f"{place}{name}.{key}={short(value)}: expected {expected(hints[key])}")


def help_text(model_class: type[Config], usage: str, folder: str | Path | None = None) -> str:
    """What --help prints: usage, the recipes, and every key with its meaning and default."""
    lines = [
        usage,
        "",
        "  --dry-run  print the resolved configuration and exit",
        "  --help     print this and exit",
        "",
    ]
    if issubclass(model_class, Recipe):
        lines[2:2] = ["  config=FILE  merge a part of a recipe over it, e.g. one of configs/model/; may be repeated"]
    if issubclass(model_class, Named):
        lines += [f"{model_class.noun}s:", *_columns(recipes(model_class, folder)), ""]
    about = {}
    for key, field in sorted(keys_of(model_class).items(), key=lambda item: not item[1].is_required()):
        default = "required" if field.is_required() else short(field.default)
        about[key] = f"{field.description} [{default}]"
    return "\n".join([*lines, "keys:", *_columns(about)])


def _columns(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [f"  {left:<{width}}  {right}" for left, right in rows.items()]


def _kind(model_class: type[Config]) -> str:
    return str(model_class.model_fields["kind"].default)


def _folder(folder: str | Path) -> Path:
    """`folder` below the working directory, else below the checkout that this package is installed from."""
    here, checkout = Path(folder), Path(__file__).parent.parent / folder
    return here if here.is_dir() or not checkout.is_dir() else checkout


def _read(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror or error}") from None
    except (OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {_one_line(error)}") from None
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        if mark is None and not isinstance(error, YAMLError):
            raise
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected lines of the form `key: value`")
    return typing.cast(dict[str, Any], content)


def _inherited(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's content over that of the one which its `extends` names, beside it or shipped, and so on."""
    content = _read(path)
    if "extends" not in content:
        return content
    parent = path.with_name(f"{content.pop('extends')}.yaml")
    if not parent.is_file() and (shipped := _folder(Recipe.folder) / parent.name).is_file():
        parent = shipped
    if parent in (*seen, path):
        raise ConfigError(f"{path}: extends: {parent.stem} extends it in turn")
    if not parent.is_file():
        raise ConfigError(f"{path}: extends: there is no {parent}")
    merged = OmegaConf.to_container(OmegaConf.merge(_inherited(parent, (*seen, path)), content))
    return typing.cast(dict[str, Any], merged)


def _merge(
    base: dict[str, Any], layers: Sequence[tuple[str, dict[str, Any]]], words: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(`base` with layers and words laid over it, interpolations resolved; the words alone), both nested."""
    for word in words:
        try:
            OmegaConf.to_container(OmegaConf.from_dotlist([word]))
        except Exception as error:  # the parsers' errors share no base class; the word is what is wrong
            raise ConfigError(f"{COMMAND_LINE}: cannot read {word!r}: {_one_line(error)}") from None
    over = OmegaConf.from_dotlist(list(words))
    try:
        trees = [OmegaConf.create(tree) for tree in (base, *(tree for _, tree in layers))]
        merged = OmegaConf.to_container(OmegaConf.merge(*trees, over), resolve=True)
    except OmegaConfBaseException as error:
        written = " ".join([*(f"config={name}" for name, _ in layers), *words])
        raise ConfigError(f"{COMMAND_LINE}: cannot merge {written} with the recipe: {_one_line(error)}") from None
    return typing.cast(dict[str, Any], merged), typing.cast(dict[str, Any], OmegaConf.to_container(over))


def _one_line(error: Exception) -> str:
    """The message of an error of OmegaConf or YAML: the latter's `problem`, else the first line."""
    return str(getattr(error, "problem", None) or str(error).partition("\n")[0])
