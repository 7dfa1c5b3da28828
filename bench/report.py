"""A report of 10,000 episodes: seconds to sum up one run of four, to write it and to open it in headless Chromium,
milliseconds to filter and search. The bounds: open in 2 s, filter and search in 200 ms.

    python bench/report.py [--quick] [--episodes 10000] [--repeat 5] [--keep FOLDER]

Two kinds of made-up runs, four runs each: "short" texts as Pocket's are (some 30 words a turn), and "long" ones as
large models write them (some 250 words of thinking and 250 of response). Words are drawn by rank as in a natural
language, so that they compress about as well.

"opens" is from the start of the navigation until the list of transcripts is painted; "searchable" until all texts can
be searched, which goes on behind the list. Filtering and searching are timed in the page, from the input until the new
list is painted, at least two frames (33 ms). Medians, and the slowest in brackets. Needs Playwright and Chromium
(CHROMIUM=PATH, or on the PATH).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from prefdisco.metrics import preference_alignment, summarize
from prefdisco.protocol import format_final, format_question
from prefdisco.report.page import write_page
from prefdisco.report.sections import Section
from prefdisco.schema import Episode, Grade, Message, Question, Usage

OPENS, ANSWERS = 2.0, 0.2  # the bounds, seconds
RUNS, CONDITIONS, PEOPLE = 4, ("baseline", "discovery", "oracle"), 2
KINDS = {"short": (12, 18), "long": (250, 250)}  # words of thinking, of a response
ATTRIBUTES = (
    "tone",
    "order",
    "format",
    "granularity",
    "verification",
    "examples",
    "length",
    "analogy",
    "units",
    "path",
)
DOMAINS = {"math": ("change", "ages"), "science": ("circuits", "levers"), "logic": ("order", "elimination")}
SIGNATURES = ("over-correction", "task-clarification loop", "pathway fixation", "premature termination")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
TIMED = """async ([name, value]) => {
  const field = name === "q" ? document.getElementById("q") : document.querySelector(`#filters [name=${name}]`);
  const start = performance.now();
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return [(performance.now() - start) / 1000, document.getElementById("count").textContent];
}"""
INPUTS = {
    "filter": [
        *(("outcome", value) for value in ("harmed", "wrong", "improved", "")),
        *(("family", value) for value in ("order", "levers", "")),
        *(("signature", value) for value in (SIGNATURES[0], "")),
        *(("sort", value) for value in ("harmed", "questions", "")),
    ],
    # frequent words, a rare one, one that is nowhere, two at once
    "search": [("q", value) for value in ("ba", "bado", "xylophone", "bado rika", '"bado ba"', "a", "")],
}


class Writer:
    """Draws words of a made-up language, the nth most frequent in proportion to 1/n."""

    def __init__(self, rng: random.Random) -> None:
        syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
        shapes = [1, 2, 2, 3, 3, 4]
        self.rng = rng
        self.words = [
            "ba",
            "bado",
            "rika",
            *("".join(rng.choices(syllables, k=rng.choice(shapes))) for _ in range(6000)),
        ]
        self.weights = list(accumulate(1 / rank for rank in range(1, len(self.words) + 1)))

    def text(self, mean: int) -> str:
        count = max(3, round(self.rng.gauss(mean, mean / 4)))
        return " ".join(self.rng.choices(self.words, cum_weights=self.weights, k=count)).capitalize() + self.rng.choice(
            ".…."
        )


def made_runs(kind: str, episodes: int) -> dict[str, list[Episode]]:
    """At least `episodes` episodes in four runs that play the same scenarios under three conditions."""
    rng = random.Random(0)
    writer = Writer(rng)
    count = -(-episodes // (RUNS * len(CONDITIONS)))
    problems = [writer.text(25) for _ in range(count // PEOPLE + 1)]
    profiles = [profile(rng) for _ in range(count)]
    return {
        f"run{run}": [
            episode(writer, KINDS[kind], number, problems[number // PEOPLE], profiles[number], condition)
            for number in range(count)
            for condition in CONDITIONS
        ]
        for run in range(RUNS)
    }


def profile(rng: random.Random) -> dict[str, float]:
    raw = {name: rng.randint(1, 5) for name in rng.sample(ATTRIBUTES, 5)}
    return {name: weight / sum(raw.values()) for name, weight in raw.items()}


def episode(
    writer: Writer, words: tuple[int, int], number: int, problem: str, weights: Mapping[str, float], condition: str
) -> Episode:
    """One episode with up to five questions under discovery, grades with reasons, and now and then an error."""
    rng, (thinks, writes) = writer.rng, words
    domain = list(DOMAINS)[number // PEOPLE % len(DOMAINS)]
    messages = [Message(role="user", content=problem)]
    if condition != "baseline":
        told = "Learn what this person prefers." if condition == "discovery" else f"This person: {writer.text(60)}"
        messages.insert(0, Message(role="system", content=told))
    questions = []
    for _ in range(rng.randint(0, 5) if condition == "discovery" else 0):
        asked = Question(text=writer.text(12), answer=writer.text(12), revealed=rng.choice([None, *weights]))
        questions.append(asked)
        turn = Message(role="assistant", content=format_question(asked.text), thinking=writer.text(thinks // 4))
        messages += [turn, Message(role="user", content=asked.answer)]
    response, thinking = writer.text(writes), writer.text(thinks)
    final = response if condition == "baseline" else format_final(response)
    messages.append(Message(role="assistant", content=final, thinking=thinking))
    grades = tuple(Grade(attribute=name, score=rng.randint(1, 5), reason=writer.text(12)) for name in weights)
    failed = rng.random() < 0.005
    return Episode(
        scenario_id=f"problem-{number // PEOPLE:05}/person-{number:05}",
        problem_id=f"problem-{number // PEOPLE:05}",
        persona_id=f"person-{number:05}",
        condition=condition,
        seed=0,
        messages=tuple(messages),
        response=response,
        thinking=thinking,
        questions=tuple(questions),
        correct=None if failed else rng.random() < 0.8,
        grades=() if failed else grades,
        alignment=None if failed else preference_alignment(grades, weights),
        family=DOMAINS[domain][number // PEOPLE % 2],
        domain=domain,
        weights=dict(weights),
        values={name: rng.choice(("high", "low")) for name in weights},
        usage=Usage(calls=1, prompt_tokens=300, completion_tokens=200),
        error="ModelError: no answer" if failed else None,
    )


class Times(NamedTuple):
    """Seconds, one entry a repetition; `filter` and `search` one an input."""

    opens: list[float]
    searchable: list[float]
    filter: list[float]
    search: list[float]


def measure(page: Path, repeat: int) -> Times:
    """Open the page in a fresh browser context each time, then use its fields."""
    from playwright.sync_api import sync_playwright

    times = Times([], [], [], [])
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(repeat):
            tab = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            tab.goto(f"{page.as_uri()}#transcripts")
            tab.wait_for_selector("html[data-ready=search]", timeout=120_000)
            for name in ("interactive", "searchable"):
                at = tab.evaluate("name => performance.getEntriesByName(name)[0].startTime", name) / 1000
                (times.opens if name == "interactive" else times.searchable).append(at)
            for name, inputs in INPUTS.items():
                getattr(times, name).extend(answer(tab, each) for each in inputs)
            tab.context.close()
        browser.close()
    return times


def answer(tab: Any, entry: tuple[str, str]) -> float:
    seconds, count = tab.evaluate(TIMED, list(entry))
    if "scenarios" not in count or "Reading" in count:
        raise SystemExit(f"{entry}: the page shows {count!r}")
    return float(seconds)


def shown(seconds: Sequence[float], unit: str) -> str:
    factor, digits = (1000, 0) if unit == "ms" else (1, 2)
    return f"{factor * statistics.median(seconds):.{digits}f} ({factor * max(seconds):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5, help="how often each page is opened")
    parser.add_argument("--quick", action="store_true", help="a tenth of the episodes, opened twice")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the pages there")
    options = parser.parse_args()
    if options.quick:
        options.episodes, options.repeat = options.episodes // 10, 2
    head = ("texts", "episodes", "MB", "sum up s", "write s", "opens s", "searchable s", "filter ms", "search ms")
    print("".join(f"{name:>16}" for name in head))
    slow = False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.keep or scratch).resolve()
        for kind in KINDS:
            runs = made_runs(kind, options.episodes)
            signatures = {
                f"{run}/{each.scenario_id}/discovery/0": [SIGNATURES[number % 4]]
                for run, episodes in runs.items()
                for number, each in enumerate(episodes)
                if each.condition == "discovery" and number % 5
            }
            start = time.perf_counter()
            summarize(runs["run0"])
            summed = time.perf_counter() - start
            start = time.perf_counter()
            page = write_page(
                folder / f"{kind}.html", runs, [Section("Numbers", rows=[["a", "b"], ["1", "2"]])], signatures
            )
            written = time.perf_counter() - start
            times = measure(page, options.repeat)
            cells = [kind, f"{sum(map(len, runs.values()))}", f"{page.stat().st_size / 1e6:.1f}"]
            cells += [f"{summed:.2f}", f"{written:.1f}"]
            cells += [shown(times.opens, "s"), shown(times.searchable, "s")]
            cells += [shown(times.filter, "ms"), shown(times.search, "ms")]
            print("".join(f"{cell:>16}" for cell in cells), flush=True)
            slow |= statistics.median(times.opens) > OPENS
            slow |= max(statistics.median(times.filter), statistics.median(times.search)) > ANSWERS
    print(f"{'bound':>16}{'':64}{OPENS:16.0f}{'':16}{1000 * ANSWERS:16.0f}{1000 * ANSWERS:16.0f}")
    if slow:
        sys.exit("slower than the bounds")


if __name__ == "__main__":
    main()
