"""A summary as the Hub reads results: one `EvalResult` a figure, grouped by condition in the card's `model-index`.

Values are those of `summary.json`, unrounded, with the 95% interval beside them: accuracy and rates on 0..1, alignment
on 1..5, normalized alignment and share of the ceiling in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from prefdisco.config import TrainRecipe
from prefdisco.report.cells import at

# metric, its name, its path in a condition's figures
FIGURES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("accuracy", "Accuracy", ("accuracy",)),
    ("preference_alignment", "Preference alignment, 1-5", ("alignment",)),
    ("normalized_alignment", "Normalized alignment, %", ("normalized_alignment",)),
    ("negative_rate", "Share of scenarios below their own baseline", ("negative_rate",)),
    ("questions", "Questions asked", ("questions",)),
    ("parse_rate", "Well formed turns", ("thinking", "parse_rate")),
)
# the same, with the path in the summary: what belongs to discovery alone
OF_DISCOVERY: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("accuracy_change", "Accuracy, discovery - baseline", ("discovery", "accuracy_change")),
    ("precision", "Questions that revealed a preference", ("discovery", "precision")),
    ("recall", "Weight of the revealed preferences", ("discovery", "recall")),
    ("share_of_ceiling", "Gain, % of the best questioner's", ("ceiling", "share_of_ceiling")),
)


def results(recipe: TrainRecipe, summary: Mapping[str, Any]) -> list[EvalResult]:
    """Every figure of an evaluation's summary that has a value, by condition."""
    found = []
    for condition, figures in summary["conditions"].items():
        wanted = [(metric, name, at(figures, path)) for metric, name, path in FIGURES]
        if condition == "discovery":
            wanted += [(metric, name, at(summary, path)) for metric, name, path in OF_DISCOVERY]
        found += [
            result(recipe, summary, condition, metric, name, estimate)
            for metric, name, estimate in wanted
            if at(estimate, ("mean",)) is not None
        ]
    return found


def result(
    recipe: TrainRecipe, summary: Mapping[str, Any], condition: str, metric: str, name: str, estimate: Mapping[str, Any]
) -> EvalResult:
    """One figure as the Hub's record."""
    world, _, split = Path(recipe.scenarios.evaluation).name.partition(":")
    return EvalResult(
        task_type="text-generation",
        task_name=f"Personalized reasoning, {condition}",
        dataset_type=world,
        dataset_name="Pocket" if world == "pocket" else world,
        dataset_config=condition,
        dataset_split=split or None,
        dataset_args={
            "scenarios": summary["scenarios"],
            "seeds": list(summary["seeds"]),
            "budget": recipe.eval.budget,
            "user": recipe.eval.user,
            "judge": recipe.eval.judge,
        },
        metric_type=metric,
        metric_name=name,
        metric_value=estimate["mean"],
        metric_args={"interval_95": list(estimate["ci"])},
    )
