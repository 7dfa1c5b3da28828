"""Whether a response gives the gold answer, without a language model.

choice  the letter, or the text of an option; two different choices are wrong
math    LaTeX and plain expressions, compared by math-verify
number  a number, with its unit read over, or a number within a gold range
exact   the same words; case, spaces and punctuation do not matter
judge   not decided here
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from prefdisco.schema import DataError, Problem
from prefdisco.tasks import symbolic
from prefdisco.tasks.answers import bolds, final_answer, lines, raw_answer, sentence, strongest, tidy, window
from prefdisco.tasks.letters import chosen, inline_options, plain
from prefdisco.tasks.quantities import Quantity, gold_quantities, stated

__all__ = ["check", "check_ready", "final_answer"]

MOST_LINES = 40  # from the end, in which a number that is not stated as the answer is looked for
_ENVIRONMENT = re.compile(r"\$\$?([^$]{1,400})\$\$?|\\\(([^\n]{1,400}?)\\\)|\\\[([^\n]{1,400}?)\\\]")
_NOT = re.compile(r"\b(?:not|never)\s{1,3}[$*]{0,3}\d|n['’]t\s{1,3}[$*]{0,3}\d", re.IGNORECASE)
_PLAIN_NUMBER = re.compile(r"-?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)|-?\\[dt]?frac\{-?\d+\}\{\d+\}")
# What makes more of a text than a number and a unit: variables, powers, commands.
_ALGEBRA = re.compile(r"\b[b-zB-HJ-Z]\b|\d[A-Za-z]\b|\\(?![dt]?frac|text|mathrm|[$%,!])|[_^√π]|\b(?:pi|sqrt)\b")
# A digit right behind a closed fraction, root or exponent.
_DIGIT_BEHIND = re.compile(r"(?:\\[dt]?frac\{[^{}]*\}|\\sqrt(?:\[[^]]*\])?|\^)\s?\{[^{}]*\}\s?\d")
# Plain text in which people write what LaTeX has commands for.
_SPELLINGS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?<!\\)\bsqrt\s?\(([^()]{1,80})\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s?\(([^()]{1,80})\)|√\s?(\d+|\w)"), lambda match: f"\\sqrt{{{match[1] or match[2]}}}"),
    (re.compile(r"(?<!\\)\bpi\b|π"), r"\\pi "),
    (re.compile(r"(?<!\\)\binf(?:inity|ty)?\b|∞"), r"\\infty "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"[*·]"), r"\\cdot "),
    (re.compile("×"), r"\\times "),
    (re.compile(r"°|\s?degrees?\b"), r"^\\circ"),
    (re.compile("\u2212"), "-"),
]


def check(problem: Problem, response: str) -> bool | None:
    """Whether `response` gives the problem's answer; None where only a judge can tell (checker "judge" or None).

    A response that states nothing readable is wrong. Raises ConfigError where checker "math" lacks its package,
    DataError where a "number" problem's own answer is no number.
    """
    match problem.checker:
        case "choice":
            return _choice(problem, response)
        case "number":
            return _number(problem, response)
        case "math":
            return _math(problem.answer, response)
        case "exact":
            return _exact(problem.answer, response)
    return None


def check_ready(problems: Iterable[Problem]) -> None:
    """Raise ConfigError now, with what to install, where `check` would in the middle of a run."""
    if any(problem.checker == "math" for problem in problems):
        symbolic.require()


def _choice(problem: Problem, response: str) -> bool:
    options: Sequence[str] = problem.options or inline_options(problem.question)
    gold = frozenset(ord(letter) - ord("A") for letter in re.findall("[A-Z]", problem.answer))
    count = max(len(options) or 4, *(number + 1 for number in gold), 0)
    found = chosen(response, options, count)
    return bool(gold) and _distinct(found, options) == _distinct(gold, options)


def _distinct(numbers: Iterable[int], options: Sequence[str]) -> set[str]:
    """Options by their text, so that one of two that read the same is as good as the other."""
    return {tidy(options[number]).casefold() if number < len(options) else str(number) for number in numbers}


def _number(problem: Problem, response: str) -> bool:
    gold = gold_quantities(problem.answer)
    if not gold:
        raise DataError(f"problem {problem.id}: answer: {problem.answer[:60]!r} is no number or range")
    quantity = _stated_number(response)
    return quantity is not None and any(quantity.inside(each) for each in gold)


def _stated_number(response: str) -> Quantity | None:
    """The last number stated as the answer, else the only one in bold, else that of the last line with one."""
    text = window(response)
    for statement in reversed(strongest(text)):
        if re.search(r"\d", statement.sentence):
            return stated(statement.sentence)
    bold = {quantity for each in bolds(text) if re.match(r"\W*\d", each) and (quantity := stated(each))}
    if len(bold) == 1:
        return bold.pop()
    for line in reversed(lines(text)[-MOST_LINES:]):
        if re.search(r"\d", line) and not _NOT.search(line):
            return stated(_last_sentence_with_digit(line), first_counts=False)
    return None


def _last_sentence_with_digit(line: str) -> str:
    line = re.sub(r"^\s*(?:\d{1,3}[.)]|[-*•#>|]+)\s+(?=.*\d)", "", line[-2_000:])  # the marker of a list is no answer
    return [part for part in re.split(r"(?<=[.!?])\s+(?=[A-Z*$])", line) if re.search(r"\d", part)][-1]


def _math(gold: str, response: str) -> bool:
    symbolic.require()  # also where the shortcuts below would do: no run may fail on its wrong answers alone
    text = window(response)
    answer = raw_answer(text)
    environments = [next(filter(None, groups)) for groups in _ENVIRONMENT.findall(answer)]
    # A statement begins with its answer; a last line that states nothing ends with it.
    candidate = (environments[0] if strongest(text) else environments[-1]) if environments else tidy(answer)
    if _compact(candidate) == _compact(gold):
        return True
    spelled = candidate
    for pattern, spelling in _SPELLINGS:
        spelled = pattern.sub(spelling, spelled)
    if _garbled(spelled):
        return False
    if _PLAIN_NUMBER.fullmatch(_compact(gold)) and not _ALGEBRA.search(candidate):
        quantity = stated(candidate)
        if quantity and any(quantity.inside(each) for each in gold_quantities(gold)):
            return True
    return symbolic.equal(gold, spelled)


def _garbled(latex: str) -> bool:
    r"""Whether math-verify would see more sense than there is: it takes \frac{3}{2}1 for a product, x+1} for x+1."""
    bare = re.sub(r"\\[{}]", "", latex)
    return bare.count("{") != bare.count("}") or _DIGIT_BEHIND.search(bare) is not None


def _compact(latex: str) -> str:
    """LaTeX without what does not change its meaning: spaces, sizes, wrappers, a full stop."""
    latex = re.sub(r"\\(?:left|right|displaystyle|[,;:! ])|[\s$]", "", tidy(latex))
    return re.sub(r"\\[dt]frac", r"\\frac", latex).rstrip(".")


def _exact(gold: str, response: str) -> bool:
    wanted = _letters(gold)
    text = window(response)
    answer = raw_answer(text)
    # A full stop may end the sentence, or belong to the answer.
    candidates = [answer, sentence(answer), *(statement.text for statement in strongest(text)[-1:])]
    return any(_letters(candidate) == wanted for candidate in candidates)


def _letters(text: str) -> str:
    """The words run together; text without any word, such as "+", stays as it is."""
    return plain(tidy(text)).replace(" ", "") or "".join(text.split())
