"""Sections as HTML in which nothing is alive: text is escaped, figures are images, which run no script."""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Sequence

from prefdisco.report.sections import Section

NUMBER = re.compile(r"[-−+±]?\d|[–-]?$")  # what a cell of figures begins with, or a dash
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (bidirectional, zero-width), surrogate, line, paragraph


def visible(text: str) -> str:
    """The text on one line, with every character that cannot be seen, or turns the direction, as its code point."""
    flat = re.sub(r"[\t\r\n]+", " ", text)
    return "".join(f"⟨U+{ord(each):04X}⟩" if unicodedata.category(each) in UNSEEN else each for each in flat)


def contents(sections: Sequence[Section]) -> str:
    """Links to the sections."""
    links = [
        f'<li><a href="#section-{number}">{html.escape(visible(section.title))}</a></li>'
        for number, section in enumerate(sections, 1)
    ]
    return f"<ol>{''.join(links)}</ol>" if links else "<p>This report has no tables.</p>"


def block(number: int, section: Section) -> str:
    """One section: heading, paragraphs, table, figure."""
    title = html.escape(visible(section.title))
    parts = [f'<section id="section-{number}"><h2 tabindex="-1">{title}</h2>']
    parts += [f"<p>{_prose(each)}</p>" for each in re.split(r"\n\s*\n", section.text) if each.strip()]
    if section.rows:
        parts.append(_table(title, section.rows))
    if section.svg:
        packed = base64.b64encode(section.svg.encode("utf-8", "replace")).decode()
        parts.append(f'<figure><img alt="Figure: {title}" src="data:image/svg+xml;base64,{packed}"></figure>')
    return "\n".join([*parts, "</section>"])


def _prose(text: str) -> str:
    """Escaped text; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(visible(text)))


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """A table in a frame that scrolls by itself; columns of figures are set to the right."""
    head, *body = rows
    figures = [
        column > 0 and all(NUMBER.match(row[column].strip()) for row in body if column < len(row))
        for column in range(max(map(len, rows)))
    ]
    names = "".join(f"<th scope='col'{_side(figures[n])}>{_prose(cell)}</th>" for n, cell in enumerate(head))
    lines = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_side(figures[n])}>{_prose(cell)}</td>" if n else f"<th scope='row'>{_prose(cell)}</th>"
            for n, cell in enumerate(row)
        )
        + "</tr>"
        for row in body
    )
    return (
        f'<div class="frame" tabindex="0" role="region" aria-label="Table: {title}"><table>'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _side(figures: bool) -> str:
    return " class='figure'" if figures else ""
