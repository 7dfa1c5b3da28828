"""Writes docs/reference.md from the code: every command, script and configuration key, and what ships.

    python docs/make_reference.py            # or: make reference
    python docs/make_reference.py --check    # exit code 1, and one line, where the file on disk is another

What a command takes is found by asking it for --help, so a new command or key is here without a change of this file.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prefdisco import cli
from prefdisco.complaints import expected
from prefdisco.conditions import FIELDS, MAY_ASK, parse_condition
from prefdisco.config import PretrainRecipe, Recipe, RLRecipe, SFTRecipe, load, recipes
from prefdisco.loading import Config, Named
from prefdisco.suites import Suite
from prefdisco.tasks.registry import TASKS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference.md"
HUB = "https://huggingface.co/datasets"
SCRIPTS = ("train/sft.py", "train/rl.py", "train/pretrain.py", "eval/run.py")
KINDS: dict[str, type[Recipe]] = {"sft": SFTRecipe, "rl": RLRecipe, "pretrain": PretrainRecipe}
SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"), ("min_length", "length ≥"), ("max_length", "length ≤"))
HEAD = """# Reference

<!-- Written by docs/make_reference.py: `make reference`. Do not edit: a test compares it with the code. -->

Every command, every configuration key, and what ships. A key is given as a word `key=value` on the command line, in a
recipe as YAML; `--help` of each command lists the same keys. How words and files become a configuration:
[recipes.md](recipes.md). Words for ideas: [concepts.md](concepts.md).
"""
# What the code says elsewhere than in the key's description.
TRAINER = (
    "the field names of the class that takes them: `trl.SFTConfig` (sft), `trl.GRPOConfig` or, with objective=tpo, "
    "`trl.DPOConfig` (rl), `transformers.TrainingArguments` (pretrain)"
)


class Described(Exception):
    """What a command asks `configure` for: the class of its configuration, and its usage."""


def described(command: Callable[[], object]) -> tuple[type[Config] | None, str]:
    """(what a command is configured by, its usage): what it does when it is called with --help."""

    def stop(model_class: type[Config], argv: Sequence[str], usage: str) -> None:
        raise Described(model_class, usage)

    printed = io.StringIO()
    try:
        with patch.object(cli, "configure", stop), contextlib.redirect_stdout(printed):
            command()
    except Described as found:
        return found.args
    return None, printed.getvalue().strip()


def of_script(path: str, *words: str) -> tuple[type[Config] | None, str]:
    """The same of a script of the checkout."""
    with patch.object(sys, "argv", [path, *words, "--help"]):
        return described(lambda: runpy.run_path(str(ROOT / path), run_name="__main__"))


def cell(text: str) -> str:
    """Text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def value(given: object) -> str:
    """A default as one would write it."""
    if given is None or isinstance(given, bool):
        return "`null`" if given is None else f"`{str(given).lower()}`"
    if isinstance(given, list | tuple):
        return f"`[{', '.join(map(str, given))}]`"
    return f"`{given}`" if given != "" else "none"


def constraint(field: FieldInfo) -> str:
    """Bounds of a key's value in signs."""
    found = [(sign, getattr(each, name, None)) for each in field.metadata for name, sign in SIGNS]
    bounds = [f"{sign} {bound:g}" for sign, bound in found if bound is not None]
    patterns = [each.pattern for each in field.metadata if getattr(each, "pattern", None)]
    return ", ".join([*bounds, *(f"`{pattern}`" for pattern in patterns)])


def row(key: str, field: FieldInfo, named: bool) -> list[str]:
    """A key's line; `named` is the configuration that takes its name from a file."""
    default = "required" if field.is_required() else value(field.default)
    if key == "name" and named:
        default = "the file's"
    kind = ", ".join(part for part in (expected(field.annotation), constraint(field)) if part)
    return [f"`{key}`", cell(kind), cell(default), cell(TRAINER if key == "trainer" else field.description or "")]


def sections(model_class: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """(prefix, class) of a configuration and of the sections within it."""
    yield prefix, model_class
    for name, field in model_class.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation, f"{prefix}{name}.")


