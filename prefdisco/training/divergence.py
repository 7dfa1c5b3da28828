"""How far the student's next-token distribution is from the teacher's, at the tokens that the student wrote.

With T the teacher's distribution over the vocabulary and S the student's, both softmax(logits / temperature):

    beta 0        forward KL   KL(T || S) = sum T log(T / S)    S must cover all that T does
    beta 1        reverse KL   KL(S || T) = sum S log(S / T)    S must avoid all that T does not do
    0 < beta < 1  generalized JSD:  beta KL(T || M) + (1 - beta) KL(S || M)  with  M = beta T + (1 - beta) S

This is equation 1 of GKD (Agarwal et al., arXiv 2306.13649). The generalized JSD itself goes to 0 at both ends; its
two limits, divided by beta or 1 - beta, are the KL divergences that stand there, as in TRL's `generalized_jsd_loss`.
The whole vocabulary is summed over, so a token's loss is exact, not an estimate from the one token drawn.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import kl_div


def divergence(student: torch.Tensor, teacher: torch.Tensor, beta: float, temperature: float = 1.0) -> torch.Tensor:
    """The divergence at each token, in nats: [tokens] from two logits [tokens, vocabulary].

    It is differentiable in `student`; `teacher` should come without a gradient. `beta` is in 0..1, `temperature`
    above 0; the gradient is not rescaled by temperature squared.
    """
    s = (student.float() / temperature).log_softmax(-1)
    t = (teacher.float() / temperature).log_softmax(-1)
    if beta == 0:
        return _kl(t, s)
    if beta == 1:
        return _kl(s, t)
    mixture = torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))
    return beta * _kl(t, mixture) + (1 - beta) * _kl(s, mixture)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(P || Q) of each row, from log-probabilities."""
    return kl_div(q, p, reduction="none", log_target=True).sum(-1)
