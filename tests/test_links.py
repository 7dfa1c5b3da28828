"""Every relative link of README.md and docs/ leads somewhere, and the index leads to every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import FENCE, ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"(?<!\\)!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]*(?:\([^()]*\))?[^()\s]*)\)")
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6} (.+?)#*$", re.MULTILINE)
ANYWHERE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)  # http:, mailto:


def links(page: Path) -> list[str]:
    text = CODE.sub(lambda match: "x" * len(match[0]), FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in LINK.findall(text) if not ANYWHERE.match(target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings: letters, digits, - and _; equal ones are numbered."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[name] = found.get(name, 0) + 1
    return {name if number == 0 else f"{name}-{number}" for name, count in found.items() for number in range(count)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        exists = there.is_relative_to(ROOT.resolve()) and there.exists()
        if not exists or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            broken.append(target)
    assert broken == [], f"{page.relative_to(ROOT)}: links that lead nowhere"


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert [page.name for page in PAGES if page != index and page.resolve() not in named] == []


def test_links_and_anchors_are_read_as_github_reads_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# What it *does* (yet)\n## a_b\n## a_b\n```sh\n# no heading [x](no.md)\n```\n`[y](no.md)` [z](other.md#a) "
        "[![pic](pic.png)](other.md) [away](https://example.org)\n"
    )
    assert anchors(page) == {"what-it-does-yet", "a_b", "a_b-1"}
    assert {"other.md#a", "other.md"} <= set(links(page)) and "no.md" not in links(page)
