"""Plain text made safe for Markdown, LaTeX and spreadsheets: nothing in it is markup, a command or a formula."""

from __future__ import annotations

import re
import unicodedata

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": r"$-$",
    "–": "--",
    "…": r"\ldots{}",
}
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute


def plain(text: str) -> str:
    """On one line, without control characters and without those that reorder or hide text."""
    return "".join(
        each for each in " ".join(text.split()) if unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Co")
    )


def markdown(text: str) -> str:
    """For Markdown: no link, no image, no HTML, no emphasis, and no end of a table's cell."""
    found = re.sub(r"([\\`*_\[\]|~])", r"\\\1", plain(text)).replace("&", "&amp;")
    return found.replace("<", "&lt;").replace(">", "&gt;")


def latex(text: str) -> str:
    """For LaTeX's text mode."""
    return "".join(LATEX.get(each, each) for each in plain(text))


def spreadsheet(text: str) -> str:
    """For a cell of a CSV file."""
    found = plain(text)
    return f"'{found}" if found.startswith(FORMULA) else found
