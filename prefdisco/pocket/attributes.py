"""The 21 attributes of Pocket: what people differ in, how an agent asks about each, and how a person answers.

Structural attributes are realised by every response (the first value is what a generic answer does). Additive ones are
sentences that a response may carry or leave out; each phrasing is a cue and a rest, so that a cut-off sentence is
recognised as partial.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from prefdisco.schema import Attribute, Kind, Preference


class Phrase(NamedTuple):
    """One phrasing of a value: full text is cue + rest; `{answer}` in the rest is filled in."""

    cue: str
    rest: str


class Dimension(NamedTuple):
    """All the words that belong to one attribute."""

    kind: Kind
    description: str
    values: dict[str, tuple[str, ...]]  # value -> ways to say it in an answer ("a table")
    questions: tuple[str, ...]
    keywords: tuple[str, ...]  # single words by which a question is recognised
    phrases: Mapping[str, tuple[Phrase, ...]] = MappingProxyType({})  # additive attributes: value -> phrasings


def _p(*texts: str) -> tuple[Phrase, ...]:
    return tuple(Phrase(*text.split("|")) for text in texts)


DIMENSIONS: dict[str, Dimension] = {
    "path": Dimension(
        "reasoning",
        "which way the solution runs",
        {
            "forward": ("working forward", "a start from the facts"),
            "backward": ("working backward", "a start from the end"),
        },
        ("Should I work forward or backward?", "Forward from the facts or backward from the end?"),
        ("forward", "backward"),
    ),
    "granularity": Dimension(
        "reasoning",
        "how finely the steps are cut",
        {"fine": ("small steps", "every small step"), "coarse": ("one big step", "just the big step")},
        ("Do you want small steps or one big step?", "Every small step or the big step only?"),
        ("small", "big", "step", "steps"),
    ),
    "representation": Dimension(
        "reasoning",
        "what the steps are written in",
        {"symbols": ("symbols", "symbols only"), "words": ("words", "plain words"), "table": ("a table", "table rows")},
        ("Do you prefer symbols, words or a table?", "Should the work be in symbols, words or a table?"),
        ("symbols", "words", "table"),
    ),
    "format": Dimension(
        "presentation",
        "how the steps are laid out",
        {
            "prose": ("prose", "running prose"),
            "bullets": ("bullets", "bullet points"),
            "numbered": ("numbered lines", "a numbered list"),
        },
        ("Do you prefer prose, bullets or numbered lines?", "Prose, bullets or a numbered list?"),
        ("prose", "bullets", "bullet", "numbered"),
    ),
    "order": Dimension(
        "presentation",
        "where the answer stands",
        {
            "answer_last": ("the answer last", "the answer at the end"),
            "answer_first": ("the answer first", "the answer up front"),
        },
        ("Should the answer come first or last?", "Do you want the answer first or last?"),
        ("first", "last"),
    ),
    "opening": Dimension(
        "reasoning",
        "what comes before the work",
        {"principle": ("the principle", "the rule behind it"), "example": ("an example", "a worked example")},
        ("Should I open with the principle or an example?", "Do you want a principle or an example to start?"),
        ("principle", "example"),
        {
            "principle": _p("Rule:| {principle}.", "The principle is this:| {principle}."),
            "example": _p("For example,| {example}.", "Take an example:| {example}."),
        },
    ),
    "analogy": Dimension(
        "reasoning",
        "the source of an analogy",
        {
            "cooking": ("cooking", "the kitchen"),
            "sports": ("sports", "a match"),
            "garden": ("the garden", "plants"),
            "music": ("music", "songs"),
        },
        ("Which analogy: cooking, sports, garden or music?", "Should an analogy use cooking, sports, garden or music?"),
        ("analogy", "cooking", "sports", "garden", "music"),
        {
            "cooking": _p(
                "It is like a recipe:| one thing goes in after the other.", "As in a kitchen,| we measure and mix."
            ),
            "sports": _p("It is like a match:| each move counts.", "As in a race,| we take it lap by lap."),
            "garden": _p(
                "It is like a garden:| each part grows from the last.", "As with plants,| we go from root to leaf."
            ),
            "music": _p("It is like a song:| each note leads on.", "As in music,| we play it bar by bar."),
        },
    ),
    "verification": Dimension(
        "reasoning",
        "how the result is checked",
        {
            "substitute": ("putting it back", "putting it back in"),
            "estimate": ("a rough estimate", "a rough size check"),
        },
        ("Should I check by putting it back or by an estimate?", "Which check: putting it back or an estimate?"),
        ("check", "putting", "estimate"),
        {
            "substitute": _p("Put back,| {answer} fits all that is given.", "Check by insertion:| {answer} works."),
            "estimate": _p("Roughly,| {answer} is what one expects.", "Check by size:| {answer} is about right."),
        },
    ),
    "alternatives": Dimension(
        "reasoning",
        "what is said of other ways",
        {
            "mention": ("another way too", "a word on another way"),
            "exclude": ("the others excluded", "the others ruled out"),
        },
        ("Should I mention another way or exclude others?", "Do you want another way, or others excluded?"),
        ("another", "others", "exclude", "excluded"),
        {
            "mention": _p("Another way| leads to the same place.", "One could also| go the other way round."),
            "exclude": _p("No other answer| fits the facts.", "All else is out,| as only {answer} fits."),
        },
    ),
    "uncertainty": Dimension(
        "reasoning",
        "how certainty is stated",
        {"percent": ("a percentage", "a number in percent"), "verbal": ("a phrase", "a short phrase")},
        ("Should I say how sure I am in percent or as a phrase?", "Is sure in percent or as a phrase better?"),
        ("sure", "percent", "phrase"),
        {
            "percent": _p("I am 90 percent| sure of this.", "Certainty:| 90 percent."),
            "verbal": _p("I am quite| sure of this.", "I have little| doubt here."),
        },
    ),
    "assumptions": Dimension(
        "reasoning",
        "what happens to assumptions",
        {
            "state": ("stated assumptions", "a list of assumptions"),
            "question": ("questioned assumptions", "doubt of assumptions"),
        },
        ("Should I state assumptions or question them?", "Assumptions: state them or question them?"),
        ("assumptions", "question"),
        {
            "state": _p("I assume| that all facts given are exact.", "Assumed:| nothing else changes."),
            "question": _p("One may ask| if all facts given are exact.", "It is open| whether nothing else changes."),
        },
    ),
    "plan": Dimension(
        "reasoning",
        "what is announced before the work",
        {"outline": ("an outline", "a short outline"), "goal": ("the goal", "what we are after")},
        ("Should I begin with an outline or the goal?", "An outline or the goal at the start?"),
        ("outline", "goal"),
        {
            "outline": _p("Outline:| facts, steps, result.", "The plan is| facts, then steps, then result."),
            "goal": _p("Goal:| find what is asked.", "We are after| what is asked."),
        },
    ),
    "tone": Dimension(
        "presentation",
        "how it sounds",
        {
            "formal": ("a formal tone", "formal language"),
            "casual": ("a casual tone", "casual language"),
            "playful": ("a playful tone", "playful language"),
        },
        ("Should the tone be formal, casual or playful?", "Formal, casual or playful tone?"),
        ("tone", "formal", "casual", "playful"),
        {
            "formal": _p("Kindly note| the following.", "It shall be| shown as follows."),
            "casual": _p("Okay,| here we go.", "Alright,| let's see."),
            "playful": _p("Ready, steady,| solve!", "Abracadabra,| watch this!"),
        },
    ),
    "summary": Dimension(
        "presentation",
        "how it is summed up",
        {"sentence": ("one sentence", "a closing sentence"), "keywords": ("keywords", "a few keywords")},
        ("Should a summary be a sentence or keywords?", "Summary: a sentence or keywords?"),
        ("summary", "sentence", "keywords"),
        {
            "sentence": _p("In short,| it comes to {answer}.", "To sum up,| the result is {answer}."),
            "keywords": _p("Keywords:| facts, steps, {answer}.", "Key points:| steps, {answer}."),
        },
    ),
    "encouragement": Dimension(
        "presentation",
        "how the reader is encouraged",
        {"praise": ("praise", "a bit of praise"), "challenge": ("a challenge", "a real challenge")},
        ("Would you like praise or a challenge?", "Praise or a challenge?"),
        ("praise", "challenge"),
        {
            "praise": _p("Great question,| by the way.", "Well done| for asking."),
            "challenge": _p("Next time,| try it alone.", "Can you| beat this next time?"),
        },
    ),
    "emphasis": Dimension(
        "presentation",
        "how the answer stands out",
        {"bold": ("bold", "bold print"), "capitals": ("capitals", "capital letters")},
        ("Should the answer be in bold or capitals?", "Bold or capitals for the answer?"),
        ("bold", "capitals"),
    ),
    "address": Dimension(
        "presentation",
        "who does the work in the text",
        {"we": ("we", "the word we"), "you": ("you", "the word you")},
        ("Should I address it as we or you?", "How to address you: we or you?"),
        ("address", "we"),
        {
            "we": _p("Let us| do this together.", "Together,| we can do this."),
            "you": _p("You can do this| as follows.", "Here is how you| do it."),
        },
    ),
    "vocabulary": Dimension(
        "presentation",
        "which words are used",
        {
            "everyday": ("everyday terms", "simple everyday terms"),
            "technical": ("technical terms", "the technical terms"),
        },
        ("Do you prefer everyday or technical terms?", "Everyday or technical terms?"),
        ("everyday", "technical", "terms"),
        {
            "everyday": _p("Put simply,| it goes like this.", "In everyday terms,| it is easy."),
            "technical": _p("Technically speaking,| it goes like this.", "In technical terms,| we derive it."),
        },
    ),
    "closing": Dimension(
        "presentation",
        "how it ends",
        {"invite": ("an invitation", "an invitation to ask"), "exercise": ("an exercise", "a practice exercise")},
        ("Should I close with an invitation or an exercise?", "An invitation or an exercise at the close?"),
        ("close", "invitation", "exercise"),
        {
            "invite": _p("Ask me| more any time.", "Feel free| to ask again."),
            "exercise": _p("Exercise:| change one fact and redo it.", "To practice,| redo it with new facts."),
        },
    ),
    "heading": Dimension(
        "presentation",
        "which headings there are",
        {"title": ("one title", "a title on top"), "sections": ("sections", "section heads")},
        ("Do you want one title or sections?", "A title or sections?"),
        ("title", "sections"),
    ),
    "reference": Dimension(
        "presentation",
        "where to read on",
        {"source": ("the source", "a named source"), "further": ("further reading", "more to read")},
        ("Should I name the source or further reading?", "The source or further reading?"),
        ("source", "further", "reading"),
        {
            "source": _p("Source:| the facts you gave.", "This rests on| the facts you gave."),
            "further": _p("See also:| the next chapter.", "Read more| in the next chapter."),
        },
    ),
}

STRUCTURAL = ("path", "granularity", "representation", "format", "order")
ATTRIBUTES: dict[str, Attribute] = {
    name: Attribute(name=name, kind=d.kind, description=d.description, values=tuple(d.values))
    for name, d in DIMENSIONS.items()
}
GENERIC_PLAN: dict[str, str | None] = {
    name: next(iter(d.values)) if name in STRUCTURAL else None for name, d in DIMENSIONS.items()
}


def plan_grade(option: str | None, value: str) -> int:
    """Grade of a realised option for a preferred value: 5 the same, 3 absent, 1 another."""
    return 3 if option is None else 5 if option == value else 1


def grade(attribute: str, assumed: str | None, value: str) -> int:
    """Grade of a plan that assumes a value of `attribute`, or nothing, which leaves it as in a generic answer."""
    return plan_grade(GENERIC_PLAN.get(attribute) if assumed is None else assumed, value)


def preference(attribute: str, value: str, weight: float) -> Preference:
    """The preference for this value."""
    return Preference(attribute=attribute, value=value, weight=weight, kind=ATTRIBUTES[attribute].kind)


def ask(attribute: str, seed: int) -> str:
    """A question about `attribute`; `seed` chooses the wording."""
    questions = DIMENSIONS[attribute].questions
    return questions[seed % len(questions)]


def unknown(attribute: str) -> str:
    """What an agent thinks before it asks about an attribute."""
    return f"Unknown: {attribute}."