def keys(model_class: type[BaseModel], shown: dict[type[BaseModel], str], where: str) -> Iterator[str]:
    """The tables of a configuration. A section that `shown` has already is named, not repeated."""
    known = []
    for prefix, section in sections(model_class):
        if section in shown:
            known.append(f"`{prefix}*` as for [{shown[section]}](#{anchor(shown[section])})")
            continue
        if prefix:
            shown[section] = where
        about = (section.__doc__ or "").strip().partition("\n\n")[0]
        own = {
            f"{prefix}{name}": field
            for name, field in section.model_fields.items()
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
        }
        if prefix:
            yield f"Section `{prefix[:-1]}`" + (f": {' '.join(about.split())}" if about else "")
            yield ""
        yield from table(
            ["key", "type", "default", "meaning"], [row(*each, issubclass(model_class, Named)) for each in own.items()]
        )
    if known:
        yield "Further sections: " + "; ".join(dict.fromkeys(known)) + "."
        yield ""


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def command(title: str, found: tuple[type[Config] | None, str], shown: dict[type[BaseModel], str]) -> Iterator[str]:
    """The section of a command."""
    model_class, usage = found
    yield from [f"### {title}", "", "```text", usage, "```", ""]
    if model_class is not None:
        yield from keys(model_class, shown, title)


def conditions() -> Iterator[str]:
    """Every condition with its prompt."""
    yield from ["## Conditions", ""]
    yield "Also `FILE.txt`, a prompt of your own ([extend.md](extend.md#a-condition)). What they are for:"
    yield from ["[evaluation.md](evaluation.md#conditions).", ""]
    rows = []
    for name in [*MAY_ASK, "fixed(3)"]:
        condition = parse_condition(name)
        told = [field for field in FIELDS if f"{{{field}}}" in (condition.template or "")]
        asks = "as often as the number says" if condition.exactly else "up to the budget" if condition.may_ask else "no"
        rows.append(
            [f"`{name.replace('3', 'k')}`", asks, ", ".join(told) or "nothing", cell(condition.template or "none")]
        )
    yield from table(["condition", "may ask", "told", "prompt"], rows)


def shipped() -> Iterator[str]:
    """Recipes, parts of recipes, suites, tasks."""
    yield from ["## Recipes", ""]
    rows = [
        [f"`{name}`", f"`train/{kind}.py`", cell(about)]
        for kind, model_class in KINDS.items()
        for name, about in recipes(model_class, ROOT / Recipe.folder).items()
    ]
    yield from table(["recipe", "script", "what it is"], rows)
    yield f"Parts of a recipe, for `config=FILE`: {files('configs/model')}."
    yield f"For `accelerate launch --config_file FILE`: {files('configs/accelerate')}."
    yield from ["", "## Suites", "", "`python eval/run.py suite=NAME`", ""]
    yield from table(["suite", "what it is", "seeds", "runs", "evaluations"], [*map(suite, listed(Suite))])
    yield from ["## Tasks", ""]
    rows = [
        [f"`{each.name}`", f"[{each.hub}]({HUB}/{each.hub})", each.split, each.domain, each.checker or "by the answer"]
        for each in TASKS.values()
    ]
    yield from table(["task", "data set", "split", "domain", "checker"], rows)


def files(folder: str) -> str:
    """The YAML files of a folder, as one writes their paths."""
    return ", ".join(f"`{path.relative_to(ROOT).as_posix()}`" for path in sorted((ROOT / folder).glob("*.yaml")))


def listed(model_class: type[Named]) -> list[str]:
    """The names of the files that ship."""
    return list(recipes(model_class, ROOT / model_class.folder))


def suite(name: str) -> list[str]:
    """A suite's line."""
    found = load(Suite, [f"suite={name}"], ROOT / Suite.folder)
    runs, played = [*found.train, *found.models], [*found.evaluations]
    named = [", ".join(f"`{each}`" for each in names) or "–" for names in (runs, played)]
    return [f"`{name}`", cell(found.description), value(found.seeds), *named]


def reference() -> str:
    """The whole page."""
    shown: dict[type[BaseModel], str] = {}
    lines = [HEAD, "## Scripts", ""]
    for path in SCRIPTS:
        words = ["suite=recipes"] if path == "eval/run.py" else []
        lines += command(f"{path}", of_script(path, *words), shown)
    lines[lines.index("### eval/run.py") + 1] = (
        "\nWithout `suite=`, the same as [prefdisco evaluate](#prefdisco-evaluate).\n"
    )
    lines += ["## Commands", "", "```text", cli.USAGE, "```", ""]
    for name, function in cli.COMMANDS.items():
        lines += command(f"prefdisco {name}", described(partial(function, ["--help"])), shown)
    lines += [*conditions(), *shipped()]
    return "\n".join(lines).rstrip() + "\n"


def main(argv: Sequence[str]) -> int:
    """Write the page, or with --check compare it."""
    made = reference()
    if "--check" not in argv:
        PAGE.write_text(made, encoding="utf-8")
        print(PAGE)
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    print(f"{PAGE.relative_to(ROOT)}: is not what the code says; run `make reference`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
