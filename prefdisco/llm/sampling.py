"""Drawing tokens so that a request's result depends on its own seed only, never on who shares its batch."""

from __future__ import annotations

import numpy as np
import torch


def uniforms(seed: int, count: int) -> np.ndarray:
    """The random numbers of one request, u_t in [0, 1) for its t-th token; a prefix of those for a larger count."""
    return np.random.default_rng(seed).random(count)


def draw(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, u: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One token a row: the inverse of the distribution function of softmax(logits / temperature) at u.

    Args: logits [rows, vocabulary]; temperature (0: the most likely token), top_p and u [rows].
    Returns: tokens [rows], and their log-probabilities [rows] under softmax(logits / temperature) before top-p, with
    temperature 1 where greedy.
    """
    greedy = temperature == 0
    logprobs = (logits.float() / torch.where(greedy, 1.0, temperature)[:, None]).log_softmax(-1)
    tokens = logprobs.argmax(-1)
    if not bool(greedy.all()):
        probs = logprobs.double().exp()
        if bool((top_p < 1).any()):
            probs = nucleus(probs, top_p)
        cumulative = probs.cumsum(-1)
        drawn = torch.searchsorted(cumulative, u[:, None] * cumulative[:, -1:], right=True)[:, 0]
        tokens = torch.where(greedy, tokens, drawn.clamp(max=logits.shape[-1] - 1))
    return tokens, logprobs.gather(-1, tokens[:, None])[:, 0]


def nucleus(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """`probs` [rows, vocabulary] with all but the likeliest tokens of total mass `top_p` [rows] set to zero.

    The token that crosses the mass is kept, so at least one is (Holtzman et al., arXiv 1904.09751).
    """
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(-1) - ranked
    kept = torch.where(before < top_p[:, None], ranked, 0.0)
    return torch.zeros_like(probs).scatter(-1, order, kept)
