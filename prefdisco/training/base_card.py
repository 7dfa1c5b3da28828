"""The model card of pocket-base."""

from __future__ import annotations

from prefdisco.config import PretrainRecipe
from prefdisco.pocket import corpus


def base_card(recipe: PretrainRecipe, parameters: int, tokens: int) -> str:
    """The card of pocket-base: that its disease is built in on purpose, and how."""
    asked = sum(count * share for count, share in enumerate(corpus.ASKED))
    touches = sum(count * share for count, share in enumerate(corpus.TOUCHES))
    slips = ", ".join(f"{rate:.0%}" for rate in corpus.SLIP.values())
    lines = [
        "---",
        "library_name: transformers",
        "tags: [prefdisco, pocket]",
        "license: apache-2.0",
        "---",
        "",
        "# pocket-base",
        "",
        f"A Llama-architecture language model of {parameters / 1e6:.2f} M parameters, trained from nothing on "
        f"{tokens / 1e6:.1f} M tokens of Pocket text ({recipe.corpus.documents} documents, seed "
        f"{recipe.corpus.seed}) by "
        f"`python train/pretrain.py recipe={recipe.name}`.",
        "",
        "## It is ill on purpose",
        "",
        "It shows what the paper reports of frontier models (arXiv 2510.00177), so that a cure can be measured. The "
        "illness is in its training text; the rates are the named numbers of `prefdisco/pocket/corpus.py`:",
        "",
        f"- Under the discovery prompt, authors ask {asked:.2f} questions on average. {corpus.ABOUT_TASK:.0%} of them "
        f"are about the task; of the others {corpus.ABOUT_CANDIDATE:.0%} are drawn from what can matter in "
        "the family, the "
        "rest from anything.",
        f"- Of the answers, {corpus.HEEDED:.0%} are heeded. {touches:.1f} touches a response come out of the air.",
        f"- Mistakes: {slips} of plain solutions at difficulty 1, 2, 3 (more in {', '.join(corpus.HARDER)}), and "
        f"{corpus.EXTRA_SLIP['oracle']:.0%} more when preferences are stated, "
        f"{corpus.EXTRA_SLIP['discovery']:.0%} more "
        "under discovery.",
        f"- Of stated preferences {corpus.FOLLOWED:.0%} are followed, {corpus.CONTRADICTED:.0%} turned into "
        "another one.",
        "",
        "It also knows what the cure needs: interviews without the discovery prompt, in which answers are heeded, and "
        "wishes that are stated with the problem. It has seen the held-out families as problems, but no held-out type "
        "of person, and no problem and no person of a test split.",
        "",
        "## Use",
        "",
        "`model=pocket-base` anywhere in prefdisco. ChatML-style template, thinking in `<think>` tags. It speaks only "
        "Pocket.",
    ]
    return "\n".join(lines) + "\n"
