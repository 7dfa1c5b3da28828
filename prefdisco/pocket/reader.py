"""Reads free text: which value of each attribute it realises, how fully, and what answer it gives.

The inverse of `writer`: reading what was written gives back the plan. Text that is wrong, empty, cut off or repeated
is read as what it is and never raises. Evidence for a value is 1.0 (whole), 0.5 (cut off, mixed, or repeated beyond
sense) or 0.0, and a criterion is graded from the evidence for the wanted value and for its strongest rival.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from prefdisco.pocket.attributes import DIMENSIONS, STRUCTURAL
from prefdisco.pocket.families import FAMILIES, derive
from prefdisco.pocket.tape import OPS
from prefdisco.pocket.writer import LEADS
from prefdisco.schema import Grade, Preference, Problem

Evidence = dict[str, float]

_OP_BY_MARK = {mark: op for op, marks in OPS.items() for mark in marks}
_SYMBOLS = "|".join(re.escape(symbol) for symbol, _ in sorted(OPS.values(), key=lambda marks: -len(marks[0])))
_WORDS = "|".join(re.escape(word) for _, word in sorted(OPS.values(), key=lambda marks: -len(marks[1])))
# "as only saw fits" is no step: one of the things to pack is called what an operation is called
_STEP = re.compile(
    rf"(?P<row>\| *\w+ *\| *(?P<row_op>{_WORDS}|{_SYMBOLS}) *\| *[\w/]+ *\|)"
    rf"|(?:^|[ .])(?!only )\w+ (?:(?P<symbol>{_SYMBOLS})|(?P<word>{_WORDS})) \w+",
    re.MULTILINE,
)
_ANSWER = re.compile(r"^(?P<label>Answer|ANSWER): *(?P<bold>\*\*)?(?P<text>[^*\n]*?)(?P<end>\*\*)?\.? *$", re.MULTILINE)
_CONCLUSION = re.compile(r"\bSo ([^.\n]+)\.")
_BULLET = re.compile(r"^- ", re.MULTILINE)
_NUMBER = re.compile(r"^\d+\. ", re.MULTILINE)
REPEATED = 2  # a cue that stands more often than this is babble


def operations(problem: Problem, path: str) -> tuple[str, ...]:
    """The operations along a path of the problem, in order."""
    return tuple(step.op for step in derive(problem, path)[1])


class Reading:
    """One text, read once; evidence is worked out for the attributes that are asked for."""

    def __init__(self, problem: Problem, text: str) -> None:
        self.problem, self.text = problem, text
        self._steps: list[tuple[str, str]] | None = None

    def steps(self) -> list[tuple[str, str]]:
        """(representation, operation) of every step in the text."""
        if self._steps is None:
            self._steps = []
            for match in _STEP.finditer(self.text):
                form = "table" if match["row"] else "symbols" if match["symbol"] else "words"
                self._steps.append((form, _OP_BY_MARK[match["row_op"] or match["symbol"] or match["word"]]))
        return self._steps

    def answer(self) -> str | None:
        """The stated answer; None where there is none, or where the answer lines disagree."""
        found = {match["text"].strip().lower() for match in _ANSWER.finditer(self.text)}
        return found.pop() if len(found) == 1 else None

    def evidence(self, attribute: str) -> Evidence:
        """Evidence 0..1 for every value of `attribute`."""
        special = getattr(self, f"_{attribute}", None)
        if special is not None:
            return dict(special())
        return {
            value: max(self._phrase(cue, rest) for cue, rest in _phrasings(attribute, value, self.problem.family))
            for value in DIMENSIONS[attribute].values
        }

    def _phrase(self, cue: str, rest: str) -> float:
        at = self.text.find(cue)
        if at < 0:
            return 0.0
        if self.text.count(cue) > REPEATED:
            return 0.5
        start, _, end = rest.partition("{answer}")
        line_end = self.text.find("\n", at)
        line = self.text[at + len(cue) : line_end if line_end >= 0 else len(self.text)]
        return 1.0 if line.startswith(start) and line.rstrip().endswith(end) and len(line) >= len(start + end) else 0.5

    def _lead(self, path: str) -> bool:
        return any(lead in self.text for lead in LEADS[path])

    def _path(self) -> Evidence:
        seen = [op for _, op in self.steps()]
        result = {}
        for path in LEADS:
            if not self._lead(path):
                result[path] = 0.0
                continue
            ops = operations(self.problem, path)
            done = seen == [ops[-1]] or (len(seen) > 1 and set(seen) == set(ops))
            result[path] = 1.0 if done else 0.5
        return result

    def _granularity(self) -> Evidence:
        count = len(self.steps())
        if count < 2:
            return {"fine": 0.0, "coarse": float(count)}
        path = next((path for path in LEADS if self._lead(path)), "forward")
        return {"fine": 1.0 if count >= len(operations(self.problem, path)) else 0.5, "coarse": 0.0}

    def _representation(self) -> Evidence:
        seen = [form for form, _ in self.steps()]
        return {
            value: 0.0 if value not in seen else 1.0 if set(seen) == {value} else 0.5
            for value in DIMENSIONS["representation"].values
        }

    def _format(self) -> Evidence:
        bullets, numbers = len(_BULLET.findall(self.text)), len(_NUMBER.findall(self.text))
        count = len(self.steps())
        loose = max(0, count - bullets - numbers)

        def share(n: int) -> float:
            return 0.0 if n == 0 or not count else 1.0 if n == count else 0.5

        return {"prose": share(loose), "bullets": share(bullets), "numbered": share(numbers)}

    def _order(self) -> Evidence:
        step, answers = _STEP.search(self.text), [match.start() for match in _ANSWER.finditer(self.text)]
        if step is None or not answers:
            return {"answer_last": 0.0, "answer_first": 0.0}
        first, last = answers[0] < step.start(), answers[-1] > step.start()
        both = 0.5 if first and last else 1.0
        return {"answer_last": both if last else 0.0, "answer_first": both if first else 0.0}

    def _emphasis(self) -> Evidence:
        bold, capitals = 0.0, 0.0
        for match in _ANSWER.finditer(self.text):
            bold = max(bold, 1.0 if match["bold"] and match["end"] else 0.5 if match["bold"] or match["end"] else 0.0)
            upper = match["text"] == match["text"].upper()
            capitals = max(capitals, (1.0 if upper else 0.5) if match["label"] == "ANSWER" else 0.0)
        return {"bold": bold, "capitals": capitals}

    def _heading(self) -> Evidence:
        parts = ("## Work" in self.text) + ("## Result" in self.text)
        return {"title": 1.0 if self.text.startswith("# ") else 0.0, "sections": parts / 2}


@lru_cache(maxsize=1024)
def _phrasings(attribute: str, value: str, family: str | None) -> tuple[tuple[str, str], ...]:
    spec = FAMILIES[family or ""]
    return tuple(
        (p.cue, p.rest.replace("{principle}", spec.principle).replace("{example}", spec.example))
        for p in DIMENSIONS[attribute].phrases[value]
    )


def score(evidence: Evidence, value: str) -> int:
    """Grade 1..5 of a criterion that wants `value`: 5 met, 3 absent or torn between two, 1 opposite, else partial."""
    own = evidence[value]
    rival = max((strength for other, strength in evidence.items() if other != value), default=0.0)
    if own == 1.0:
        return 5 if rival == 0.0 else 4 if rival < 1.0 else 3
    if own > 0.0:
        return 4 if rival == 0.0 else 3 if rival < 1.0 else 2
    return 3 if rival == 0.0 else 2 if rival < 1.0 else 1


def read(problem: Problem, text: str) -> dict[str, str | None]:
    """The plan that `text` realises: for each attribute the value with whole evidence and no rival, else None."""
    reading = Reading(problem, text)
    plan: dict[str, str | None] = {}
    for name in DIMENSIONS:
        evidence = reading.evidence(name)
        plan[name] = next((value for value in evidence if score(evidence, value) == 5), None)
    return plan


def grade(problem: Problem, text: str, preferences: Sequence[Preference]) -> tuple[Grade, ...]:
    """One grade a preference. An empty text is graded 3 (absent) on additive and 1 on structural attributes."""
    reading = Reading(problem, text)
    grades = []
    for p in preferences:
        evidence = reading.evidence(p.attribute)
        points = score(evidence, p.value)
        if p.attribute in STRUCTURAL and not any(evidence.values()):
            points = 1
        seen = ", ".join(f"{value} {strength:g}" for value, strength in evidence.items() if strength) or "nothing"
        grades.append(Grade(attribute=p.attribute, score=points, reason=f"wanted {p.value}; found {seen}"))
    return tuple(grades)


def answer(problem: Problem, text: str) -> str | None:
    """The answer that a response states; None where there is none, or where the answer lines disagree."""
    return Reading(problem, text).answer()


def conclusion(thinking: str) -> str | None:
    """The answer that thinking arrives at, its last "So X."; None where it states none."""
    found = _CONCLUSION.findall(thinking)
    return found[-1].strip().lower() if found else None


def is_correct(problem: Problem, text: str) -> bool:
    """Whether the text states the right answer, once or consistently."""
    stated = answer(problem, text)
    return stated is not None and stated == problem.answer.lower()
