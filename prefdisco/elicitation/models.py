"""Belief models that say how one answer moves the chance of another preference (PEP, arXiv 2602.15012).

Every model keeps a vector of statistics. An answer adds its evidence to it, and `read` turns it into what is expected
of each attribute; so all answers to all questions are looked at in one array operation. C contexts and one for those
that the group has not seen, A attributes, V values, D statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from prefdisco.elicitation.table import TIE, Floats, Table, backed_off

CLIP = 2.0  # log-odds that one answer moves at most
SIMILAR = 20.0  # scenarios' worth of doubt about a similarity
LEAST = 1e-4  # no estimated chance comes closer to 0 or 1


class Reading(NamedTuple):
    """What statistics (..., D) say. `chances` (..., A, V): P(attribute matters, with this value). `mass` (..., A, V):
    E[weight x 1(value)]. `weights` (..., A): E[weight], for the case that the attribute is known to matter."""

    chances: Floats
    mass: Floats
    weights: Floats


class Model(Protocol):
    """`start` (C + 1, D): before any answer. `evidence` (C + 1, A, 1 + V + 1, D): what an answer adds, for no
    preference, each value, and a value that training never saw. `coherent`: P(b) = sum over answers o of P(o) P(b | o).
    """

    start: Floats
    evidence: Floats
    coherent: bool

    def read(self, context: int, stats: Floats) -> Reading: ...


class Rates:
    """Backed-off rates of a table: `matters` (C + 1, A), `values` (C + 1, A, V) given that, `weights` (C + 1, A)."""

    def __init__(self, table: Table) -> None:
        hot = table.by_context(table.one_hot)
        present, trials = hot[:, :, 1:].sum(2), hot.sum(2)
        self.matters = backed_off(present, trials, 1 - table.pooled[:, 0])
        shares = table.pooled[:, 1:] / table.pooled[:, 1:].sum(1, keepdims=True)
        self.values = backed_off(hot[:, :, 1:], present[:, :, None], shares)
        self.weights = backed_off(table.by_context(table.weights), present, table.typical)

    @property
    def chances(self) -> Floats:
        """(C + 1, A, V): P(matters, with this value)."""
        return self.matters[:, :, None] * self.values


class Prior:
    """Backed-off rates; an answer says nothing about other attributes."""

    coherent = True

    def __init__(self, table: Table) -> None:
        self.rates = Rates(table)
        contexts, attributes, values = self.rates.values.shape
        self.start = np.zeros((contexts, 0))
        self.evidence = np.zeros((contexts, attributes, values + 2, 0))

    def read(self, context: int, stats: Floats) -> Reading:
        return _reading(self.rates.chances[context], self.rates.weights[context], stats.shape[:-1])


class NaiveBayes:
    """log odds(b | answers) = log odds(b) + sum over answers o of clip(log P(o | b) / P(o | not b)).

    The same for each value of b among those who care about b. P(o | b) is backed off to P(o), so that few scenarios are
    little evidence; a context's ratios are backed off to their mean over the group.
    """

    coherent = False

    def __init__(self, table: Table) -> None:
        self.rates = Rates(table)
        contexts, self.attributes, values = self.rates.values.shape
        hot = table.one_hot
        asked = np.concatenate([hot, 1 - hot[:, :, :1]], 2).reshape(len(table), -1)  # (n, A (V + 2))
        matters, valued = 1 - hot[:, :, 0], hot[:, :, 1:].reshape(len(table), -1)
        has = np.concatenate([matters, valued], 1)
        without = np.concatenate([1 - matters, np.repeat(matters, values, 1) - valued], 1)
        ratios = np.stack([_ratio(asked[rows], has[rows], without[rows]) for rows, _ in table.blocks])
        ratios = np.clip(_mean_backed(ratios, table, TIE), -CLIP, CLIP)
        self.evidence = ratios.reshape(contexts, self.attributes, values + 2, -1)
        self.start = np.concatenate(
            [_logit(self.rates.matters), np.log(np.maximum(self.rates.values, 1e-30)).reshape(contexts, -1)], 1
        )

    def read(self, context: int, stats: Floats) -> Reading:
        matters = 1 / (1 + np.exp(-stats[..., : self.attributes]))
        scores = stats[..., self.attributes :].reshape(*stats.shape[:-1], self.attributes, -1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        chances = matters[..., None] * shares / shares.sum(-1, keepdims=True)
        return _reading(chances, self.rates.weights[context])


class ItemCF:
    """P(b | answers) = P(b) + sd(b) sum_a phi(a, b) z(a) / (1 + sum_a |phi(a, b)|), z(a) = (x_a - P(a)) / sd(a).

    An item is an attribute: x_a is whether it matters, phi the correlation of two of them among the scenarios of a
    context, backed off to its mean over the group and to none. Values keep their rates.
    """

    coherent = False

    def __init__(self, table: Table, valued: bool = False) -> None:
        self.rates = Rates(table)
        contexts, attributes, values = self.rates.values.shape
        self.shape = (attributes, values if valued else 1)
        items = (table.one_hot[:, :, 1:] if valued else 1 - table.one_hot[:, :, :1]).reshape(len(table), -1)
        self.base = (self.rates.chances if valued else self.rates.matters).reshape(contexts, -1)
        self.spread = np.sqrt(np.clip(self.base * (1 - self.base), LEAST, None))
        alike = _mean_backed(np.stack([_correlation(items[rows]) for rows, _ in table.blocks]), table, SIMILAR)
        known = np.zeros((values + 2, self.shape[1]))  # x of the asked attribute's items, for each answer
        known[1 : 1 + values] = np.eye(values) if valued else 1
        known[-1] = 0 if valued else 1
        by_answer = (contexts, attributes, 1, -1)
        z = (known - self.base.reshape(by_answer)) / self.spread.reshape(by_answer)
        alike = alike.reshape(contexts, attributes, self.shape[1], -1)
        moved = np.einsum("caoi,caib->caob", z, alike)
        size = np.broadcast_to(np.abs(alike).sum(2)[:, :, None], moved.shape)
        if valued:
            moved, size = moved.copy(), size.copy()
            moved[:, :, -1], size[:, :, -1] = 0, 0  # a value that nobody had resembles nothing
        self.evidence = np.concatenate([moved, size], -1)
        self.start = np.zeros((contexts, self.evidence.shape[-1]))

    def read(self, context: int, stats: Floats) -> Reading:
        moved, size = np.split(stats, 2, -1)
        chances = np.clip(self.base[context] + self.spread[context] * moved / (1 + size), LEAST, 1 - LEAST)
        chances = chances.reshape(*stats.shape[:-1], *self.shape)
        if self.shape[1] == 1:
            chances = chances * self.rates.values[context]
        else:
            chances = chances * (self.rates.values[context] > 0)
            chances = chances / np.maximum(chances.sum(-1, keepdims=True), 1)
        return _reading(chances, self.rates.weights[context])


class ItemCFValue(ItemCF):
    """Item CF whose items are pairs attribute = value: an answer moves the values, and which attributes matter."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, valued=True)


