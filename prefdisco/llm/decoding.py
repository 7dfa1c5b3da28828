"""Continuous batching: one decode loop over rows that come and go.

All live rows occupy the first slots of one key-value cache. A finished row gives its slot to the last one, new rows are
appended behind, so every step works on a dense slice; rows have their own lengths, and a mask hides what lies beyond.
The idea is that of Orca (Yu et al., OSDI 2022); here it is on top of any transformers model with full attention.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel

from prefdisco.llm.base import Finish, Sampling
from prefdisco.llm.sampling import draw, uniforms
from prefdisco.llm.slots import SlotCache, Snapshot

PREFILL_TOKENS = 4096  # padded tokens in one prompt pass: larger ones leave the processor's caches
ADMIT_EVERY = 8  # decode steps between two looks at the waiting requests, unless much is lost by then:
IDLE_SHARE = 0.5  # of the live rows; waiting ones are let in once they have lost so many steps together


@dataclass(eq=False)
class Row:
    """One request while it is served; `future` is done when the row is, or gets the error that ended it.

    It must not hold the row: a row in a cycle keeps its tensors until the garbage collector comes by.

    `past` holds the keys and values of the first tokens of `prompt` where they are known, and with `keep` those of the
    whole row when it is done.
    """

    prompt: list[int]
    sampling: Sampling
    room: int  # tokens to write at most
    past: Snapshot | None = None
    keep: bool = False
    future: Future[None] = field(default_factory=Future)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Finish = "length"
    draws: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def known(self) -> int:
        """Tokens at the start of the prompt whose keys and values are at hand."""
        return self.past[0][0].shape[1] if self.past else 0

    @property
    def length(self) -> int:
        """Tokens of the row that are in the cache while it decodes: all but the one sampled last."""
        return len(self.prompt) + max(len(self.ids) - 1, 0)

    def settle(self, error: Exception | None = None) -> None:
        """Tell the caller, unless it has gone away."""
        if self.future.set_running_or_notify_cancel():
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(error)


class Decoder:
    """Serves rows with at most `batch_size` of them live at a time. One thread at a time may call `serve`."""

    def __init__(self, model: PreTrainedModel, ends: Sequence[int], batch_size: int) -> None:
        self.model, self.ends, self.batch_size = model, frozenset(ends), batch_size
        unwrapped = getattr(model, "get_base_model", lambda: model)()  # peft's forward takes anything
        self.last_only = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(unwrapped.forward).parameters else {}
        )
        self.live: list[Row] = []
        self.cache = SlotCache()

    @torch.inference_mode()
    def serve(self, take: Callable[[int], list[Row]], waiting: Callable[[], int] = lambda: 0) -> None:
        """Serve until `take(most)`, which hands over at most that many waiting rows, has none and all rows are done.

        `waiting` says how many rows there are to take: a prompt pass holds up all that are live, so it is for several.
        A pass that fails ends the rows concerned with its error, and no others.
        """
        training = self.model.training
        self.model.eval()
        try:
            while (rows := take(self.batch_size - len(self.live))) or self.live:
                self.admit(rows)
                lost = 0
                for _ in range(ADMIT_EVERY):
                    self.step()
                    lost += min(waiting(), self.batch_size - len(self.live))
                    if lost > IDLE_SHARE * len(self.live) or not self.live:
                        break
        finally:
            self.model.train(training)
            self.live, self.cache = [], SlotCache()

    def admit(self, rows: list[Row]) -> None:
        """Run the prompts of new rows, in groups of similar length."""
        for row in rows:
            row.draws = uniforms(row.sampling.seed, row.room)
        waiting = sorted(rows, key=lambda row: (len(row.prompt) - row.known, row.prompt))
        while waiting:
            count = 1
            while (
                count < len(waiting)
                and (count + 1) * (len(waiting[count].prompt) - waiting[count].known) <= PREFILL_TOKENS
            ):
                count += 1
            self.prefill(waiting[:count])
            waiting = waiting[count:]

    def prefill(self, rows: list[Row]) -> None:
        """Run the prompts of one group, equal ones once, and sample every row's first token."""
        start, at = len(self.live), []
        distinct: list[Row] = []
        for row in rows:  # equal prompts are neighbours
            if not distinct or row.past or row.prompt != distinct[-1].prompt:
                distinct.append(row)
            at.append(len(distinct) - 1)
        try:
            for slot, row in reversed(list(enumerate(distinct, start))):  # the last slot first: the cache grows once
                if row.past:
                    self.cache.restore(slot, row.past)
            logits = self.forward([row.prompt[row.known :] for row in distinct], [row.known for row in distinct], start)
            # give each row its own slot, from the last to the first: sources lie at or before their copies
            for index in reversed(range(len(rows))):
                if at[index] != index:
                    self.cache.copy(start + at[index], start + index, len(rows[index].prompt))
        except Exception as error:  # raised again where the caller waits
            if len(rows) == 1:
                rows[0].settle(error)
            else:  # find the one to blame
                for row in rows:
                    self.prefill([row])
            return
        self.live += rows
        self.sample(logits[torch.tensor(at, device=logits.device)], start)

    def step(self) -> None:
        """One token more for every live row."""
        for slot in reversed([slot for slot, row in enumerate(self.live) if row.future.cancelled()]):
            self.release(slot)
        if not self.live:
            return
        try:
            logits = self.forward([row.ids[-1:] for row in self.live], [row.length for row in self.live], 0)
        except Exception as error:  # raised again where the callers wait
            rows, self.live = self.live, []
            for row in rows:
                row.settle(error)
            return
        self.sample(logits, 0)

    def forward(self, tokens: list[list[int]], known: list[int], start: int) -> torch.Tensor:
        """Logits [rows, vocabulary] after `tokens`, which follow `known` tokens that the slots from `start` on hold."""
        width = max(map(len, tokens))
        padding = torch.tensor([width - len(row) for row in tokens])[:, None]
        ids = torch.tensor([[0] * (width - len(row)) + row for row in tokens])
        positions = torch.tensor(known)[:, None] + torch.arange(width) - padding
        real = torch.arange(width) >= padding
        span = max(before + len(row) for before, row in zip(known, tokens, strict=True))
        device, dtype = self.model.device, self.model.dtype
        seen = positions.clamp(min=0)
        hidden = (
            torch.arange(span) > torch.where(real, seen, 0)[:, :, None]
        )  # padding sees position 0: never no key at all
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)
        self.cache.aim(slice(start, start + len(tokens)), torch.where(real, positions, -1).to(device), span)
        output = self.model(
            input_ids=ids.to(device),
            attention_mask=mask[:, None].to(device),
            position_ids=seen.to(device),
            past_key_values=self.cache,
            use_cache=True,
            **self.last_only,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def sample(self, logits: torch.Tensor, start: int) -> None:
        """Draw the next token of the rows from `start` on, and let go of those that are done."""
        rows = self.live[start:]
        numbers = [(row.sampling.temperature, row.sampling.top_p, row.draws[len(row.ids)]) for row in rows]
        temperature, top_p, u = torch.tensor(numbers, dtype=torch.float64, device=logits.device).T
        tokens, logprobs = draw(logits, temperature.float(), top_p, u)
        done = []
        for slot, (row, token, logprob) in enumerate(zip(rows, tokens.tolist(), logprobs.tolist(), strict=True), start):
            row.ids.append(token)
            row.logprobs.append(logprob)
            if token in self.ends:
                row.finish = "stop"
            if token in self.ends or len(row.ids) == row.room:
                done.append(slot)
        for slot in reversed(done):
            row = self.live[slot]
            row.past = self.cache.snapshot(slot, row.length) if row.keep else None
            self.release(slot)
            row.settle()

    def release(self, slot: int) -> None:
        """Give a row's slot to the last live row."""
        last = self.live.pop()
        if slot < len(self.live):
            self.cache.copy(len(self.live), slot, last.length)
            self.live[slot] = last
