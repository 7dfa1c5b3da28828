"""A model watched while it trains: evaluated on scenarios that nothing else uses, and stopped where it collapses.

Every `watch.every` steps the weights of the moment play `watch.limit` scenarios under baseline, discovery and oracle,
each time with the same seeds. The checkpoint of a run is the save whose reward was highest here; the final evaluation
is on other scenarios, so nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from prefdisco.config import RLRecipe, WatchConfig
from prefdisco.evaluate import evaluate_scenarios
from prefdisco.llm.base import Model, Sampling
from prefdisco.llm.local import load
from prefdisco.llm.loops import run
from prefdisco.metrics import summarize
from prefdisco.scenarios import ceiling_of
from prefdisco.schema import Episode, Scenario
from prefdisco.training.processes import collected
from prefdisco.training.references import Reference
from prefdisco.training.rewards import parts
from prefdisco.world import World

CONDITIONS = ("baseline", "discovery", "oracle")
BROKEN = ("episodes/malformed", "episodes/truncated", "episodes/empty")
TOGETHER = 32  # dialogues scored at a time for the divergence
# name in the log -> where it stands in the summary of an evaluation
FIGURES = {
    "accuracy": ("conditions", "discovery", "accuracy"),
    "alignment": ("conditions", "discovery", "alignment"),
    "questions": ("conditions", "discovery", "questions"),
    "baseline_accuracy": ("conditions", "baseline", "accuracy"),
    "baseline_alignment": ("conditions", "baseline", "alignment"),
    "oracle_accuracy": ("conditions", "oracle", "accuracy"),
    "oracle_alignment": ("conditions", "oracle", "alignment"),
    "normalized": ("discovery", "normalized_alignment"),  # this and the next are percentages there, shares here
    "share_of_ceiling": ("ceiling", "share_of_ceiling"),
    "negative_rate": ("discovery", "negative_rate"),
    "accuracy_change": ("discovery", "accuracy_change"),
    "precision": ("discovery", "precision"),
    "recall": ("discovery", "recall"),
    "guesses": ("discovery", "guesses"),
    "adaptivity": ("discovery", "adaptivity"),
    "parse_rate": ("conditions", "discovery", "thinking", "parse_rate"),
    "empty_thinking": ("conditions", "discovery", "thinking", "empty"),
    "repetition": ("conditions", "discovery", "thinking", "repetition"),
}


class Watch:
    """The evaluation while training. `references` has those of the watched `scenarios`; `floor` is the accuracy that a
    constraint holds, None without one."""

    def __init__(
        self,
        recipe: RLRecipe,
        scenarios: Sequence[Scenario],
        references: Mapping[str, Reference],
        world: World,
        floor: float | None,
    ) -> None:
        self.recipe, self.world, self.floor = recipe, world, floor
        self.references = references
        self.scenarios = [scenario for scenario in scenarios if scenario.id in references]
        self.ceiling = ceiling_of(self.scenarios, recipe.rollout.budget)

    def __call__(self, trainer: Any, agent: Model) -> dict[str, float]:
        """The figures of the moment, means only; `reward` is what the best checkpoint is chosen by. Every rank calls
        it, plays its share, and returns the same."""
        rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
        own = self.play(agent, self.scenarios[rank::ranks])
        nats = self.divergences(trainer, [e for e in own if e.condition == "discovery" and e.error is None])
        everyone, nats = collected(own), collected(nats)
        summary = summarize(everyone, self.ceiling, resamples=2)
        figures = {name: found for name, path in FIGURES.items() if (found := looked_up(summary, path)) is not None}
        figures.update({name: figures[name] / 100 for name in ("normalized", "share_of_ceiling") if name in figures})
        kl = {"kl": sum(total for total, _ in nats) / max(sum(count for _, count in nats), 1)}
        return {"reward": self.reward(everyone), **figures, **kl, "errors": float(summary["errors"])}

    def play(self, agent: Model, scenarios: Sequence[Scenario]) -> list[Episode]:
        """All conditions, as the recipe's rollouts are played."""
        settings = self.recipe.rollout
        sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
        user, judge = self.world.user, self.world.judge
        return run(
            evaluate_scenarios(
                scenarios,
                agent,
                user,
                judge,
                CONDITIONS,
                [0],
                sampling,
                settings.budget,
                progress=False,
                adaptivity=self.recipe.watch.adaptivity,
            )
        )

    def reward(self, episodes: Sequence[Episode]) -> float:
        """The recipe's reward, a mean over the episodes of discovery; what lacks to a constraint's floor counts as in
        training with the largest multiplier."""
        played = [e for e in episodes if e.condition == "discovery" and e.error is None]
        if not played:
            return 0.0
        weighted = parts(self.recipe.reward).values()
        value = fmean(sum(w * part(e, self.references[e.scenario_id]) for part, w in weighted) for e in played)
        if self.floor is not None:
            accuracy = fmean(float(bool(episode.correct)) for episode in played)
            value -= self.recipe.constraint.most * max(0.0, self.floor - accuracy)
        return value

    def divergences(self, trainer: Any, episodes: Sequence[Episode]) -> list[tuple[float, int]]:
        """(sum over the agent's tokens of an estimate of KL(now || start) in nats, number of tokens) of each episode.

        The estimate at a sampled token is s/n - 1 - log(s/n) for its probabilities s at the start and n now: not
        negative, and right in the mean (Schulman, "Approximating KL divergence", k3).
        """
        start = load(self.recipe.model, device="cpu", dtype=self.recipe.dtype)[0].to(trainer.accelerator.device).eval()
        found = []
        lines = [episode.tokens for episode in episodes if episode.tokens is not None]
        for first in range(0, len(lines), TOGETHER):
            batch = lines[first : first + TOGETHER]
            scores = logprobs(start, [line.ids for line in batch], self.recipe.rollout.temperature)
            for line, score in zip(batch, scores, strict=True):
                own = torch.tensor(line.mask[1:], dtype=torch.bool)
                ratio = (score - torch.tensor(line.logprobs[1:]))[own]
                found.append((float((ratio.exp() - 1 - ratio).sum()), int(own.sum())))
        return found


