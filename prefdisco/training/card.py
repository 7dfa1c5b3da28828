"""The model card of a trained checkpoint: what it is, how it is used, how it was made, its numbers before and after.

Training writes it into the checkpoint, and a release beside the published weights: the same text, with what only the
release knows (`Published`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from prefdisco.config import RLRecipe, SFTRecipe, TrainRecipe
from prefdisco.engine.dataset import CARD
from prefdisco.report.cells import Summary, at
from prefdisco.report.health import markdown_health
from prefdisco.report.tables import markdown_table, notes
from prefdisco.training.lineage import is_hub_id, lineage
from prefdisco.training.results import results
from prefdisco.training.usage import usage

PREFDISCO = ("Personalized Reasoning: Just-in-time Personalization and Why LLMs Fail at It", "2510.00177", 2025)
PRIME = (
    "PRIME: Large Language Model Personalization with Cognitive Memory and Thought Processes", "2507.04607", 2025,
)  # fmt: skip
TPO = ("Thinking LLMs: General Instruction Following with Thought Generation", "2410.10630", 2024)
PEP = ("Cold-Start Personalization via Training-Free Priors from Structured World Models", "2602.15012", 2026)


@dataclass(frozen=True)
class Published:
    """What only a release knows. `path`: where the reader has the model from; `sha256` of each file of weights."""

    name: str
    path: str = "."
    license: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)


def model_card(recipe: TrainRecipe, summary: Mapping[str, Any], data: Path, published: Published | None = None) -> str:
    """The card as Markdown with the Hub's front matter, `model-index` in it.

    `summary` is that of the training run, `data` the folder that it learned from.
    """
    published = published or Published(recipe.name)
    before, after = summary["before"], summary["after"]
    license, base = inherited(recipe, published)
    metadata = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        license=license,
        base_model=base,
        tags=["prefdisco", "personalization", recipe.kind],
        model_name=published.name,
        eval_results=results(recipe, after),
    )
    sections = [
        [f"# {published.name}", "", *about(recipe, summary, license, base)],
        usage(recipe, published.path),
        ["## Results", "", *measured(recipe, before, after, summary.get("regression"))],
        ["## Accuracy and personalization", "", *(f"- {line}" for line in tradeoff(before, after))],
        ["## Thinking", "", markdown_health(before, after)],
        ["## Training data", "", *learned_from(recipe, summary, data)],
        ["## Recipe", "", *resolved(recipe)],
        ["## Limits", "", *(f"- {line}" for line in limits(recipe))],
        *([["## Weights", "", *weights(published.sha256)]] if published.sha256 else []),
        ["## References", "", *references(recipe)],
    ]
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"---\n{metadata.to_yaml()}\n---\n\n{body}\n"


def inherited(recipe: TrainRecipe, published: Published | None = None) -> tuple[str | None, str | None]:
    """(licence, Hub id of the base model): what the models before it say, None where they say nothing."""
    line = lineage(recipe.model)
    return (published.license if published and published.license else line.license), line.base


def method(recipe: TrainRecipe) -> str:
    """How the recipe trains, in a few words."""
    if isinstance(recipe, SFTRecipe):
        if recipe.data.engine == "onpolicy":
            return f"on-policy self-distillation, {recipe.onpolicy.rounds} rounds"
        return f"supervised fine-tuning, engine `{recipe.data.engine}`, questions by policy `{recipe.data.policy}`"
    if isinstance(recipe, RLRecipe) and recipe.objective == "tpo":
        return f"thought preference optimization, {recipe.tpo.rounds} rounds"
    return "reinforcement learning on whole dialogues, GRPO"


def about(recipe: TrainRecipe, summary: Mapping[str, Any], license: str | None, base: str | None) -> list[str]:
    """What the model is, in a paragraph and a list."""
    root = f", which comes from [{base}](https://huggingface.co/{base})" if base and not is_hub_id(recipe.model) else ""
    return [
        f"{recipe.description}".strip(),
        "",
        "A language model that finds out what a person prefers before it answers: it may ask a few questions, then "
        "gives an answer in the way that this person wants it.",
        "",
        f"- Base model: `{recipe.model}`{root}",
        f"- Trained by: recipe `{recipe.name}`, {method(recipe)}; {summary['training']['steps']} steps",
        *merged_with(recipe),
        f"- Seeds: training {recipe.seed}, draw of its scenarios {recipe.scenarios.seed}, evaluation "
        f"{', '.join(map(str, summary['after']['seeds']))}",
        f"- Licence: {license or f'that of `{recipe.model}`, whose card names none here'}",
    ]


def merged_with(recipe: TrainRecipe) -> list[str]:
    """That the weights are a mean, where they are."""
    other = recipe.merge
    if not other.model:
        return []
    return [
        f"- Weights: {other.share:g} x the trained ones + {1 - other.share:g} x those of `{other.model}` (WiSE-FT, "
        "[2109.01903](https://arxiv.org/abs/2109.01903))"
    ]


def measured(recipe: TrainRecipe, before: Summary, after: Summary, change: Summary | None) -> list[str]:
    """The table of the conditions, before and after, and the notes below it."""
    play = recipe.eval
    return [
        f"{after['scenarios']} held-out scenarios of `{recipe.scenarios.evaluation}`, who answers: `{play.user}`, who "
        f"grades: `{play.judge}`, up to {play.budget} questions, temperature {play.temperature:g}. Cells are mean ± "
        "half of the 95% bootstrap interval, clustered by problem, before → after. `baseline` is told nothing, "
        "`discovery` may ask, `oracle` is told the person and all preferences. Alignment is on 1..5; normalized is the "
        "share of the way from baseline to oracle, negative the share of scenarios below their own baseline. Every "
        "figure with its interval is in `summary.json`.",
        "",
        markdown_table(before, after),
        "",
        *(f"- {line}" for line in notes(before, after, change)),
    ]


def tradeoff(before: Summary, after: Summary) -> list[str]:
    """What personalization costs in accuracy and what it brings, read off the numbers with their intervals."""
    lines = []
    for label, stage in (("Before training", before), ("After training", after)):
        change, gain, harm = (
            at(stage, ("discovery", name)) for name in ("accuracy_change", "normalized_alignment", "negative_rate")
        )
        if any(at(estimate, ("mean",)) is None for estimate in (change, gain, harm)):
            lines.append(f"{label}: not measured.")
            continue
        low, high = change["ci"]
        verdict = "no change of accuracy can be told from chance"
        if high < 0 or low > 0:
            verdict = f"personalizing {'costs' if high < 0 else 'gains'} accuracy"
        lines.append(
            f"{label}: {verdict}: {spelled(change, 100, ' points')}, discovery - baseline. It brings "
            f"{spelled(gain, 1, '%')} of the alignment that a full profile brings. In {spelled(harm, 100, '%')} of the "
            "scenarios the answer fits the person less than one that knows nothing about them."
        )
    return lines


def spelled(estimate: Mapping[str, Any], scale: float, unit: str) -> str:
    """`1.0 points (95% interval -2.6 to 4.6)`."""
    low, high = estimate["ci"]
    return f"{scale * estimate['mean']:.1f}{unit} (95% interval {scale * low:.1f} to {scale * high:.1f})"


def learned_from(recipe: TrainRecipe, summary: Mapping[str, Any], data: Path) -> list[str]:
    """The data card without its tables by group, or what there is instead of data."""
    if not has_data(recipe):
        examples = f", {summary['training']['examples']} episodes in all" if "examples" in summary["training"] else ""
        return [
            f"No data set: the model learned from dialogues that it played itself while training{examples}, on up to "
            f"{recipe.scenarios.train_limit} scenarios of `{recipe.scenarios.training}`."
        ]
    text = (data_card(data) or "\n\nIts data card is not there any more.").partition("\n## Survivors by")[0]
    return [f"Data `{data.name}`, {summary['training']['examples']} examples. {_without_title(text)}"]


def has_data(recipe: TrainRecipe) -> bool:
    """Whether the recipe makes its data before it trains."""
    return isinstance(recipe, SFTRecipe) and recipe.data.engine != "onpolicy"


def data_card(data: Path) -> str | None:
    """The data card of a data folder, None where there is none."""
    path = data / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _without_title(text: str) -> str:
    return text.partition("\n\n")[2].replace("\n## ", "\n### ").strip()


def resolved(recipe: TrainRecipe) -> list[str]:
    """The recipe as it was resolved, folded."""
    return [
        f"Every setting, defaults included; `train/{recipe.kind}.py recipe=config.yaml` trains with the same.",
        "",
        f"<details>\n<summary>{recipe.name}, resolved</summary>\n\n```yaml\n{recipe.to_yaml()}```\n\n</details>",
    ]


def limits(recipe: TrainRecipe) -> list[str]:
    """What the numbers do not say."""
    pocket = recipe.scenarios.source == "pocket"
    world = [
        "It was trained and measured in Pocket, an embedded world of small problems: it may speak nothing but that "
        "world's language, and these numbers say nothing about other tasks."
    ]
    return [
        "The people are simulated, and so are the grades; the numbers say nothing about real people.",
        *(world if pocket else ["The numbers hold for scenarios of this kind; other tasks were not measured."]),
        "One training run: the intervals are over problems, not over trainings with other seeds.",
        f"Up to {recipe.eval.budget} questions were allowed, and {recipe.eval.max_tokens} tokens a turn.",
        "It adapts to whatever it is told; nothing checks whether that is good for the person.",
    ]


def weights(sha256: Mapping[str, str]) -> list[str]:
    """The files of weights with their hashes."""
    return ["SHA-256; `sha256sum -c SHA256SUMS` checks every file.", "", *(f"- `{n}` `{h}`" for n, h in sha256.items())]


def references(recipe: TrainRecipe) -> list[str]:
    """The papers that the method, the measures and the questions are from, as BibTeX."""
    tpo = isinstance(recipe, RLRecipe) and recipe.objective == "tpo"
    distilled = isinstance(recipe, SFTRecipe)
    papers = [PREFDISCO, *([PRIME] if distilled else []), *([TPO] if tpo else []), PEP]
    entries = [
        f"@misc{{arxiv{number.replace('.', '_')},\n  title = {{{title}}},\n  year = {{{year}}},\n"
        f"  eprint = {{{number}}},\n  archivePrefix = {{arXiv}},\n  url = {{https://arxiv.org/abs/{number}}}\n}}"
        for title, number, year in papers
    ]
    return ["```bibtex", "\n\n".join(entries), "```"]
