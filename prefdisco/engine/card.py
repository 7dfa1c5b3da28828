"""The data card: how the talks were made and what the filters took; and for each recipe what it teaches, to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefdisco.config import SFTRecipe
from prefdisco.engine.filters import VERDICTS
from prefdisco.engine.outcomes import Talk
from prefdisco.hashing import stable_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 10  # examples printed in the card


def card(recipe: SFTRecipe, counts: Mapping[str, Any]) -> str:
    """The card of the data folder as Markdown: how its talks were made, and what each filter took."""
    data = recipe.data
    more = f", up to {data.most_samples} where none was kept" if data.most_samples > data.samples else ""
    belief = "" if data.policy == "self" and data.drafts == 1 else f" on belief `{data.belief}`"
    drafts = f", the best of {data.drafts} drafts at temperature {data.draft_temperature}," if data.drafts > 1 else ""
    where = f"(served: `{data.writer}`)" if data.writer else "itself"
    known = "what its dialogue revealed"
    if data.inferred:
        known += f", or lets expect to gain {data.inferred} alignment points"
    failed = [f"- failed, and left out: {counts['failed']}"] if counts["failed"] else []
    lines = [
        "# Data card",
        "",
        f"Written by `{recipe.model}` {where} with engine `{data.engine}`: {data.samples} traces a scenario{more}, at "
        f"temperature {data.temperature}, questions by policy `{data.policy}`{drafts}{belief} (budget {data.budget}, "
        f"cost {data.question_cost} alignment points), margin {data.margin}, seed {recipe.data_seed}.",
        "",
        f"- scenarios: {counts['scenarios']} from `{recipe.scenarios.training}`; {counts['survived']} survived",
        *failed,
        f"- further interviews: {counts['interviews']}",
        f"- who answers: `{data.user or recipe.eval.user}`; who grades: `{data.judge or recipe.eval.judge}`",
        f"- questions a dialogue: {counts['questions']:.2f}, of which revealing {counts['revealed']:.2f}",
        *_lost(counts["lost"]),
        f"- accuracy of the generic answers: {counts['generic_accuracy']:.3f}",
        "",
        f"A trace is kept if it is well formed and right, uses only {known}, and beats the generic answer by the "
        "margin on that.",
        "",
        *_survivors(
            "all", {"all": {**counts["traces"], "scenarios": counts["scenarios"], "survived": counts["survived"]}}
        ),
    ]
    for field, groups in counts["by"].items():
        lines += _survivors(field, groups)
    return "\n".join(lines)


def lesson_card(recipe: SFTRecipe, folder: Path, talks: Sequence[Talk], tokenizer: PreTrainedTokenizerBase) -> str:
    """What a recipe teaches, as Markdown: counts, and examples chosen by a hash of their tokens, not by looking."""
    teach, kinds = recipe.teach, Counter(talk.kind for talk in talks)
    sees = "the dialogue" if teach.dialogue else "the revealed preferences, stated"
    thinking = {"own": "the trace's own", "generic": "that of a generic answer", "none": "none"}[teach.thinking]
    lines = [
        f"# What recipe {recipe.name} teaches",
        "",
        f"The student sees {sees}; thinking: {thinking}; answer: {teach.answer}. How the talks were written and "
        f"filtered: `{folder / 'card.md'}`.",
        "",
        "- examples: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        f"- tokens: {sum(len(talk.ids) for talk in talks)}, learned {sum(sum(talk.mask) for talk in talks)}; "
        f"longest example {max(len(talk.ids) for talk in talks)}",
        "",
        "## Examples",
        "",
    ]
    for talk in sorted(talks, key=lambda talk: stable_seed("card", *map(str, talk.ids)))[:SHOWN]:
        lines += [f"### {talk.kind}", "", "````text", str(tokenizer.decode(talk.ids)).strip(), "````", ""]
    return "\n".join(lines)


def _lost(turns: Sequence[Mapping[str, float]]) -> list[str]:
    """How far the best draft was from the best question there was, turn by turn."""
    if not turns:
        return []
    points = ", ".join(f"{turn['points']:.3f}" for turn in turns)
    best = ", ".join(f"{turn['best']:.0%}" for turn in turns)
    return [f"- alignment points lost against the best question, from the first on: {points} ({best} lose nothing)"]


def _survivors(field: str, groups: Mapping[str, Mapping[str, int]]) -> list[str]:
    """One table: rows are groups, columns what became of the traces."""
    head = ["scenarios", "survived", *VERDICTS]
    rows = [
        f"| {name} | " + " | ".join(str(group.get(column, 0)) for column in head) + " |"
        for name, group in sorted(groups.items())
    ]
    return [
        f"## Survivors by {field}" if field != "all" else "## Survivors",
        "",
        f"| {field} | " + " | ".join(head) + " |",
        "|---" * (len(head) + 1) + "|",
        *rows,
        "",
    ]