class Hybrid:
    """A mixture of the models above. Its weights are fitted to how well each foretells held-out people's answers after
    some of their other answers (expectation maximization); then the parts are fitted anew on everybody."""

    coherent = False
    SWEEPS = 50
    MOST_ASKED = 5

    def __init__(self, table: Table) -> None:
        fit, held = table.split()
        self.shares = np.full(len(PARTS), 1 / len(PARTS))
        if len(fit) and len(held):
            foretold = np.stack([_foretold(part(fit), held, self.MOST_ASKED) for part in PARTS])  # (parts, answers)
            for _ in range(self.SWEEPS):
                owed = self.shares[:, None] * foretold
                self.shares = (owed / owed.sum(0)).mean(1)
        self.parts: list[Model] = [part(table) for part in PARTS]
        self.cuts = np.cumsum([part.start.shape[1] for part in self.parts])[:-1]
        self.start = np.concatenate([part.start for part in self.parts], -1)
        self.evidence = np.concatenate([part.evidence for part in self.parts], -1)

    def read(self, context: int, stats: Floats) -> Reading:
        pieces = zip(self.parts, np.split(stats, self.cuts, -1), strict=True)
        readings = [part.read(context, piece) for part, piece in pieces]
        return Reading(*(_weighted(self.shares, arrays) for arrays in zip(*readings, strict=True)))


