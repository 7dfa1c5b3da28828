"""What a report is made of, whatever it is written as: Markdown, CSV, LaTeX or a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Section(NamedTuple):
    """A title, what it means in a sentence or two, and a table (first row: heads), a figure (SVG), both or neither.

    All text is plain: whoever writes it as something else escapes it. `name` is what its files are called. `numbers` is
    the whole table for machines: unrounded, intervals in columns of their own, and rows that `rows` leaves out.
    """

    title: str
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    svg: str = ""
    name: str = ""
    numbers: Sequence[Sequence[str | int | float | None]] = ()
