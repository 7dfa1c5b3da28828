"""The model card of a trained checkpoint: what it is, how it was made, and its numbers before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefdisco.config import SFTRecipe
from prefdisco.report.tables import markdown_table, notes


def model_card(recipe: SFTRecipe, summary: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's front matter."""
    before, after = summary["before"], summary["after"]
    lines = [
        "---",
        "library_name: transformers",
        "tags: [prefdisco, personalization, sft]",
        f"base_model: {recipe.model}",
        "---",
        "",
        f"# {recipe.name}",
        "",
        f"{recipe.description}".strip(),
        "",
        f"`{recipe.model}`, fine-tuned with the recipe `{recipe.name}` (seed {recipe.seed}; questions by policy "
        f"`{recipe.data.policy}`). Evaluated on {after['scenarios']} held-out scenarios of "
        f"`{recipe.scenarios.source}:{recipe.scenarios.eval_split}`, seeds {', '.join(map(str, after['seeds']))}; cells are "
        "mean ± half of the 95% interval, before → after.",
        "",
        markdown_table(before, after),
        "",
        *(f"- {line}" for line in notes(before, after)),
        "",
        "## How to use",
        "",
        "The chat template is saved with the tokenizer; thinking stands in `<think>` tags, and `enable_thinking=False` "
        "turns it off. Under the discovery prompt a turn begins with `###ACTION###: 'ask_question'` or `'final_answer'`.",
        "",
        "## Limits",
        "",
        "Trained and measured on simulated people. The numbers say nothing about other tasks or about real ones.",
    ]
    return "\n".join(lines) + "\n"
