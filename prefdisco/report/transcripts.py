"""Episodes as people read them: the same few of several runs under each other, drawn by a seed, as Markdown.

    prefdisco show runs/grpo/before runs/grpo/after count=10 seed=0

Text of models stands in fenced blocks, so that nothing in it is taken for Markdown.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from prefdisco.analysis.runs import named
from prefdisco.config import ShowConfig
from prefdisco.evaluate import EPISODES, load_episodes
from prefdisco.files import RunError
from prefdisco.report.cells import markdown
from prefdisco.schema import Episode

ROLES = {"system": "system", "user": "user", "assistant": "agent"}


def transcripts(folders: Sequence[str | Path], settings: ShowConfig) -> str:
    """A page with `settings.count` episodes that all runs have, each with its grades and what every run made of it.

    Raises RunError for a folder without episodes, and where the runs have none of the condition in common.
    """
    labels = named([Path(folder) for folder in folders])
    runs = {label: load_episodes(Path(folder) / EPISODES) for label, folder in zip(labels, folders, strict=True)}
    for folder, episodes in runs.items():
        if not episodes:
            raise RunError(f"{folder}: no episodes there; name the run folder of an evaluation, such as RUN/after")
    graded = [{key for key, episode in episodes.items() if episode.error is None} for episodes in runs.values()]
    shared = sorted(key for key in set.intersection(*graded) if key[1] == settings.condition)
    if not shared:
        conditions = sorted({key[1] for keys in graded for key in keys})
        raise RunError(
            f"{', '.join(runs)}: no episode of condition={settings.condition} that all of them have; there are "
            f"{', '.join(conditions)}"
        )
    chosen = random.Random(settings.seed).sample(shared, min(settings.count, len(shared)))
    head = f"{len(chosen)} of {len(shared)} episodes of `{settings.condition}`, drawn with seed {settings.seed}."
    return "\n\n".join([head, *(scene([(name, runs[name][key]) for name in runs]) for key in chosen)])


def scene(played: Sequence[tuple[str, Episode]]) -> str:
    """One scenario: the task, what each run did, and the person's preferences with the grades of all runs."""
    first = played[0][1]
    title = f"## {first.scenario_id}, seed {first.seed}"
    names = [name for name, _ in played]
    rows = [["preference", "wanted", "weight %", *(f"{name}: told" for name in names), *names]]
    for attribute, weight in sorted(first.weights.items(), key=lambda item: -item[1]):
        told = [
            "yes" if any(question.revealed == attribute for question in episode.questions) else ""
            for _, episode in played
        ]
        scores = [
            next((str(grade.score) for grade in episode.grades if grade.attribute == attribute), "–")
            for _, episode in played
        ]
        rows.append([attribute, first.values.get(attribute, "–"), f"{100 * weight:.0f}", *told, *scores])
    return "\n\n".join([title, markdown(rows), *(dialogue(name, episode) for name, episode in played)])


def dialogue(name: str, episode: Episode) -> str:
    """One episode: how it ended in one line, then all that was said. Thinking stands in brackets."""
    verdict = "right" if episode.correct else "wrong"
    asked = f"{len(episode.questions)} question{'' if len(episode.questions) == 1 else 's'}"
    lines = [f"found before: {name}: {value}" for name, value in episode.carried.items()]
    for message in episode.messages:
        if message.role == "system":
            continue
        thinking = f"[{message.thinking}] " if message.thinking else ""
        lines.append(f"{ROLES[message.role]}: {thinking}{message.content}")
    return f"**{name}**: {verdict}, alignment {episode.graded_alignment:.2f}, {asked}\n\n{fenced(chr(10).join(lines))}"


def fenced(text: str) -> str:
    """The text in a block that it cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
