"""Writes a response that realises a plan: any combination of attribute values, in several phrasings.

A plan maps every attribute to a value, or to None where an additive attribute is left out. `writer` is the perfect
author of the world; `reader` is its inverse.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from prefdisco.pocket.attributes import DIMENSIONS, GENERIC_PLAN
from prefdisco.pocket.families import FAMILIES, derive
from prefdisco.pocket.tape import OPS, Step
from prefdisco.schema import Problem

Plan = Mapping[str, str | None]

# each value of `path` has its own opening words
LEADS = {"forward": ("Going forward:", "From the facts:"), "backward": ("Going backward:", "From the end:")}
BEFORE = ("tone", "address", "vocabulary", "opening", "analogy", "assumptions", "plan")
AFTER = ("alternatives", "verification", "uncertainty")
LAST = ("summary", "encouragement", "closing", "reference")


def complete_plan(partial: Plan) -> dict[str, str | None]:
    """A plan for all attributes: the generic one, overruled by `partial`."""
    return {**GENERIC_PLAN, **partial}


def step_text(step: Step, representation: str) -> str:
    """One step in symbols, in words, or as a table row."""
    symbol, word = OPS[step.op]
    if representation == "symbols":
        return f"{step.a} {symbol} {step.b}" + (f" = {step.result}" if step.result else "")
    if representation == "words":
        return f"{step.a} {word} {step.b}" + (f" is {step.result}" if step.result else "")
    return f"| {step.a} | {word} | {step.b} |" + (f" {step.result} |" if step.result else "")


def layout(lead: str, steps: Sequence[str], form: str) -> str:
    """The steps as prose, bullets or a numbered list, after their lead."""
    if form == "prose":
        return f"{lead} {'; '.join(steps)}."
    marks = ["-"] * len(steps) if form == "bullets" else [f"{i}." for i in range(1, len(steps) + 1)]
    return "\n".join([lead, *(f"{mark} {step}" for mark, step in zip(marks, steps, strict=True))])


def answer_line(answer: str, emphasis: str | None) -> str:
    """The line that states the answer, plain, bold or in capitals."""
    return {None: f"Answer: {answer}.", "bold": f"Answer: **{answer}**.", "capitals": f"ANSWER: {answer.upper()}."}[
        emphasis
    ]


def write(problem: Problem, plan: Plan, rng: random.Random, slip: random.Random | None = None) -> str:
    """The response that realises `plan`; phrasings are drawn from `rng`, and `slip` makes one step wrong."""
    full = complete_plan(plan)
    answer, steps = derive(problem, full["path"] or "forward", slip)
    family = FAMILIES[problem.family or ""]

    def sentences(names: Sequence[str]) -> list[str]:
        chosen = ((name, full[name]) for name in names)
        phrases = [rng.choice(DIMENSIONS[name].phrases[value]) for name, value in chosen if value]
        return [
            (p.cue + p.rest).format(answer=answer, principle=family.principle, example=family.example) for p in phrases
        ]

    shown = steps if full["granularity"] == "fine" else steps[-1:]
    work = layout(
        rng.choice(LEADS[full["path"] or "forward"]),
        [step_text(step, full["representation"] or "symbols") for step in shown],
        full["format"] or "prose",
    )
    verdict = [answer_line(answer, full["emphasis"])]
    body = [*sentences(BEFORE), work, *sentences(AFTER)]
    if full["heading"] == "sections":
        body, verdict = ["## Work", *body], ["## Result", *verdict]
    body = [*body, *verdict] if full["order"] == "answer_last" else [*verdict, *body]
    top = ["# Solution"] if full["heading"] == "title" else []
    return "\n".join([*top, *body, *sentences(LAST)])


def think(problem: Problem, plan: Plan, slip: random.Random | None = None) -> str:
    """Thinking that names what is wanted (all that differs from the generic plan) and works the problem out."""
    full = complete_plan(plan)
    answer, steps = derive(problem, full["path"] or "forward", slip)
    wanted = [f"{name.replace('_', ' ')} {value.replace('_', ' ')}" for name, value in plan.items() if value]
    goal = [f"Wanted: {', '.join(wanted)}."] if wanted else []
    return " ".join([*goal, "; ".join(step_text(step, "symbols") for step in steps) + ".", f"So {answer}."])
