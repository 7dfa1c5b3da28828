"""The data card: what a training set contains, how it was made, what the filters took, and examples to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefdisco.config import SFTRecipe
from prefdisco.engine.filters import VERDICTS
from prefdisco.engine.selfdistill import Outcome
from prefdisco.hashing import stable_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 10  # examples printed in the card


def card(
    recipe: SFTRecipe, counts: Mapping[str, Any], outcomes: Sequence[Outcome], tokenizer: PreTrainedTokenizerBase
) -> str:
    """The card as Markdown. The examples are chosen by a hash of their scenario, not by looking."""
    data = recipe.data
    belief = "" if data.policy == "self" else f" on belief `{data.belief}`"
    examples = ", ".join(f"{count} {kind}" for kind, count in sorted(counts["examples"].items()))
    lines = [
        f"# Data card: {recipe.name}",
        "",
        f"Made by `{recipe.model}` itself with engine `{data.engine}`: {data.samples} traces a scenario at temperature "
        f"{data.temperature}, questions by policy `{data.policy}`{belief} (budget {data.budget}, cost "
        f"{data.question_cost} alignment points), margin {data.margin}, seed {recipe.seed}.",
        "",
        f"- scenarios: {counts['scenarios']} from `{recipe.scenarios.source}`, training split; "
        f"{counts['survived']} survived",
        f"- examples: {examples}",
        f"- tokens: {counts['tokens']}, learned {counts['learned_tokens']}; longest example {counts['longest']}",
        f"- questions a dialogue: {counts['questions']:.2f}, of which revealing {counts['revealed']:.2f}",
        f"- accuracy of the generic answers: {counts['generic_accuracy']:.3f}",
        "",
        "What a student sees is the dialogue only. A trace is kept if it is well formed and right, uses nothing that "
        "its dialogue did not reveal, and beats the generic answer by the margin on what was revealed.",
        "",
        *_survivors(
            "all", {"all": {**counts["traces"], "scenarios": counts["scenarios"], "survived": counts["survived"]}}
        ),
    ]
    for field, groups in counts["by"].items():
        lines += _survivors(field, groups)
    lines += ["## Examples", ""]
    chosen = sorted((o for o in outcomes if o.examples), key=lambda o: stable_seed("card", o.scenario_id))[:SHOWN]
    for outcome in chosen:
        text = tokenizer.decode(outcome.examples[0].ids)
        lines += [f"### {outcome.scenario_id}", "", "````text", str(text).strip(), "````", ""]
    return "\n".join(lines)


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
