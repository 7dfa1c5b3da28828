"""Numbers in text: what is stated ("about $1,200 per day", "3.2 \\times 10^{-5} m"), and whether it is the gold one.

Units are read over, never converted. Every search is linear in the text, and the text is cut first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

MOST_TEXT = 400  # characters of a statement in which a number is looked for
EXACT = 1e-6  # relative tolerance of a number that is compared with a single gold number

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_CLEANING: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+"), lambda match: "^" + match[0].translate(_SUPERSCRIPTS)),
    (re.compile(r"\\[dtc]?frac\s*\{\s*(-?[\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}"), r" \1/\2 "),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r" \1/\2 "),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:times|cdot)"), "*"),
    (re.compile(r"\\(?:approx|sim|simeq)\b|[≈≃]"), "="),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;:! ]|\\left|\\right|[*_]{2,}|`"), ""),
    (re.compile(r"\\?[$€£¥]"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\circ"), "°"),
    (re.compile(r"(?<=[A-Za-zμµ°])\s?\^\s?[({]?\s?[-+]?\d{1,4}\s?[)}]?"), ""),  # the exponent of a unit
]
_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<![\w)\]}.])[-+])?"
    r"(?:(?P<whole>\d{1,9})\s+(?P<over>\d{1,9})\s?/\s?(?P<under>[1-9]\d{0,8})(?![\d/])"  # 1 1/2
    r"|(?P<body>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<e>[-+]?\d+)(?!\w)|\s{0,3}[*x×·]\s{0,3}10\s?\^\s?[({]?\s?(?P<ten>[-+]?\d+)\s?[)}]?"
    r"|\s?\^\s?[({]?\s?(?P<power>[-+]?\d+)\s?[)}]?)?"
    r"(?:\s?/\s?(?P<divisor>\d{1,9}(?:\.\d{1,9})?)(?![\d/]))?)"
    r"(?P<percent>\s?(?:%|per\s?cent\b))?"
)
_TO = re.compile(r"\s*(?:to|through|[-–—])\s*")
_TO_IN_GOLD = re.compile(r"\s*(?:to|through|[-–—:])\s*", re.IGNORECASE)
_LEAD = re.compile(r"[\s~(\"'*=:]*(?:(?:about|approximately|approx\.?|around|roughly|nearly|exactly|just|only|a)\s+)?")
_OTHERWISE = re.compile(r"\s*(?:[\w%°]{1,15}\s*)?(?:\bor\b|;)\s*|\s*(?:,|/|\band\b)\s*")


class Quantity(NamedTuple):
    """What a text states: the values from `low` to `high`, mostly the same number twice."""

    low: float
    high: float
    percent: bool = False

    def inside(self, gold: Quantity) -> bool:
        """Whether this is the gold number (relative tolerance EXACT), or lies in the gold range, bounds included.

        Where one side only says percent, 20% is both 20 and 0.2.
        """
        scales: tuple[float, ...] = (1.0,)
        if self.percent != gold.percent:
            scales = (1.0, 0.01) if self.percent else (1.0, 100.0)
        return any(_inside(self.low * scale, self.high * scale, gold) for scale in scales)


def stated(text: str, first_counts: bool = True) -> Quantity | None:
    """The one number or range that a text comes to, or None where there is none, or a choice of several.

    What follows the last equals sign, if there is one: in it, and in a statement ("18 eggs for 2 days"), the number at
    the start; else the only number; else the last ("3 friends share 12, so each has 4").
    """
    text = _clean(text[:MOST_TEXT])
    text = re.sub(r"(?<=\w)\s*\([^()]*\)", " ", text) if re.match(r"[^(]*\d", text) else text
    _, equals, right = text.rpartition("=")
    if equals and _NUMBER.search(right):
        text, first_counts = right, True
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    first = _value(found[0])
    if len(found) == 1:
        return first
    leads = first_counts and _LEAD.fullmatch(text[: found[0].start()]) is not None
    if (leads or len(found) == 2) and (both := _range(text, found[0], found[1], _TO)):
        return both
    if not leads:
        return _value(found[-1])
    between = text[found[0].end() : found[1].start()]
    operates = re.fullmatch(r"\s*[-+*/^÷×]\s*", between)
    return None if operates or (_OTHERWISE.fullmatch(between) and first != _value(found[1])) else first


def gold_quantities(text: str) -> list[Quantity]:
    """A gold answer that is nothing but a number or ranges, "0.85 to 0.89 or 1.2", each alternative; else []."""
    alternatives = []
    for part in re.split(r"\s+or\s+", _clean(text.strip()[:MOST_TEXT]), flags=re.IGNORECASE):
        found = list(_NUMBER.finditer(part))
        if not found or not re.fullmatch(r"\W*", part[: found[0].start()]):
            return []
        joined = re.compile(r"\s*,\s*") if part.lstrip().startswith(("[", "(")) else _TO_IN_GOLD
        both = _range(part, found[0], found[1], joined) if len(found) == 2 else None
        quantity = both or (_value(found[0]) if len(found) == 1 else None)
        if quantity is None or not re.fullmatch(r"[^\d\n]{0,24}", part[found[-1].end() :]):
            return []
        alternatives.append(quantity)
    return alternatives


def _clean(text: str) -> str:
    text = text.replace("\u2212", "-").replace("\u202f", "").replace("\u00a0", " ")
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    return text


def _range(text: str, first: re.Match[str], second: re.Match[str], to: re.Pattern[str]) -> Quantity | None:
    """The range that two numbers make by what stands between and before them, or None."""
    between = text[first.end() : second.start()]
    joined = to.fullmatch(between)
    if not joined and re.search(r"\bbetween\s*$", text[: first.start()]):
        joined = re.fullmatch(r"\s*and\s*", between)
    one, other = _value(first), _value(second)
    if not joined or one is None or other is None:
        return None
    return Quantity(min(one.low, other.low), max(one.low, other.low), one.percent or other.percent)


def _value(match: re.Match[str]) -> Quantity | None:
    """One number as a quantity, or None where it is beyond all bounds."""
    parts = match.groupdict()
    try:
        if parts["whole"]:
            value = int(parts["whole"]) + int(parts["over"]) / int(parts["under"])
        else:
            value = float(parts["body"].replace(",", "") + "e" + (parts["e"] or parts["ten"] or "0"))
            if parts["power"]:
                value **= int(parts["power"])
            if parts["divisor"]:
                value /= float(parts["divisor"])
    except (OverflowError, ZeroDivisionError):
        return None
    value = -value if parts["sign"] == "-" else value
    return Quantity(value, value, bool(parts["percent"])) if math.isfinite(value) else None


def _inside(low: float, high: float, gold: Quantity) -> bool:
    if gold.low == gold.high:
        return all(math.isclose(value, gold.low, rel_tol=EXACT, abs_tol=1e-12) for value in (low, high))
    slack = 1e-9 * max(abs(gold.low), abs(gold.high))  # a bound that went through binary is still a bound
    return gold.low - slack <= low and high <= gold.high + slack
