"""The report as one HTML file: sections (tables and figures), and a viewer of transcripts. It asks for nothing outside.

Everything is in the file: style and script (the files of STYLES and SCRIPTS beside this module, joined in that order),
and the episodes, deflated. Nothing that a model wrote can act: episodes are base64 until the script reads them,
the script writes them as text nodes only, tables are escaped, figures are images, and the content security policy
allows no other script than this one, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from prefdisco.files import atomic_write
from prefdisco.report.page.embedding import embed
from prefdisco.report.page.markup import block, contents, visible
from prefdisco.report.sections import Section
from prefdisco.schema import Episode, Scenario

STYLES = ("base.css", "results.css", "viewer.css", "transcript.css")
SCRIPTS = ("data.js", "text.js", "address.js", "selection.js", "list.js", "profile.js", "transcript.js", "viewer.js",
           "controls.js", "main.js")  # fmt: skip


def write_page(
    path: str | Path,
    runs: Mapping[str, Sequence[Episode]],
    sections: Sequence[Section] = (),
    signatures: Mapping[str, Sequence[str]] | None = None,
    scenarios: Iterable[Scenario] = (),
    title: str = "prefdisco report",
) -> Path:
    """Write the page of these runs to `path`, whole or not at all; returns the path. RunError where it cannot.

    `signatures` names the failure signatures of an episode by `"{run}/{scenario_id}/{condition}/{seed}"`. With
    `scenarios`, the viewer also shows task, person, right answer and what the preferences mean.
    """
    path = Path(path)
    atomic_write(path, page(runs, sections, signatures, scenarios, title))
    return path


def page(
    runs: Mapping[str, Sequence[Episode]],
    sections: Sequence[Section] = (),
    signatures: Mapping[str, Sequence[str]] | None = None,
    scenarios: Iterable[Scenario] = (),
    title: str = "prefdisco report",
) -> str:
    """The content of the file that `write_page` writes."""
    style, script = (_joined(names) for names in (STYLES, SCRIPTS))
    embedded = embed(runs, signatures or {}, scenarios)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    episodes = sum(map(len, runs.values()))
    parts = {
        "policy": policy,
        "title": html.escape(visible(title)),
        "about": html.escape(visible(f"{episodes:,} episode{'' if episodes == 1 else 's'} of {', '.join(runs)}"))
        if runs
        else "no episodes",
        "style": style,
        "script": script,
        "contents": contents(sections),
        "sections": "\n".join(block(number, section) for number, section in enumerate(sections, 1)),
        "data": "\n".join(
            f'<script type="text/plain" id="{name}">{packed}</script>' for name, packed in embedded.items()
        ),
    }
    # One pass, so that nothing in a part is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _asset("template.html"))


def _joined(names: Iterable[str]) -> str:
    return "\n" + "\n".join(_asset(name) for name in names)


def _asset(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash of an inline script or style, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
