"""Episodes as the page holds them: an index that is read at once, and chunks of texts that are read when needed.

Each is JSON, deflated, in base64. A *unit* is one scenario in one run with one seed: its episodes under all conditions
stand beside each other. The index has what lists, filters and sorting need of every unit, the chunks have the rest.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefdisco.schema import Episode, Message, Scenario, Usage

CHUNK = 256 * 1024  # characters of JSON: about 3 ms to read in a browser
TITLE = 120  # characters of the problem that a list shows
FIRST = ("baseline", "discovery", "oracle")

Played = dict[str, Episode]  # condition -> episode
Units = dict[tuple[str, str, int], Played]  # (run, scenario id, seed) -> its episodes


def embed(
    runs: Mapping[str, Sequence[Episode]], signatures: Mapping[str, Sequence[str]], scenarios: Iterable[Scenario]
) -> dict[str, str]:
    """Name of the element -> its text: `index`, then `chunk-0` and so on."""
    known = {scenario.id: scenario for scenario in scenarios}
    units = _units(runs)
    prompts = _shared_prompts(units.values())
    chunks: list[list[str]] = [[]]
    size, places = 0, []
    for (_, scenario_id, _), played in units.items():
        text = _json(_texts(played, known.get(scenario_id), prompts))
        if size + len(text) > CHUNK and chunks[-1]:
            chunks.append([])
            size = 0
        places.append((len(chunks) - 1, len(chunks[-1])))
        chunks[-1].append(text)
        size += len(text)
    index = _index(runs, units, signatures, known)
    index |= {"prompts": list(prompts), "chunks": len(chunks), "places": places}
    packed = {f"chunk-{number}": _packed(f"[{','.join(texts)}]") for number, texts in enumerate(chunks)}
    return {"index": _packed(_json(index)), **packed}


def _units(runs: Mapping[str, Sequence[Episode]]) -> Units:
    """Units in the order of the runs; of two episodes with one key, the later."""
    units: Units = {}
    for run, episodes in runs.items():
        for episode in episodes:
            units.setdefault((run, episode.scenario_id, episode.seed), {})[episode.condition] = episode
    return units


def _shared_prompts(played: Iterable[Played]) -> dict[str, int]:
    """System prompts that several people's episodes have, numbered. They say nothing about anybody, so they are stored
    once, and not searched."""
    people: dict[str, set[str]] = defaultdict(set)
    for episodes in played:
        for episode in episodes.values():
            for message in episode.messages:
                if message.role == "system":
                    people[message.content].add(episode.persona_id)
    return {text: number for number, text in enumerate(text for text, seen in people.items() if len(seen) > 1)}


def _index(
    runs: Mapping[str, Sequence[Episode]],
    units: Units,
    signatures: Mapping[str, Sequence[str]],
    known: Mapping[str, Scenario],
) -> dict[str, Any]:
    """Columns of all units, and of the figures of their episodes by condition."""
    firsts = [(key, next(iter(played.values()))) for key, played in units.items()]
    present = {condition for played in units.values() for condition in played}
    conditions = sorted(present, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return {
        "runs": list(runs),
        "conditions": conditions,
        "units": {
            "run": _numbered(key[0] for key, _ in firsts),
            "scenario": [key[1] for key, _ in firsts],
            "seed": [key[2] for key, _ in firsts],
            "domain": _numbered(first.domain for _, first in firsts),
            "family": _numbered(first.family or "" for _, first in firsts),
            "task": _numbered(known[key[1]].problem.task if key[1] in known else "" for key, _ in firsts),
            "title": [_title(key[1], played, known) for key, played in units.items()],
        },
        "episodes": {
            condition: [
                _figures(played[condition], signatures.get(f"{key[0]}/{key[1]}/{condition}/{key[2]}", ()))
                if condition in played
                else 0
                for key, played in units.items()
            ]
            for condition in conditions
        },
    }


def _numbered(words: Iterable[str]) -> dict[str, list[Any]]:
    """A column of few different words: the words, and which of them stands where."""
    numbers: dict[str, int] = {}
    rows = [numbers.setdefault(word, len(numbers)) for word in words]
    return {"words": list(numbers), "rows": rows}


def _figures(episode: Episode, signatures: Sequence[str]) -> list[Any]:
    """[right: 1, 0 or null; alignment or null; questions; failed: 1 or 0; signatures]."""
    right = None if episode.correct is None else int(episode.correct)
    return [right, episode.alignment, len(episode.questions), int(episode.error is not None), list(signatures)]


def _title(scenario_id: str, played: Played, known: Mapping[str, Scenario]) -> str:
    """The beginning of the problem, or the scenario's id where no episode got as far as that."""
    words = " ".join(_problem(played, known.get(scenario_id))[: 4 * TITLE].split())
    return (words if len(words) <= TITLE else words[:TITLE].rstrip() + "…") or scenario_id


def _problem(played: Played, scenario: Scenario | None) -> str:
    """What the agent was asked: the first message of the user, else the scenario's question."""
    for episode in played.values():
        for message in episode.messages:
            if message.role == "user":
                return message.content
    return scenario.problem.question if scenario else ""


def _texts(played: Played, scenario: Scenario | None, prompts: Mapping[str, int]) -> dict[str, Any]:
    """What a chunk holds of a unit."""
    problem = _problem(played, scenario)
    unit: dict[str, Any] = {
        "problem": problem,
        "person": next(iter(played.values())).persona_id,
        "episodes": {condition: _episode(episode, problem, prompts) for condition, episode in played.items()},
    }
    if scenario:
        unit["scenario"] = {
            "options": list(scenario.problem.options or ()),
            "answer": scenario.problem.answer,
            "name": scenario.persona.name,
            "description": scenario.persona.description,
            "meaning": {each.attribute: each.description for each in scenario.rubric},
        }
    return unit


def _episode(episode: Episode, problem: str, prompts: Mapping[str, int]) -> dict[str, Any]:
    """An episode without its token ids. What would stand in it twice is left out: the problem, and a response or
    thinking that its last turn holds."""
    turns = [message for message in episode.messages if message.role == "assistant"]
    last = turns[-1] if turns else Message(role="assistant", content="")
    return {
        "messages": [_message(message, problem, prompts) for message in episode.messages],
        "response": None if last.content.endswith(episode.response) else episode.response,
        "thinking": None if last.thinking == episode.thinking else episode.thinking,
        "questions": [[each.text, each.answer, each.revealed] for each in episode.questions],
        "grades": [[each.attribute, each.score, each.reason] for each in episode.grades],
        "weights": episode.weights,
        "values": episode.values,
        "malformed": episode.malformed_turns,
        "truncated": episode.truncated,
        "consistent": episode.consistent,
        "answered_by": episode.answered_by,
        "adaptive": [sum(episode.adaptive), len(episode.adaptive)],
        "usage": [_usage(usage) for usage in (episode.usage, episode.user_usage, episode.judge_usage)],
        "error": episode.error,
    }


def _message(message: Message, problem: str, prompts: Mapping[str, int]) -> list[Any]:
    """[role, content, thinking]; the content is null for the problem itself, a number for a shared prompt."""
    content: str | int | None = message.content
    if message.role == "system":
        content = prompts.get(message.content, message.content)
    elif message.role == "user" and message.content == problem:
        content = None
    return [message.role, content, message.thinking]


def _usage(usage: Usage) -> list[float]:
    return [usage.calls, usage.cached, usage.prompt_tokens, usage.completion_tokens, usage.usd]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _packed(text: str) -> str:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(text.encode("utf-8", "replace")) + deflate.flush()).decode()
