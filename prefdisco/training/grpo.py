"""TRL's GRPOTrainer with one advantage a token, in place of one a sequence, and with a constraint.

TRL's loss takes advantages of shape [B, T] already (`GRPOTrainer._compute_loss`); only making them is ours. Three
hooks: `_generate_and_score_completions` sets the weight of a right answer and adds the credit of each question to the
outcome advantage; `_compute_loss` cuts off the columns that are padding in a whole micro-batch, which changes no loss;
`evaluate` plays the watched scenarios.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer

from prefdisco.config import RewardConfig
from prefdisco.report.curves import save_curves
from prefdisco.training.credit import by_token, centred
from prefdisco.training.multiplier import Multiplier
from prefdisco.training.processes import collected
from prefdisco.training.replay import Replay
from prefdisco.training.rollouts import Rollout
from prefdisco.training.trainer import WithMuon
from prefdisco.training.watch import Collapse, Watch

UNSCORED = "All reward functions returned None"  # TRL prints all of such an episode; we count it
SHOWN = (
    "reward", "episodes/normalized", "episodes/accuracy", "episodes/questions", "episodes/precision",
    "episodes/recall", "episodes/error", "episodes/truncated", "drafts/accuracy", "episodes/baseline_accuracy",
    "entropy", "kl", "replay", "constraint/multiplier",
)  # fmt: skip

HELD_OUT = (
    "eval_reward", "eval_normalized", "eval_accuracy", "eval_baseline_accuracy", "eval_questions", "eval_precision",
    "eval_recall", "eval_adaptivity", "eval_parse_rate", "eval_kl",
)  # fmt: skip


class DialogueTrainer(WithMuon, GRPOTrainer):
    """GRPO on dialogues; `reward` says what questions earn beside the reward functions.

    With `drafted`, the advantage of a turn is its credit among the drafts it was chosen from (candidates.py).

    `multiplier` is added to the weight of the reward function called "correctness"; `watch` is the evaluation; `replay`
    has dialogues that each step learns besides.
    """

    model: nn.Module

    def __init__(
        self,
        *args: Any,
        reward: RewardConfig,
        drafted: bool = False,
        multiplier: Multiplier | None = None,
        watch: Watch | None = None,
        replay: Replay | None = None,
        **kwargs: Any,
    ) -> None:
        self.reward, self.drafted, self.multiplier, self.watch = reward, drafted, multiplier, watch
        self.replay = replay
        logging.getLogger("trl.trainer.grpo_trainer").addFilter(lambda record: UNSCORED not in str(record.msg))
        super().__init__(*args, **kwargs)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(StepLines())
        self.given_weights = self.reward_weights.clone()

    @property
    def current_reward(self) -> RewardConfig:
        """The recipe's reward, with the multiplier of the moment."""
        extra = self.multiplier.value if self.multiplier is not None else 0.0
        return self.reward.model_copy(update={"correctness": self.reward.correctness + extra})

    @property
    def stopped(self) -> str:
        """Why the training ended before its last step; empty where it did not."""
        return next((each.reason for each in self.callback_handler.callbacks if isinstance(each, Collapse)), "")

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Play the watched scenarios; the figures are logged as `eval_...`, and drawn with all that was logged."""
        assert self.watch is not None  # TrainingArguments.eval_strategy is "no" without
        self.model.eval()  # what is logged now is TRL's "eval"
        rollouts: Any = self.rollout_func  # Rollouts
        with rollouts.player(self) as agent:
            figures = {f"eval_{name}": value for name, value in self.watch(self, agent).items()}
        self.log(figures)
        self.model.train()
        if self.is_world_process_zero():
            save_curves(Path(str(self.args.output_dir)).parent / "figures", self.state.log_history)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.multiplier is not None:
            self.reward_weights = self.given_weights.clone()
            self.reward_weights[self.reward_func_names.index("correctness")] += self.multiplier.value
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        logged = self._metrics["train"]  # of all processes: all come to the same multiplier
        accuracy = logged.get("drafts/accuracy" if self.drafted else "episodes/accuracy")
        if self.multiplier is not None and accuracy:
            logged["constraint/multiplier"].append(self.multiplier.value)
            self.multiplier.update(accuracy[-1])
        rollouts: list[Rollout] = [row["rollout"] for row in inputs]
        shape = output["completion_ids"].shape
        if self.drafted:
            output["advantages"] = self.on_tokens([each.credits or [] for each in rollouts], rollouts, shape)
        elif self.reward.information:
            credits = self.on_tokens(self.centred(rollouts), rollouts, shape)
            output["advantages"] = output["advantages"][:, None] + self.reward.information * credits
        return output

    def centred(self, rollouts: Sequence[Rollout]) -> list[list[float]]:
        """What questions brought beyond those of their group; all ranks call it, because a group may be spread."""
        own = [(rollout.episode.scenario_id, rollout.gains) for rollout in rollouts]
        everyone = collected(own)
        found = centred([group for group, _ in everyone], [gains for _, gains in everyone], self.scale_rewards)
        first = self.accelerator.process_index * len(own)
        return found[first : first + len(own)]

    def on_tokens(self, values: list[list[float]], rollouts: list[Rollout], shape: torch.Size) -> torch.Tensor:
        """The value of each turn at its tokens [B, T], 0 outside."""
        found = torch.zeros(shape)
        for row, (rollout, value) in enumerate(zip(rollouts, values, strict=True)):
            if value and rollout.episode.tokens is not None:
                mask = rollout.episode.tokens.mask
                line = by_token(value, mask[mask.index(1) :])
                found[row, : len(line)] = torch.tensor(line)
        return found.to(self.accelerator.device)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, cut(inputs))
        if self.replay is None:
            return loss
        batches = self.current_gradient_accumulation_steps
        place = self.state.global_step, self._step % batches, self.accelerator.process_index
        again = self.replay.loss(model, place)
        self._metrics["train"]["replay"].append(again.item())
        return loss + self.replay.settings.weight * again / batches


def cut(inputs: dict[str, Any]) -> dict[str, Any]:
    """A micro-batch without columns that are padding in all its rows: prompts are padded left, completions right."""
    start = int(inputs["prompt_mask"].any(0).int().argmax())
    width = inputs["completion_mask"].shape[1]
    end = width - int(inputs["completion_mask"].any(0).flip(0).int().argmax())

    def part(name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dim() < 2:
            return value
        if name.startswith("prompt_"):
            return value[:, start:]
        return value[:, :end] if value.shape[1] == width else value

    return {name: part(name, value) for name, value in inputs.items()}


class StepLines(ProgressCallback):
    """The trainer's progress bar, with one short line a log in place of all of it."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        shown, what = (HELD_OUT, "watched") if "eval_reward" in logs else (SHOWN, f"step {state.global_step}")
        figures = [
            f"{name.rpartition('/')[2].removeprefix('eval_')} {logs[name]:.3f}"
            for name in shown
            if logs.get(name) is not None
        ]
        if figures:
            self.training_bar.write(f"{what}: {', '.join(figures)}")

    def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `on_log` has said it."""
