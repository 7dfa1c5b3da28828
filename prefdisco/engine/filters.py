"""Which traces are kept. A filter sees what the agent wrote and what the judge said, never the gold or the profile.

Both filters of PRIME (arXiv 2507.04607): the trace is right, and it beats the model's own generic answer. The third is
ours: a trace may use only what its dialogue revealed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prefdisco.schema import Episode

Verdict = Literal["kept", "error", "malformed", "wrong", "unjustified", "no_better"]
VERDICTS: tuple[Verdict, ...] = ("kept", "error", "malformed", "wrong", "unjustified", "no_better")
BEST = 5.0  # the highest alignment there is
ROUNDING = 1e-9  # alignment points; weights that are rescaled do not sum to exactly one


def verdict(trace: Episode, generic: float | None, margin: float) -> Verdict:
    """The first filter that a graded trace fails, or "kept".

    `trace` is graded on the revealed preferences (its `weights`); `generic` is the alignment of the generic answer on
    the same ones. A trace passes by beating that by `margin` alignment points, or by reaching the best there is.
    What it realises beyond a generic answer (`touched`) must have been revealed, where the judge can tell.
    """
    if trace.error is not None or trace.alignment is None:
        return "error"
    if trace.malformed_turns or trace.truncated or not trace.response:
        return "malformed"
    if not trace.correct:
        return "wrong"
    if not set(trace.touched or ()) <= set(trace.weights):
        return "unjustified"
    if generic is not None and trace.alignment < min(generic + margin, BEST) - ROUNDING:
        return "no_better"
    return "kept"


def best(traces: Iterable[tuple[Episode, Verdict]]) -> Episode | None:
    """The kept trace of the highest alignment, the first of equals; None where none was kept."""
    kept = [trace for trace, outcome in traces if outcome == "kept"]
    return max(kept, key=lambda trace: trace.alignment or 0.0, default=None)
