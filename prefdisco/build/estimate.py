"""How many calls a build takes and what they may cost, before any is made.

Numbers of calls are exact for a run in which nothing has to be asked again, but for merging: a call a domain, and one
more for every BATCH attributes beyond the first. Tokens are guesses: prompts are measured on the problems given,
answers and people are taken at the sizes below.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prefdisco.build.attributes import BATCH, domain_of
from prefdisco.build.config import BuildConfig
from prefdisco.build.instructions import STAGES, about_problem, prompt
from prefdisco.build.personas import DRAFTS
from prefdisco.llm.wire import CHARACTERS_A_TOKEN
from prefdisco.schema import Problem

REPAIRS = 2  # more calls that one answer may take where it does not fit its schema
# Tokens of an answer, or of one part of it: guesses from a few hand-written texts of this sort.
PERSONA, PERSONA_FACTS = 750, 120
ATTRIBUTE, LISTED, PAIR = 60, 45, 12
PREFERENCE, NOT_CHOSEN, SHOWN = 70, 8, 90
CRITERION = 130
CHOSEN = 0.6  # share of a problem's attributes that matter to a person
KEPT = 0.5  # share of proposed attributes that are new

Price = Callable[[int, int], float | None]


@dataclass(frozen=True)
class Stage:
    """Calls and tokens of one stage; `most` is the number of calls that it can take without any repair."""

    name: str
    calls: int
    most: int
    read: int
    written: int


@dataclass(frozen=True)
class Estimate:
    """What a build takes when nothing has to be asked again."""

    stages: tuple[Stage, ...]

    @property
    def calls(self) -> int:
        return sum(stage.calls for stage in self.stages)

    @property
    def most(self) -> int:
        """Calls where the merging takes as many as it can."""
        return sum(stage.most for stage in self.stages)

    @property
    def read(self) -> int:
        return sum(stage.read for stage in self.stages)

    @property
    def written(self) -> int:
        return sum(stage.written for stage in self.stages)

    def text(self, price: Price | None = None) -> str:
        """What --dry-run prints. `price` gives dollars for (tokens read, tokens written), or None."""
        rows = [f"{'':<12}{'calls':>9}{'tokens read':>15}{'tokens written':>16}"]
        for stage in self.stages:
            calls = f"{stage.calls:,}" + (f"-{stage.most:,}" if stage.most > stage.calls else "")
            rows.append(f"{stage.name:<12}{calls:>9}{stage.read:>15,}{stage.written:>16,}")
        rows.append(f"{'all':<12}{self.calls:>9,}{self.read:>15,}{self.written:>16,}")
        dollars = price(self.read, self.written) if price else None
        cost = f"about ${dollars:,.2f}" if dollars is not None else "unknown: no price is known for this model"
        return "\n".join(
            [
                *rows,
                f"cost: {cost}",
                "Calls are those of a run in which nothing is asked for again. An answer that does not fit is, up to",
                f"{REPAIRS} times, a person too like another up to {DRAFTS - 1} times. Token counts are guesses from",
                "typical lengths, without the schemas (which some providers count) and any thinking of the model. What",
                "an earlier run has made is not subtracted.",
            ]
        )


def estimate(config: BuildConfig, problems: Sequence[Problem]) -> Estimate:
    """Calls and tokens for these problems."""
    count, people = len(problems), config.personas
    pairs = count * config.per_problem
    domains = Counter(domain_of(problem) for problem in problems)
    texts = [_tokens(json.dumps(about_problem(problem), ensure_ascii=False)) for problem in problems]
    text = sum(texts) / max(1, count)
    prompts = {stage: _tokens(prompt(stage)) for stage in STAGES}
    new = [max(2, round(KEPT * config.attributes * each)) for each in domains.values()]
    batches = [-(-each // BATCH) for each in new]
    worst = [-(-(config.attributes + 4) * each // BATCH) for each in domains.values()]
    chosen = min(config.most, max(config.fewest, round(CHOSEN * config.attributes)))
    person = PERSONA + PERSONA_FACTS
    listed = round(person + text)
    return Estimate(
        (
            Stage("people", people, people, people * (prompts["personas"] + PERSONA_FACTS), people * PERSONA),
            Stage(
                "attributes",
                count,
                count,
                round(count * (prompts["attributes"] + text)),
                count * config.attributes * ATTRIBUTE,
            ),
            Stage(
                "merging",
                len(domains),
                max(sum(worst), len(domains)),
                sum(batches) * prompts["consolidate"] + sum(new) * LISTED,
                sum(new) // 8 * PAIR,
            ),
            Stage(
                "profiles",
                pairs,
                pairs,
                pairs * (prompts["profiles"] + listed + config.attributes * ATTRIBUTE),
                pairs * (chosen * PREFERENCE + (config.attributes - chosen) * NOT_CHOSEN),
            ),
            Stage(
                "rubrics",
                pairs,
                pairs,
                pairs * (prompts["rubrics"] + listed + chosen * SHOWN),
                pairs * chosen * CRITERION,
            ),
        )
    )


def _tokens(text: str) -> int:
    return round(len(text) / CHARACTERS_A_TOKEN)
