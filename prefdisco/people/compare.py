"""People against simulated users, and their ratings against a judge: `prefdisco people STUDY [RUN]`.

How they answer: the discovery dialogues of both runs, and the difference. How they rate: a judge grades the very
answers that the people rated. Intervals are 95% bootstrap intervals of whole participants, since what one person says
and rates hangs together; people whose scenarios a simulated user played are drawn together with their double.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from prefdisco.agreement import agree, regrade
from prefdisco.agreement import table as agreement_table
from prefdisco.bootstrap import Array, Bootstrap
from prefdisco.evaluate import EPISODES, load_episodes
from prefdisco.judges import load_judge
from prefdisco.llm.loops import run
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.metrics import revealed_weight
from prefdisco.people.config import PeopleConfig
from prefdisco.people.session import CONDITIONS, DISCOVERY
from prefdisco.people.store import SCENARIOS
from prefdisco.report.cells import cell, text
from prefdisco.schema import DataError, Episode, Scenario, read_jsonl
from prefdisco.users import STOP

# How people and simulated users say that they do not care: "No preference.", "I don't mind", "Either is fine."
NO_PREFERENCE = re.compile(
    r"\bno (?:strong |real |particular )?preference|\b(?:do not|don['’]t|doesn['’]t|does not) (?:really )?"
    r"(?:mind|care|matter)|^\W*(?:either|any|whatever)(?: (?:is|one|way|works))*\b|\bup to you\b",
    re.IGNORECASE,
)
LONGEST_INDIFFERENCE = 12  # words; a longer answer that has these words in it says more than that
NONE = "no questions"
Count = Callable[[Episode], float]


def indifferent(answer: str) -> bool:
    """Whether an answer says that there is no preference."""
    return len(answer.split()) <= LONGEST_INDIFFERENCE and NO_PREFERENCE.search(answer) is not None


def _answers(episode: Episode) -> list[str]:
    return [question.answer for question in episode.questions if STOP not in question.answer]


# figure -> (what is counted in an episode, per what, scale, decimals): each is a ratio of sums over episodes
PATTERNS: dict[str, tuple[Count, Count, float, int]] = {
    "questions a dialogue": (lambda e: len(e.questions), lambda e: 1, 1, 2),
    "questions that revealed a preference %": (
        lambda e: sum(question.revealed is not None for question in e.questions),
        lambda e: len(e.questions),
        100,
        1,
    ),
    "weight of the revealed preferences %": (revealed_weight, lambda e: 1, 100, 1),
    "words an answer": (
        lambda e: sum(len(answer.split()) for answer in _answers(e)),
        lambda e: len(_answers(e)),
        1,
        1,
    ),
    "answers without a preference %": (
        lambda e: sum(map(indifferent, _answers(e))),
        lambda e: len(_answers(e)),
        100,
        1,
    ),
    "dialogues that the person ended %": (
        lambda e: any(STOP in question.answer for question in e.questions),
        lambda e: 1,
        100,
        1,
    ),
}


def compare(config: PeopleConfig, study: str | Path, simulated: str | Path | None = None) -> str:
    """The tables as text. Raises DataError for a folder without what is compared, ConfigError for an unknown judge."""
    people = _episodes(study)
    parts = []
    if simulated is None:
        parts.append(patterns(_dialogues(people, study), None, config.resamples))
    else:
        doubles = _episodes(simulated)
        parts.append(patterns(_dialogues(people, study), _dialogues(doubles, simulated), config.resamples))
    if config.judge != "none":
        parts.append(judged(study, people, config))
    return "\n\n".join(parts)


def patterns(people: Sequence[Episode], simulated: Sequence[Episode] | None, resamples: int) -> str:
    """How people answer, beside how simulated users do."""
    boot = Bootstrap([episode.persona_id for episode in (*people, *(simulated or ()))], resamples)
    head = ["how they answer", f"people ({_size(people)})"]
    rows = [head if simulated is None else [*head, f"simulated ({_size(simulated)})", "people - simulated"]]
    for name, (count, per, scale, decimals) in PATTERNS.items():
        groups = [people] if simulated is None else [people, simulated]
        totals = [
            boot.sums([e.persona_id for e in side], [count(e) for e in side], [per(e) for e in side]) for side in groups
        ]
        estimates = [_ratio(total[:, 0], total[:, 1]) for total in totals]
        if len(totals) == 2:
            (a, n), (b, m) = (total.T for total in totals)
            estimates.append(_ratio(a * m - b * n, n * m))
        rows.append([name, *(cell(estimate, scale, decimals) for estimate in estimates)])
    return "\n".join(text(rows))


def judged(study: str | Path, people: Sequence[Episode], config: PeopleConfig) -> str:
    """How far a judge's grades of the same answers agree with the ratings, and what each makes of the conditions."""
    scenarios = list(read_jsonl(Path(study) / SCENARIOS, Scenario))
    account = Account(config.remote)
    model = partial(load_model, role="judge", options=config.remote, account=account)
    judge = load_judge(config.judge, scenarios, lambda name: model(name))
    regraded = run(regrade(people, scenarios, judge))
    found = agree(people, regraded, config.resamples, by=lambda episode: episode.persona_id)
    boot = Bootstrap([episode.persona_id for episode in people], config.resamples)
    rows = [["alignment", "people's ratings", f"judge {config.judge}"]]
    for condition in CONDITIONS:
        sides = [[e for e in side if e.condition == condition and e.error is None] for side in (people, regraded)]
        estimates = [
            boot.mean([e.persona_id for e in side], [e.graded_alignment for e in side], NONE) for side in sides
        ]
        rows.append([condition, *(cell(estimate, 1, 2) for estimate in estimates)])
    head = f"people's ratings (a) and the grades of judge {config.judge} (b), {_people(people)} participants"
    return "\n".join([head, "", agreement_table(found), "", *text(rows)])


def _ratio(above: Array, below: Array) -> dict[str, object]:
    """An estimate of the first ratio, with the interval of the others, which are its resamples."""
    if below[0] == 0:
        return {"mean": None, "ci": None, "reason": NONE}
    usable = below[1:] != 0
    drawn = above[1:][usable] / below[1:][usable]
    mean = float(above[0] / below[0])
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (mean, mean)
    return {"mean": mean, "ci": [float(low), float(high)]}


def _episodes(folder: str | Path) -> list[Episode]:
    found = [each for each in load_episodes(Path(folder) / EPISODES).values() if each.error is None]
    if not found:
        raise DataError(f"{folder}: no episodes there; name the run folder of a study or of an evaluation")
    return found


def _dialogues(episodes: Sequence[Episode], folder: str | Path) -> list[Episode]:
    found = [each for each in episodes if each.condition == DISCOVERY]
    if not found:
        raise DataError(f"{folder}: no episode of condition {DISCOVERY} there")
    return found


def _people(episodes: Sequence[Episode]) -> int:
    return len({episode.persona_id for episode in episodes})


def _size(episodes: Sequence[Episode]) -> str:
    return f"{_people(episodes)}, {len(episodes)} dialogues"
