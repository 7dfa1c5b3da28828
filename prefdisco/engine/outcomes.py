"""What the data engine leaves behind: the talks of each scenario that passed the filters, and what each filter took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

from prefdisco.schema import Message, Record, Tokens

SAME = 1e-6  # alignment points; rounding
Kind = Literal["discovery", "interview", "stated", "generic", "plain", "oracle", "no_think"]


class Talk(Record):
    """A conversation as messages and as tokens, mask 1 on the agent's own.

    `discovery` is the dialogue with the kept trace as its last turn, `interview` a dialogue that ends before it,
    `stated` the same trace under the prompt that it was written with, `generic` the answer that knew nothing. `plain`,
    `oracle` and `no_think` are the mix.
    """

    kind: Kind
    messages: tuple[Message, ...]
    ids: list[int]
    mask: list[int]
    thinking: bool = True

    @classmethod
    def of(cls, kind: Kind, messages: Sequence[Message], tokens: Tokens | None, thinking: bool = True) -> Talk:
        """A talk from recorded tokens."""
        assert tokens is not None, f"a {kind} talk without its tokens"
        return cls(kind=kind, messages=tuple(messages), ids=tokens.ids, mask=tokens.mask, thinking=thinking)


class Outcome(Record):
    """What became of one scenario: its talks, none where no trace was kept, and the verdicts on all its traces.

    Where only its interview was wanted, there are no verdicts. `lost`, of the best of several drafts: by how many
    alignment points each question was expected to bring less than the best there was. `error` is what it failed with; a
    later run tries again.
    """

    scenario_id: str
    family: str | None
    domain: str
    difficulty: int | None
    questions: int
    revealed: int
    lost: tuple[float, ...] = ()
    verdicts: dict[str, int]
    generic_correct: bool
    talks: tuple[Talk, ...] = ()
    error: str | None = None

    def talk(self, kind: Kind) -> Talk | None:
        """The talk of this kind, if there is one."""
        return next((talk for talk in self.talks if talk.kind == kind), None)


def summary_of(everything: Sequence[Outcome]) -> dict[str, Any]:
    """Counts for the data card: verdicts overall, by family, domain and difficulty; questions; accuracy."""
    outcomes = [outcome for outcome in everything if outcome.verdicts]
    verdicts: Counter[str] = Counter()
    by: dict[str, dict[str, Counter[str]]] = {"family": {}, "domain": {}, "difficulty": {}}
    for outcome in outcomes:
        verdicts.update(outcome.verdicts)
        for field, groups in by.items():
            groups.setdefault(str(getattr(outcome, field)), Counter()).update(
                {**outcome.verdicts, "scenarios": 1, "survived": int(bool(outcome.talks))}
            )
    return {
        "scenarios": len(outcomes),
        "interviews": sum(not outcome.verdicts and outcome.error is None for outcome in everything),
        "failed": sum(outcome.error is not None for outcome in everything),
        "survived": sum(bool(o.talks) for o in outcomes),
        "traces": dict(verdicts),
        "questions": sum(o.questions for o in outcomes) / max(len(outcomes), 1),
        "revealed": sum(o.revealed for o in outcomes) / max(len(outcomes), 1),
        "generic_accuracy": sum(o.generic_correct for o in outcomes) / max(len(outcomes), 1),
        "lost": lost_by_question(everything),
        "by": {f: {k: dict(c) for k, c in g.items()} for f, g in by.items()},
    }


def lost_by_question(outcomes: Sequence[Outcome]) -> list[dict[str, float]]:
    """Of the first question, the second, ..: alignment points `lost`, and the share that lost nothing; their `n`."""
    deepest = max((len(outcome.lost) for outcome in outcomes), default=0)
    turns = [[outcome.lost[k] for outcome in outcomes if len(outcome.lost) > k] for k in range(deepest)]
    return [{"points": fmean(turn), "best": fmean(x < SAME for x in turn), "n": len(turn)} for turn in turns]
