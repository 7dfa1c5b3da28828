"""Two made-up runs whose every number is drawn, and the page that they make, open in a browser."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prefdisco.metrics import preference_alignment
from prefdisco.protocol import format_final, format_question
from prefdisco.report.sections import Section
from prefdisco.schema import Episode, Grade, Message, Question, Usage
from tests.browser import Complaints
from tests.hand_made import episode

CONDITIONS = ("baseline", "discovery", "oracle")
FAMILIES = {"order": "logic", "elimination": "logic", "circuits": "science"}
SIGNATURES = ("over-correction", "premature termination")
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 375, "height": 740}
SECTIONS = [
    Section("Conditions", "Means with `95%` intervals.", [["condition", "accuracy %"], ["baseline", "86.7 ± 11.7"]]),
    Section("Figure", svg='<svg xmlns="http://www.w3.org/2000/svg" width="900" height="90"><circle r="40"/></svg>'),
]


def played(
    number: int, condition: str, rng: random.Random, response: str = "The answer is 42.", thinking: str = "So 42."
) -> Episode:
    """One episode of problem `p{number}` with questions under discovery; failed with a chance of 1 in 12."""
    family = [*FAMILIES][number % len(FAMILIES)]
    weights = {"tone": 0.5, "format": 0.3, "units": 0.2}
    values = {"tone": "warm", "format": "bullets", "units": "metric"}
    asked = rng.sample([*weights, None, None], rng.randint(0, 4)) if condition == "discovery" else []
    messages = [Message(role="user", content=f"Task number {number}?")]
    if condition != "baseline":
        messages.insert(0, Message(role="system", content=f"These are the rules of {condition}."))
    for name in asked:
        question = Message(role="assistant", content=format_question(f"Which {name}?"), thinking="Hm.")
        messages += [question, Message(role="user", content=f"{values.get(name or '', 'Either')}.")]
    messages.append(Message(role="assistant", content=format_final(response), thinking=thinking))
    grades = tuple(Grade(attribute=name, score=rng.randint(1, 5), reason=f"saw {name}") for name in weights)
    failed = rng.random() < 1 / 12
    base = episode(f"p{number:03}", condition, 3.0, weights=weights, values=values, error="dead" if failed else None)
    return base.model_copy(
        update={
            "persona_id": f"person-{number}",
            "family": family,
            "domain": FAMILIES[family],
            "messages": tuple(messages),
            "response": response,
            "thinking": thinking,
            "questions": tuple(
                Question(text=f"Which {name}?", answer=f"{values.get(name or '', 'Either')}.", revealed=name)
                for name in asked
            ),
            "grades": () if failed else grades,
            "alignment": None if failed else preference_alignment(grades, weights),
            "correct": None if failed else rng.random() < 0.7,
            "usage": Usage(calls=1, prompt_tokens=rng.randint(1000, 3000), completion_tokens=rng.randint(10, 99)),
        }
    )


def made(count: int = 60) -> dict[str, list[Episode]]:
    rng = random.Random(7)
    return {run: [played(n, name, rng) for n in range(count) for name in CONDITIONS] for run in ("before", "after")}


def signed(runs: dict[str, list[Episode]]) -> dict[str, list[str]]:
    """Signatures of some discovery episodes."""
    rng = random.Random(8)
    return {
        f"{run}/{each.scenario_id}/{each.condition}/{each.seed}": rng.sample(SIGNATURES, rng.randint(0, 2))
        for run, episodes in runs.items()
        for each in episodes
        if each.condition == "discovery"
    }


class Opened(NamedTuple):
    """A page in a browser, the address that it was opened from, and what it complained about."""

    page: Any
    url: str
    complaints: list[str]

    def go(self, address: str = "#transcripts") -> None:
        """Open an address as if it had been pasted: the page is loaded anew."""
        self.page.goto("about:blank")
        self.page.goto(self.url + address)
        self.page.wait_for_selector("html[data-ready=search]")

    def count(self) -> str:
        return str(self.page.inner_text("#count"))

    def titles(self) -> list[str]:
        """Scenario ids of the rows in sight, in their order, with their runs."""
        return [str(row) for row in self.page.eval_on_selector_all(".row", "rows => rows.map(row => row.id)")]

    def choose(self, name: str, value: str) -> None:
        self.page.evaluate("open => { document.getElementById('panel').hidden = !open }", True)
        self.page.select_option(f"#filters [name={name}]", value)

    def columns(self) -> list[str]:
        """The conditions of the open unit."""
        self.page.wait_for_selector(".column", state="attached")
        return [
            str(name) for name in self.page.eval_on_selector_all(".column", "all => all.map(e => e.dataset.condition)")
        ]


@contextmanager
def opened(
    chromium: Any, path: Path, viewport: dict[str, int] | None = None, quiet: bool = True, **options: Any
) -> Iterator[Opened]:
    """The page at `path`, open at its transcripts. What it complains about fails the test, unless not `quiet`."""
    context = chromium.new_context(viewport=viewport or DESKTOP, **options)
    context.set_default_timeout(10_000)
    complaints = Complaints(context, path.as_uri())
    found = Opened(context.new_page(), path.as_uri(), complaints.found)
    try:
        found.go()
        yield found
        assert not quiet or complaints.found == []
    finally:
        context.close()


def by_unit(runs: dict[str, Sequence[Episode]]) -> dict[tuple[str, str], dict[str, Episode]]:
    """(run, scenario) -> condition -> episode, in the order of the page."""
    units: dict[tuple[str, str], dict[str, Episode]] = {}
    for run, episodes in runs.items():
        for each in episodes:
            units.setdefault((run, each.scenario_id), {})[each.condition] = each
    return units
