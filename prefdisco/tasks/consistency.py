"""Whether a response gives the answer that the thinking before it arrived at, right or wrong.

The thinking's answer takes the place of the gold one, and the checker of the problem's task compares. Of thinking only
a statement counts ("the answer is 42", a box), the last one that was not taken back: other lines may be about anything.
"""

from __future__ import annotations

import re

from prefdisco.schema import Problem
from prefdisco.tasks.answers import strongest, tidy, window
from prefdisco.tasks.checkers import check
from prefdisco.tasks.letters import chosen, inline_options
from prefdisco.tasks.quantities import stated


def same_answer(problem: Problem, thinking: str, response: str) -> bool | None:
    """True or False where both state an answer; None where one does not, or where only a judge could compare them.

    Raises ConfigError where checker "math" lacks its package.
    """
    if not thinking.strip() or not response.strip():
        return None
    statements = strongest(window(thinking))
    thought = _as_gold(problem, statements[-1].sentence, response) if statements else None
    return check(problem.model_copy(update={"answer": thought}), response) if thought else None


def _as_gold(problem: Problem, thought: str, response: str) -> str | None:
    """The thinking's answer as the checker wants a gold one; None where it or the response cannot be read."""
    match problem.checker:
        case "choice":
            options = problem.options or inline_options(problem.question)
            count = len(options) or 4
            found = chosen(f"Answer: {thought}", options, count)
            if len(found) != 1 or not chosen(response, options, count):
                return None
            return chr(ord("A") + next(iter(found)))
        case "number":
            quantity = stated(thought)
            if quantity is None or not re.search(r"\d", response):
                return None
            sign = "%" if quantity.percent else ""
            ends = (quantity.low,) if quantity.low == quantity.high else (quantity.low, quantity.high)
            return " to ".join(f"{end!r}{sign}" for end in ends)
        case "math" | "exact":
            return tidy(thought) or None
    return None