PARTS: tuple[type[Prior] | type[NaiveBayes] | type[ItemCF] | type[ItemCFValue], ...] = (
    Prior,
    NaiveBayes,
    ItemCF,
    ItemCFValue,
)


def _reading(chances: Floats, weights: Floats, leading: tuple[int, ...] | None = None) -> Reading:
    """A reading in which an attribute's weight depends on no answer."""
    leading = chances.shape[:-2] if leading is None else leading
    chances = np.broadcast_to(chances, (*leading, *chances.shape[-2:]))
    return Reading(chances, chances * weights[:, None], np.broadcast_to(weights, (*leading, len(weights))))


def _mean_backed(estimates: Floats, table: Table, doubt: float) -> Floats:
    """(C + 1, ...): estimates (C, ...) backed off to their mean over the group's scenarios, and that to none."""
    counts = np.bincount(table.rows, minlength=len(table.contexts)).astype(float)
    counts = counts.reshape(-1, *[1] * (estimates.ndim - 1))
    group = (counts * estimates).sum(0) / (counts.sum(0) + doubt)
    rows: Floats = np.concatenate([(counts * estimates + doubt * group) / (counts + doubt), group[None]])
    return rows


def _ratio(asked: Floats, has: Floats, without: Floats) -> Floats:
    """log P(answer | has) / P(answer | without), backed off to P(answer): (n, X), (n, Y), (n, Y) -> (X, Y)."""
    rate = (asked.sum(0) + 1) / (len(asked) + 2)
    given = [(asked.T @ side + TIE * rate[:, None]) / (side.sum(0) + TIE) for side in (has, without)]
    ratio: Floats = np.log(given[0] / given[1])
    return ratio


def _correlation(items: Floats) -> Floats:
    """Correlations (X, X) of columns (n, X); 0 where a column does not vary, or there is no row."""
    if not len(items):
        return np.zeros((items.shape[1], items.shape[1]))
    centred = items - items.mean(0)
    spread = np.sqrt((centred**2).mean(0))
    scale = np.where(spread > 0, 1 / np.maximum(spread, LEAST), 0)
    found: Floats = (centred.T @ centred) / len(items) * scale[:, None] * scale
    return found


def _logit(chances: Floats) -> Floats:
    clipped = np.clip(chances, LEAST, 1 - LEAST)
    odds: Floats = np.log(clipped / (1 - clipped))
    return odds


def _weighted(shares: Floats, arrays: Sequence[Floats]) -> Floats:
    total = np.zeros(arrays[0].shape)
    for share, array in zip(shares, arrays, strict=True):
        total += share * array
    return total


def _foretold(model: Model, held: Table, most: int) -> Floats:
    """The chance that `model`, fitted on others, gave each answer of held-out people not yet heard: for person i after
    i mod (most + 1) of their answers, drawn by a fixed seed."""
    rng = np.random.default_rng(0)
    found = []
    for number, (context, answers) in enumerate(zip(held.rows, held.answers, strict=True)):
        order = rng.permutation(len(answers))
        asked, rest = order[: number % (most + 1)], order[number % (most + 1) :]
        stats = model.start[context] + model.evidence[context, asked, answers[asked]].sum(0)
        chances = model.read(context, stats).chances[rest]
        outcomes = np.concatenate([1 - chances.sum(1, keepdims=True), chances], 1)
        found.append(outcomes[np.arange(len(rest)), answers[rest]])
    return np.maximum(np.concatenate(found), LEAST)