@torch.no_grad()
def logprobs(model: PreTrainedModel, rows: Sequence[Sequence[int]], temperature: float) -> list[torch.Tensor]:
    """The log-probability of each token but the first, after those before it: [len(row) - 1] for each row of ids."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)
    seen = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1].float() / temperature
    scores = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].cpu()
    return [score[: len(row) - 1] for score, row in zip(scores, rows, strict=True)]


def looked_up(summary: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The mean of the estimate at this place of a summary; None where there is none."""
    found: Any = summary
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found.get("mean") if isinstance(found, Mapping) else found


class Collapse(TrainerCallback, ExportableState):
    """Ends a training that destroys its model, and says why in `reason`; empty where all went well.

    Either the reward on the watched scenarios has fallen by `watch.collapse` below that of the start, or more than the
    share `watch.broken` of a step's episodes cannot be read, were cut off or are empty.
    """

    def __init__(self, settings: WatchConfig) -> None:
        self.settings = settings
        self.start: float | None = None
        self.reason = ""

    def state(self) -> dict[str, Any]:
        """What the trainer saves."""
        return {"args": {}, "attributes": {"start": self.start, "reason": self.reason}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the save that the trainer goes on from."""
        saved: Any = state.stateful_callbacks  # a dict by now, whatever its annotation says
        for name, value in saved.get(type(self).__name__, {}).get("attributes", {}).items():
            setattr(self, name, value)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """A step's episodes are in."""
        for name in BROKEN:
            share = (logs or {}).get(name)
            if share is not None and share > self.settings.broken:
                self.stop(state, control, f"{share:.0%} of the episodes were {name.rpartition('/')[2]}")

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """The watched scenarios are played."""
        reward = metrics["eval_reward"]
        if self.start is None:
            self.start = reward
        elif reward < self.start - self.settings.collapse:
            self.stop(
                state, control, f"the reward on watched scenarios is {reward:.2f}, at the start it was {self.start:.2f}"
            )

    def stop(self, state: TrainerState, control: TrainerControl, why: str) -> None:
        """End the training after this step."""
        self.reason = self.reason or f"stopped at step {state.global_step}: {why}"
        control.should_training_stop = True
