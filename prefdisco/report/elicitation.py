"""The tables of `prefdisco elicit`: a row a belief and policy, cells `mean ± half-width of the 95% interval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prefdisco.config import ElicitConfig
from prefdisco.report.cells import ABSENT, aligned, cell

Figures = Mapping[str, Any]
Place = tuple[str, float, int]  # figure, scale, decimals
Show = Callable[[Any, float, int], str]
Rows = list[list[str]]


def table(figures: Figures) -> str:
    """The main table as plain text for a terminal, without the intervals."""
    lines = aligned(_rows(figures, _main(figures), _mean))
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*lines, "", _ends(figures)])


def page(config: ElicitConfig, figures: Figures) -> str:
    """`report.md`: the main table, the predicted attributes, and the errors of predicted values by question."""
    train, test = figures["train"], figures["test"]
    left = f" ({train['left_out']} left out, of people who are in the test)" if train["left_out"] else ""
    return "\n\n".join(
        [
            "# Questions without a language model",
            f"Beliefs are learned from {train['scenarios']} scenarios of `{config.train}`{left}. In "
            f"{test['scenarios']} scenarios of `{config.test}`, {test['people']} people are interviewed: at most "
            f"{config.budget} questions each, at a cost of {config.cost} alignment points. ± is half of the 95% "
            "bootstrap interval, clustered by problem. *told*: a plan that assumes only what was revealed.",
            _markdown(_rows(figures, _main(figures), cell)),
            _ends(figures),
            "## Predicted attributes",
            "Precision, recall and F1 of the k attributes that most probably matter after the interview, in %; *open*: "
            "the same among the attributes that were not asked about.",
            _markdown(_rows(figures, _predicted(figures), _mean)),
            "## Predicted values",
            "By number of questions; *open*: of preferences that were not asked about. *Wrong*: share of names that "
            "are wrong, in %; *off*: mean distance of numbers on 1..5.",
            _markdown(_rows(figures, _values(figures), _mean)),
            "All figures with their intervals are in `elicitation.json`; docs/elicitation.md defines them.\n",
        ]
    )


def _main(figures: Figures) -> dict[str, Place]:
    size = max(figures["k"])
    return {
        "questions": ("questions", 1.0, 1),
        "revealing %": ("precision", 100.0, 1),
        "recall %": ("recall", 100.0, 1),
        f"F1@{size} %": (f"f1@{size}", 100.0, 1),
        "expected": ("expected_alignment", 1.0, 2),
        "alignment": ("alignment", 1.0, 2),
        "told": ("alignment_revealed", 1.0, 2),
        "share %": ("share", 100.0, 1),
        "told share %": ("share_revealed", 100.0, 1),
        "adaptive %": ("adaptivity", 100.0, 1),
    }


def _predicted(figures: Figures) -> dict[str, Place]:
    return {
        f"{title}@{size}{' open' if which else ''}": (f"{name}{which}@{size}", 100.0, 1)
        for which in ("", "_unasked")
        for size in figures["k"]
        for title, name in (("P", "precision"), ("R", "recall"), ("F1", "f1"))
    }


def _values(figures: Figures) -> dict[str, Place]:
    return {
        f"{title} {count}{' open' if which else ''}": (f"{name}{which}@{count}", scale, decimals)
        for title, name, scale, decimals in (("wrong", "wrong", 100.0, 1), ("off", "distance", 1.0, 2))
        for which in ("", "_unasked")
        for count in range(figures["budget"] + 1)
    }


def _rows(figures: Figures, columns: Mapping[str, Place], show: Show) -> Rows:
    """Header and one row a cell of `figures`; columns in which no row has a figure are left out."""
    cells = figures["cells"]
    made = {title: [show(row.get(name), scale, n) for row in cells] for title, (name, scale, n) in columns.items()}
    made = {title: column for title, column in made.items() if set(column) != {ABSENT}}
    names = [f"{row['belief']}, {row['policy']}" for row in cells]
    return [["belief, policy", *made], *map(list, zip(names, *made.values(), strict=True))]


def _mean(estimate: Any, scale: float, decimals: int) -> str:
    """A cell without its interval."""
    return cell(estimate, scale, decimals).partition(" ")[0]


def _ends(figures: Figures) -> str:
    """What the alignments lie between."""
    ceiling = figures["ceiling"]
    top = f"the exact ceiling reaches {cell(ceiling, 1.0, 2)}" if ceiling else "5 is perfect"
    return f"A plan that assumes nothing reaches an alignment of {cell(figures['generic'], 1.0, 2)}; {top}."


def _markdown(rows: Rows) -> str:
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
