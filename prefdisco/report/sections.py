"""What a report is made of, whatever it is written as: Markdown, LaTeX or a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Section(NamedTuple):
    """A title, what it means in a sentence or two, and a table (first row: heads), a figure (SVG), both or neither."""

    title: str
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    svg: str = ""
