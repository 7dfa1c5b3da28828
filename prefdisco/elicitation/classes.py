"""The belief model `bayesian`: people are of hidden types, and an answer says which.

A person of type k with a problem of context c cares about attribute a with probability r[c, k, a], then wants value v
with probability q[c, k, a, v] and gives it the weight w[c, k, a] on average, each independent of the others. Types,
their shares pi[c, k] and all of these rates are fitted by expectation maximization; the M step backs the rates of a
context off to the type's rates in the group, and those to everybody's (Dirichlet smoothing). The number of types is
the one that foretells held-out people's whole profiles best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefdisco.elicitation.models import Reading
from prefdisco.elicitation.table import ROOT, TIE, Floats, Table, backed_off

NUMBERS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20)  # of types that are tried, while they help and each has FEWEST people
FEWEST = 8
TRIED, FINAL = 4, 8  # starts of EM for each number, and of the last fit
SWEEPS = 100
TOGETHER = 10  # first sweeps, in which contexts share their types' rates, so that type k means the same in each
TOGETHER_TIE = 500.0
SHARE_TIE = 50.0  # scenarios that the group's shares of types count for in a context
SETTLED = 1e-4  # nats a scenario; a sweep that gains less is the last
TINY = 1e-9


@dataclass(frozen=True)
class Types:
    """The parameters, C contexts and one for those not seen: `shares` (C + 1, K), `matters` (C + 1, K, A), `values`
    (C + 1, K, A, V)."""

    shares: Floats
    matters: Floats
    values: Floats

    def answers(self) -> Floats:
        """(C + 1, K, A, 1 + V): log P(answer | context, type)."""
        present = self.matters[..., None] * self.values
        chances = np.concatenate([1 - self.matters[..., None], present], -1)
        logs: Floats = np.log(np.maximum(chances, TINY))
        return logs


class LatentTypes:
    """The belief model: statistics are log P(k, answers) for each type k."""

    coherent = True

    def __init__(self, table: Table, seed: int = 0) -> None:
        self.types = fit(table, choose_number(table, seed), FINAL, seed)[0]
        owner = _responsibility(self.types, table)[0]  # (n, K)
        matters = (table.answers > 0).astype(float)
        present = table.by_context(owner[:, :, None] * matters[:, None])
        mass = table.by_context(owner[:, :, None] * table.weights[:, None])
        everybody = (table.weights.sum(0) + ROOT * table.typical) / (matters.sum(0) + ROOT)
        self.weights = backed_off(mass, present, everybody)  # (C + 1, K, A)
        self.chances = self.types.matters[..., None] * self.types.values
        self.start = np.log(self.types.shares)
        known = np.log(np.maximum(self.types.matters, TINY))
        self.evidence = np.concatenate([self.types.answers(), known[..., None]], -1).transpose(0, 2, 3, 1)

    def read(self, context: int, stats: Floats) -> Reading:
        posterior = np.exp(stats - stats.max(-1, keepdims=True))
        posterior = posterior / posterior.sum(-1, keepdims=True)
        chances, weights = self.chances[context], self.weights[context]
        shape = (*stats.shape[:-1], *chances.shape[1:])
        flat = chances.reshape(len(chances), -1)
        heavy = (chances * weights[..., None]).reshape(len(chances), -1)
        return Reading((posterior @ flat).reshape(shape), (posterior @ heavy).reshape(shape), posterior @ weights)


def choose_number(table: Table, seed: int) -> int:
    """The number of types under which held-out people are most probable; 1 where there are too few people."""
    fitted, held = table.split()
    best, number, worse = -np.inf, 1, 0
    if not len(held):
        return number
    for count in NUMBERS:
        if count > 1 and len(fitted) < FEWEST * count:
            break
        reached = _responsibility(fit(fitted, count, TRIED, seed)[0], held)[1]
        if reached > best:
            best, number, worse = reached, count, 0
        elif (worse := worse + 1) == 2:
            break
    return number


def fit(table: Table, count: int, starts: int, seed: int) -> tuple[Types, float]:
    """The best of `starts` fits with `count` types, and its log-likelihood in nats a scenario."""
    runs = [_climb(table, count, np.random.default_rng([seed, count, start])) for start in range(starts)]
    return max(runs[: 1 if count == 1 else None], key=lambda run: run[1])


def _climb(table: Table, count: int, rng: np.random.Generator) -> tuple[Types, float]:
    """One run of EM from a random start."""
    owner = rng.dirichlet(np.full(count, 0.3), len(table))
    types, before = _rates(table, owner, TOGETHER_TIE), -np.inf
    for sweep in range(SWEEPS):
        owner, reached = _responsibility(types, table)
        types = _rates(table, owner, TOGETHER_TIE if sweep < TOGETHER else TIE)
        if sweep > TOGETHER and reached - before < SETTLED:
            break
        before = reached
    return types, _responsibility(types, table)[1]


def _rates(table: Table, owner: Floats, tie: float) -> Types:
    """The M step: smoothed rates, given how much of each scenario belongs to each type (n, K)."""
    kinds = owner.shape[1]
    sums = [owner[rows].T @ answers for rows, answers in table.blocks]
    hot = np.stack(sums).reshape(len(sums), kinds, *table.one_hot.shape[1:])  # (C, K, A, 1 + V)
    present, members = hot[..., 1:].sum(-1), table.by_context(owner)
    shares = table.pooled[:, 1:] / table.pooled[:, 1:].sum(1, keepdims=True)
    even = np.full(kinds, 1 / kinds)
    return Types(
        shares=backed_off(members, members.sum(1, keepdims=True), even, SHARE_TIE),
        matters=backed_off(present, members[..., None], 1 - table.pooled[:, 0], tie),
        values=backed_off(hot[..., 1:], present[..., None], shares, tie),
    )


def _responsibility(types: Types, table: Table) -> tuple[Floats, float]:
    """The E step: P(type | scenario) (n, K), and the log-likelihood in nats a scenario."""
    logs = types.answers().reshape(*types.shares.shape, -1)
    joint = np.empty((len(table), types.shares.shape[1]))
    for c, (rows, answers) in enumerate(table.blocks):
        joint[rows] = np.log(types.shares[c]) + answers @ logs[c].T
    top = joint.max(1, keepdims=True)
    owner = np.exp(joint - top)
    total = owner.sum(1, keepdims=True)
    return owner / total, float((top + np.log(total)).mean())
