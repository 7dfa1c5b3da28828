"""Continuous batching: one decode loop over rows that come and go.

All live rows occupy the first slots of one key-value cache. A finished row gives its slot to the last one, new rows are
appended behind, so every step works on a dense slice; rows have their own lengths, and a mask hides what lies beyond.
The idea is that of Orca (Yu et al., OSDI 2022); here it is on top of any transformers model with full attention.

Rows of one family continue the same prompt, and share a slot: the prompt's keys and values are there once, and the s-th
token of the b-th of k rows lies at len(prompt) + s * k + b, where the mask hides it from the others. Reading keys and
values is what a step of many rows costs, so drafts of one turn cost little more than one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from prefdisco.llm.rows import Lane, Row, lanes_of
from prefdisco.llm.sampling import draw, uniforms
from prefdisco.llm.slots import SlotCache

PREFILL_TOKENS = 4096  # padded tokens in one prompt pass: larger ones leave the processor's caches
ADMIT_EVERY = 8  # decode steps between two looks at the waiting requests, unless much is lost by then:
IDLE_SHARE = 0.5  # of the live rows; waiting ones are let in once they have lost so many steps together


class Decoder:
    """Serves rows with at most `batch_size` of them live at a time. One thread at a time may call `serve`."""

    def __init__(self, model: PreTrainedModel, ends: Sequence[int], batch_size: int) -> None:
        self.model, self.ends, self.batch_size = model, frozenset(ends), batch_size
        unwrapped = getattr(model, "get_base_model", lambda: model)()  # peft's forward takes anything
        self.keeps_last = "logits_to_keep" in inspect.signature(unwrapped.forward).parameters
        self.live: list[Lane] = []
        self.cache = SlotCache()

    @property
    def room(self) -> int:
        """Rows that may be let in."""
        return self.batch_size - sum(len(lane.open) for lane in self.live)

    @torch.inference_mode()
    def serve(self, take: Callable[[int], list[Row]], waiting: Callable[[], int] = lambda: 0) -> None:
        """Serve until `take(most)`, which hands over at most that many waiting rows, has none and all rows are done.

        `waiting` says how many rows there are to take: a prompt pass holds up all that are live, so it is for several.
        A pass that fails ends the rows concerned with its error, and no others.
        """
        training = self.model.training
        self.model.eval()
        try:
            while (rows := take(self.room)) or self.live:
                self.admit(rows)
                self.drop_cancelled()
                lost = 0
                for _ in range(ADMIT_EVERY):
                    self.step()
                    room = self.room
                    lost += min(waiting(), room)
                    if lost > IDLE_SHARE * (self.batch_size - room) or not self.live:
                        break
        finally:
            self.model.train(training)
            self.live, self.cache = [], SlotCache()

    def admit(self, rows: list[Row]) -> None:
        """Run the prompts of new rows, in groups of similar length."""
        for row in rows:
            row.draws = uniforms(row.sampling.seed, row.room)
        waiting = sorted(lanes_of(rows), key=lambda lane: (len(lane.prompt) - lane.known, lane.prompt))
        while waiting:
            count = 1
            while (
                count < len(waiting)
                and (count + 1) * (len(waiting[count].prompt) - waiting[count].known) <= PREFILL_TOKENS
            ):
                count += 1
            self.prefill(waiting[:count])
            waiting = waiting[count:]

    def prefill(self, lanes: list[Lane]) -> None:
        """Run the prompts of one group, equal ones once, and sample every row's first token."""
        start, at = len(self.live), []
        distinct: list[Lane] = []
        for lane in lanes:  # equal prompts are neighbours
            if not distinct or lane.past or lane.prompt != distinct[-1].prompt:
                distinct.append(lane)
            at.append(len(distinct) - 1)
        try:
            for slot, lane in reversed(list(enumerate(distinct, start))):  # the last slot first: the cache grows once
                if lane.past:
                    self.cache.restore(slot, lane.past)
            logits = self.read(
                [lane.prompt[lane.known :] for lane in distinct], [lane.known for lane in distinct], start
            )
            # give each lane its own slot, from the last to the first: sources lie at or before their copies
            for index in reversed(range(len(lanes))):
                if at[index] != index:
                    self.cache.copy(start + at[index], start + index, len(lanes[index].prompt))
        except Exception as error:  # raised again where the caller waits
            if len(lanes) == 1:
                for row in lanes[0].rows:
                    row.settle(error)
            else:  # find the one to blame
                for lane in lanes:
                    self.prefill([lane])
            return
        self.live += lanes
        again = [place for place, lane in zip(at, lanes, strict=True) for _ in lane.rows]
        self.sample(logits[torch.tensor(again, device=logits.device)], start)

    def drop_cancelled(self) -> None:
        """Let go of the rows whose callers have gone away."""
        for slot in reversed(range(len(self.live))):
            lane = self.live[slot]
            lane.open = [place for place in lane.open if not lane.rows[place].future.cancelled()]
            if not lane.open:
                self.release(slot)

    def step(self) -> None:
        """One token more for every live row."""
        if not self.live:
            return
        try:
            logits = self.write()
        except Exception as error:  # raised again where the callers wait
            lanes, self.live = self.live, []
            for lane in lanes:
                for place in lane.open:
                    lane.rows[place].settle(error)
            return
        for lane in self.live:
            lane.steps += 1
        self.sample(logits, 0)

    def read(self, tokens: list[list[int]], known: list[int], start: int) -> torch.Tensor:
        """Logits [lanes, vocabulary] after `tokens`, which follow the `known` ones in the slots from `start` on."""
        width, device = max(map(len, tokens)), self.model.device
        padding = torch.tensor([width - len(row) for row in tokens], device=device)[:, None]
        column = torch.arange(width, device=device)
        positions = torch.tensor(known, device=device)[:, None] + column - padding
        positions = torch.where(column >= padding, positions, -1)
        span = max(len(row) + before for row, before in zip(tokens, known, strict=True))
        # padding sees position 0: never no key at all
        hidden = torch.arange(span, device=device) > positions.clamp(min=0)[:, :, None]
        return self.forward(tokens, positions, positions, hidden, start, 1)[:, -1]

    def write(self) -> torch.Tensor:
        """Logits [open rows, vocabulary] after the last token of each."""
        width, device = max(len(lane.open) for lane in self.live), self.model.device
        tokens = [[lane.rows[place].ids[-1] for place in lane.open] for lane in self.live]
        shape = [(len(lane.prompt), len(lane.rows), lane.steps) for lane in self.live]
        prompt, count, steps = torch.tensor(shape, device=device).T[:, :, None]
        rows = torch.tensor([[-1] * (width - len(lane.open)) + lane.open for lane in self.live], device=device)
        real = rows >= 0
        own = prompt + steps * count + rows  # where each new token lies
        span = max(len(lane.prompt) + lane.steps * len(lane.rows) + max(lane.open) + 1 for lane in self.live)
        index = torch.arange(span, device=device)
        hidden = index > own[:, :, None]
        if any(len(lane.rows) > 1 for lane in self.live):
            beyond = index - prompt[:, :, None]
            hidden |= (beyond >= 0) & (beyond % count[:, :, None] != rows[:, :, None])
        at = torch.where(real, own, -1)
        logits = self.forward(tokens, at, torch.where(real, prompt + steps, 0), hidden, 0, width)
        return logits[:, -width:][real]

    def forward(
        self,
        tokens: list[list[int]],
        at: torch.Tensor,
        positions: torch.Tensor,
        hidden: torch.Tensor,
        start: int,
        keep: int,
    ) -> torch.Tensor:
        """Logits [lanes, t or `keep`, vocabulary] of one pass over the slots from `start` on.

        `tokens` are padded on the left to t; `at` [lanes, t] is where each is kept in its slot (-1: nowhere),
        `positions` [lanes, t] where it stands in its text, `hidden` [lanes, t, span] what it must not see.
        """
        width = at.shape[1]
        ids = torch.tensor([[0] * (width - len(row)) + row for row in tokens])
        device, dtype = self.model.device, self.model.dtype
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)
        self.cache.aim(slice(start, start + len(tokens)), at, hidden.shape[-1])
        output = self.model(
            input_ids=ids.to(device),
            attention_mask=mask[:, None],
            position_ids=positions.clamp(min=0),
            past_key_values=self.cache,
            use_cache=True,
            **({"logits_to_keep": keep} if self.keeps_last else {}),
        )
        logits: torch.Tensor = output.logits
        return logits

    def sample(self, logits: torch.Tensor, start: int) -> None:
        """Draw the next token of the open rows of the lanes from `start` on, and let go of those that are done."""
        places = [(slot, place) for slot, lane in enumerate(self.live[start:], start) for place in lane.open]
        rows = [self.live[slot].rows[place] for slot, place in places]
        numbers = [(row.sampling.temperature, row.sampling.top_p, row.draws[len(row.ids)]) for row in rows]
        temperature, top_p, u = torch.tensor(numbers, dtype=torch.float64, device=logits.device).T
        tokens, logprobs = draw(logits, temperature.float(), top_p, u)
        drawn = zip(places, rows, tokens.tolist(), logprobs.tolist(), strict=True)
        for (slot, place), row, token, logprob in reversed(list(drawn)):  # the last slot first: a release moves it
            row.ids.append(token)
            row.logprobs.append(logprob)
            if token in self.ends:
                row.finish = "stop"
            if token in self.ends or len(row.ids) == row.room:
                lane = self.live[slot]
                row.past = self.cache.snapshot(slot, lane.places(place)) if row.keep else None
                lane.open.remove(place)
                if not lane.open:
                    self.release(slot)
                row.settle()

    def release(self, slot: int) -> None:
        """Give a lane's slot to the last live lane."""
        last = self.live.pop()
        if slot < len(self.live):
            self.cache.copy(len(self.live), slot, last.length)
            self.live[slot] = last
