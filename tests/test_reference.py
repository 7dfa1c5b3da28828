"""docs/reference.md is what the code says, and says all that a user can write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ROOT, execute

from docs import make_reference
from docs.make_reference import PAGE, SCRIPTS, main, reference
from prefdisco import cli
from prefdisco.conditions import MAY_ASK

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says() -> None:
    assert reference() == TEXT, "docs/reference.md is out of date: run `make reference` and commit the page"


def test_a_page_that_is_not_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 0
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(make_reference, "ROOT", tmp_path)
    monkeypatch.setattr(make_reference, "PAGE", tmp_path / "docs" / "reference.md")
    monkeypatch.setattr(make_reference, "reference", lambda: TEXT)
    (tmp_path / "docs" / "reference.md").write_text(TEXT.replace("scenarios", "scenario", 1))
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/reference.md: is not what the code says; run `make reference`\n"
    assert main([]) == 0 and main(["--check"]) == 0


@pytest.mark.parametrize("command", [*SCRIPTS, *(f"prefdisco {name}" for name in cli.COMMANDS)])
def test_every_key_that_help_lists_is_on_the_page(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command.split(), *(["suite=recipes"] if command == "eval/run.py" else []), "--help"]
    try:
        execute(words, monkeypatch)
    except SystemExit as end:
        assert not end.code
    shown = capsys.readouterr().out
    keys = re.findall(r"^  (\S+)  ", shown.partition("\nkeys:\n")[2], re.MULTILINE)
    assert bool(keys) == ("\nkeys:\n" in shown)
    assert [key for key in keys if f"| `{key}` |" not in TEXT] == []
    assert f"### {command}\n" in TEXT and shown.splitlines()[0] in TEXT


def test_everything_that_ships_is_on_the_page() -> None:
    shipped = [path.stem for folder in ("recipes", "eval") for path in (ROOT / folder).glob("*.yaml")]
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("*/*.yaml")]
    assert len(shipped) > 10 and [name for name in [*shipped, *files, *MAY_ASK] if f"`{name}`" not in TEXT] == []
