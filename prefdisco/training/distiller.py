"""The student, its teacher, and one optimizer: steps of on-policy distillation on given pairs."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, SchedulerType
from trl import SFTConfig

from prefdisco.config import OnPolicyConfig
from prefdisco.training.divergence import divergence
from prefdisco.training.optimizer import MuonAdamW
from prefdisco.training.pairs import Pair

ROUND_UP = 32  # batches are padded to multiples of it: few shapes, so that memory is used again
MADE_OF_STUDENT = ("start", "ema", "self")  # teachers that are no checkpoint of their own
SHAPES: dict[str, Callable[[float], float]] = {  # the learning rate's share of its peak, by the share of work done
    "constant": lambda done: 1.0,
    "constant_with_warmup": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}


class Distiller:
    """Moves `model` towards its teacher, in place.

    The loss of a step is the mean divergence from the teacher over all taught tokens of its pairs, plus
    `keep_questions` times the mean KL(start || student) over all kept ones, under the student's own prompt. Learning
    rate, batches, clipping and precision are those of `arguments`. `anchor` is SFTRecipe's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        teacher: PreTrainedModel | None,
        settings: OnPolicyConfig,
        arguments: SFTConfig,
        muon: bool = False,
        anchor: float = 0.0,
    ) -> None:
        self.model, self.settings, self.arguments, self.anchor = model, settings, arguments, anchor
        self.start = frozen(model)
        if teacher is not None:
            self.teacher = teacher.eval().requires_grad_(False)
        else:
            self.teacher = {"start": self.start, "self": model}.get(settings.teacher) or frozen(model)
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.optimizer = optimizer_of(model, arguments, muon)
        self.steps = 0
        if arguments.gradient_checkpointing:
            model.gradient_checkpointing_enable()

    def learn(
        self, pairs: Sequence[Pair], seed: int, begin: float, end: float, tick: Callable[[int], Any]
    ) -> dict[str, float]:
        """Go through `pairs` once for each epoch; returns the mean `divergence` and `kept` in nats a token.

        `begin` and `end` are shares of the whole training, for the learning rate; `tick(n)` is called for n pairs.
        """
        epochs = int(self.arguments.num_train_epochs)
        plan = [group for epoch in range(epochs) for group in self.groups(pairs, seed + epoch)]
        totals = [0.0, 0.0]
        self.model.train(self.arguments.gradient_checkpointing)  # else as it was when it played: without dropout
        for number, group in enumerate(plan):
            self.set_rate(begin + (end - begin) * number / len(plan))
            for index, total in enumerate(self.step(group)):
                totals[index] += total
            tick(sum(map(len, group)))
        self.model.eval()
        taught, kept = (epochs * count for count in counts(pairs))
        return {"divergence": totals[0] / max(taught, 1), "kept": totals[1] / max(kept, 1)}

    def groups(self, pairs: Sequence[Pair], seed: int) -> Iterator[list[list[Pair]]]:
        """The steps of one epoch: each a few batches of pairs of like length, in random order."""
        size, most = self.arguments.per_device_train_batch_size, self.arguments.gradient_accumulation_steps
        order = random.Random(seed)
        shuffled = order.sample(list(pairs), len(pairs))
        ranked = sorted(shuffled, key=lambda each: len(each.ids))
        batches = [ranked[at : at + size] for at in range(0, len(ranked), size)]
        order.shuffle(batches)
        return (batches[at : at + most] for at in range(0, len(batches), most))

    def step(self, group: Sequence[Sequence[Pair]]) -> tuple[float, float]:
        """One step of the optimizer on all batches of `group`; returns the two unweighted sums, in nats."""
        taught, kept = counts([each for batch in group for each in batch])
        sums = [0.0, 0.0]
        for batch in group:
            learned, held = self.losses(batch)
            loss = learned / max(taught, 1) + self.settings.keep_questions * held / max(kept, 1)
            loss.backward()
            sums[0] += learned.item()
            sums[1] += held.item()
        nn.utils.clip_grad_norm_(self.weights.values(), self.arguments.max_grad_norm or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.anchor:  # as prefdisco.training.anchor does for TRL's trainer
            follow(self.model, self.start, self.optimizer.param_groups[0]["lr"] * self.anchor)
        if self.settings.teacher == "ema":
            follow(self.teacher, self.model, self.settings.ema_rate)
        return sums[0], sums[1]

    def losses(self, batch: Sequence[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
        """The sums over taught and unlearned tokens of the divergence, over kept ones of KL(start || student)."""
        logits = self.logits(self.model, [each.ids for each in batch])
        with torch.no_grad():
            target = self.logits(self.teacher, [each.teacher_ids for each in batch])
        learned = logits.new_zeros((), dtype=torch.float32)
        # reverse KL has no gradient where the student is sure of what the teacher would never do; forward KL has
        for name, beta in (("taught", self.settings.beta), ("unlearned", 0.0)):
            places = [getattr(each, name) for each in batch]
            there = [each.at_teacher(positions) for each, positions in zip(batch, places, strict=True)]
            learned = (
                learned + divergence(at(logits, places), at(target, there), beta, self.settings.loss_temperature).sum()
            )
        rows = [row for row, each in enumerate(batch) if each.kept]
        if not self.settings.keep_questions or not rows:
            return learned, learned.new_zeros(())
        with torch.no_grad():
            before = self.logits(self.start, [batch[row].ids for row in rows])
        places = [batch[row].kept for row in rows]
        return learned, divergence(at(logits[rows], places), at(before, places), beta=0.0).sum()

    def logits(self, model: PreTrainedModel, rows: Sequence[list[int]]) -> torch.Tensor:
        """What `model` predicts after each token of `rows`: [rows, longest, vocabulary]."""
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bool(self.arguments.bf16)):
            logits: torch.Tensor = model(input_ids=self.padded(rows), use_cache=False).logits
        return logits

    def padded(self, rows: Sequence[list[int]]) -> torch.Tensor:
        """Token ids [rows, longest]. Padding follows the text, so causal attention hides it without a mask."""
        longest = max(map(len, rows))
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or longest
        width = max(longest, min(-(-longest // ROUND_UP) * ROUND_UP, limit))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.model.device)

    def set_rate(self, done: float) -> None:
        """The learning rate at this share of the training, and of the warm-up's steps."""
        arguments = self.arguments
        warm = min(1.0, (self.steps + 1) / max(arguments.warmup_steps, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = arguments.learning_rate * warm * SHAPES[shape_of(arguments)](done)

    def state(self) -> dict[str, Any]:
        """All that changes: `load_state` continues from it, to the same weights."""
        return {
            "weights": self.weights,
            "optimizer": self.optimizer.state_dict(),
            "teacher": self.teacher.state_dict() if self.settings.teacher == "ema" else None,
            "steps": self.steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["teacher"] is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.steps = state["steps"]


def at(logits: torch.Tensor, places: Sequence[Sequence[int]]) -> torch.Tensor:
    """[tokens, vocabulary]: what predicts the tokens at `places` of each row, out of `logits` [rows, length, ..]."""
    rows = torch.tensor([row for row, positions in enumerate(places) for _ in positions], dtype=torch.long)
    before = torch.tensor([position - 1 for positions in places for position in positions], dtype=torch.long)
    return logits[rows.to(logits.device), before.to(logits.device)]


def shape_of(arguments: SFTConfig) -> str:
    """The name of the learning rate's schedule."""
    return SchedulerType(arguments.lr_scheduler_type).value


def counts(pairs: Sequence[Pair]) -> tuple[int, int]:
    """How many tokens are taught or unlearned, and how many kept."""
    return sum(len(each.taught) + len(each.unlearned) for each in pairs), sum(len(each.kept) for each in pairs)


def frozen(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model as it is now that does not learn."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, rate: float) -> None:
    """Move `average` by the share `rate` of the way to `model`."""
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, rate)


def optimizer_of(model: PreTrainedModel, arguments: SFTConfig, muon: bool) -> torch.optim.Optimizer:
    """AdamW, or Muon for the matrices, with the rate, betas and weight decay of `arguments`."""
    if muon:
        return MuonAdamW.from_arguments(model, arguments)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    return torch.optim.AdamW(weights, arguments.learning_rate, betas, arguments.adam_epsilon, arguments.weight_decay)
