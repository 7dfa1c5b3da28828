"""Who lives in Pocket: ten types of people, what each likes and cares about, and the words that describe a person.

Plain tables, read by `population`. The last two types are held out: nobody of them is ever seen in training.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")

# Adjectives for a low and a high score of each trait.
ADJECTIVES = {
    "openness": ("practical", "open"),
    "conscientiousness": ("easygoing", "careful"),
    "extraversion": ("quiet", "outgoing"),
    "agreeableness": ("blunt", "warm"),
    "neuroticism": ("calm", "anxious"),
}

EXPERTISE_WORDS = {"new": "new to", "some": "fair at", "expert": "at home in"}


@dataclass(frozen=True, eq=False)
class PersonType:
    """A kind of person. `big5` holds means on 1..5 in the order of TRAITS; `cares` the attributes it tends to mind."""

    name: str
    occupations: tuple[str, ...]
    ages: tuple[int, int]
    big5: tuple[float, float, float, float, float]
    expertise: dict[str, str]
    cares: tuple[str, ...]
    background: tuple[str, ...]


TYPES: tuple[PersonType, ...] = (
    PersonType(
        "carer",
        ("nurse", "midwife", "paramedic", "carer"),
        (23, 61),
        (3.2, 3.8, 3.4, 4.6, 2.4),
        {"algebra": "new", "chemistry": "some", "logic": "some"},
        (
            "order",
            "representation",
            "tone",
            "encouragement",
            "granularity",
            "uncertainty",
            "format",
            "address",
            "vocabulary",
        ),
        (
            "Works night shifts and reads on the bus.",
            "Explains things to patients all day.",
            "Left school early and learns on the job.",
        ),
    ),
    PersonType(
        "engineer",
        ("mechanic", "electrician", "engineer", "surveyor"),
        (22, 64),
        (3.0, 4.3, 2.3, 2.8, 2.0),
        {"algebra": "expert", "chemistry": "some", "logic": "some"},
        ("representation", "verification", "path", "format", "assumptions", "plan", "reference", "order", "analogy"),
        (
            "Repairs machines that others gave up on.",
            "Keeps a notebook of every mistake.",
            "Wants to see that it works.",
        ),
    ),
    PersonType(
        "student",
        ("student", "trainee", "apprentice", "intern"),
        (16, 24),
        (3.9, 2.3, 3.8, 3.2, 4.1),
        {"algebra": "some", "chemistry": "new", "logic": "new"},
        ("opening", "granularity", "encouragement", "summary", "closing", "tone", "emphasis", "heading", "path"),
        ("Has an exam next week.", "Learns best late at night.", "Gives up quickly when a text is long."),
    ),
    PersonType(
        "teacher",
        ("teacher", "tutor", "librarian", "lecturer"),
        (26, 66),
        (4.2, 4.2, 3.3, 4.0, 2.6),
        {"algebra": "expert", "chemistry": "some", "logic": "expert"},
        ("path", "opening", "plan", "alternatives", "closing", "reference", "heading", "vocabulary", "address"),
        (
            "Collects good explanations for the class.",
            "Has taught the same course for years.",
            "Likes a question left open.",
        ),
    ),
    PersonType(
        "cook",
        ("cook", "baker", "waiter", "barista"),
        (19, 58),
        (3.1, 2.8, 4.3, 3.6, 2.9),
        {"algebra": "new", "chemistry": "new", "logic": "some"},
        ("analogy", "order", "format", "granularity", "vocabulary", "tone", "verification", "emphasis", "summary"),
        ("Reads with one eye on the oven.", "Counts in cups and spoons.", "Runs a small place with a sister."),
    ),
    PersonType(
        "analyst",
        ("accountant", "analyst", "auditor", "banker"),
        (25, 63),
        (2.6, 4.7, 2.5, 2.6, 3.1),
        {"algebra": "expert", "chemistry": "new", "logic": "expert"},
        ("representation", "uncertainty", "assumptions", "order", "alternatives", "heading", "path", "summary", "tone"),
        (
            "Checks every figure twice.",
            "Writes reports that nobody may misread.",
            "Decides in the last minute before a meeting.",
        ),
    ),
    PersonType(
        "musician",
        ("musician", "painter", "dancer", "actor"),
        (20, 59),
        (4.8, 2.2, 3.6, 3.5, 3.6),
        {"algebra": "new", "chemistry": "new", "logic": "new"},
        ("analogy", "tone", "format", "opening", "alternatives", "encouragement", "address", "uncertainty", "plan"),
        (
            "Plays in the evening and sleeps in the morning.",
            "Thinks in pictures and rhythm.",
            "Dislikes to be told what to do.",
        ),
    ),
    PersonType(
        "gardener",
        ("gardener", "farmer", "forester", "florist"),
        (24, 67),
        (2.5, 3.6, 2.2, 3.9, 1.9),
        {"algebra": "some", "chemistry": "expert", "logic": "new"},
        (
            "granularity",
            "path",
            "vocabulary",
            "verification",
            "emphasis",
            "assumptions",
            "closing",
            "reference",
            "representation",
        ),
        ("Is outside from dawn to dusk.", "Trusts what can be tried by hand.", "Took over the farm of the family."),
    ),
    PersonType(
        "lawyer",
        ("lawyer", "notary", "clerk", "journalist"),
        (26, 65),
        (3.4, 4.4, 3.0, 2.2, 3.0),
        {"algebra": "some", "chemistry": "new", "logic": "expert"},
        ("order", "assumptions", "alternatives", "path", "tone", "reference", "format", "heading", "opening"),
        ("Argues for a living.", "Reads the small print first.", "Has to explain the case to a jury."),
    ),
    PersonType(
        "coach",
        ("coach", "trainer", "masseur", "referee"),
        (21, 60),
        (3.3, 3.4, 4.7, 3.3, 2.2),
        {"algebra": "new", "chemistry": "some", "logic": "some"},
        (
            "analogy",
            "encouragement",
            "granularity",
            "plan",
            "format",
            "address",
            "summary",
            "representation",
            "emphasis",
        ),
        ("Trains a youth team on weekends.", "Used to compete and still counts every second.", "Keeps talks short."),
    ),
)

HELD_OUT_TYPES = tuple(kind.name for kind in TYPES[-2:])

# The value that each type favours, in the order of TYPES (a bar before the held-out ones):
#   carer engineer student teacher cook analyst musician gardener | lawyer coach
FAVOURITES: dict[str, tuple[str, ...]] = {
    attribute: tuple(row.replace("|", "").split())
    for attribute, row in {
        "path": "forward backward backward backward forward backward forward backward | backward forward",
        "granularity": "coarse fine coarse fine coarse coarse fine coarse | fine coarse",
        "representation": "words table table symbols words table words words | words table",
        "format": "bullets numbered bullets prose numbered bullets prose numbered | prose numbered",
        "order": "answer_first answer_first answer_first answer_last answer_first answer_first answer_last answer_last "
        "| answer_first answer_first",
        "opening": "example principle example principle example principle principle example | principle example",
        "analogy": "cooking sports sports garden cooking sports music garden | music sports",
        "verification": "estimate substitute substitute estimate estimate substitute estimate substitute "
        "| substitute estimate",
        "alternatives": "mention exclude exclude mention exclude exclude mention mention | exclude exclude",
        "uncertainty": "percent percent verbal verbal verbal percent verbal verbal | verbal percent",
        "assumptions": "state question question state state state question state | question question",
        "plan": "outline goal outline outline goal goal goal outline | outline goal",
        "tone": "casual casual playful formal casual formal playful casual | formal playful",
        "summary": "sentence keywords keywords sentence sentence keywords sentence keywords | sentence keywords",
        "encouragement": "praise praise challenge praise challenge challenge praise praise | challenge challenge",
        "emphasis": "bold capitals capitals bold capitals bold bold capitals | bold capitals",
        "address": "you we you we we you you we | you we",
        "vocabulary": "technical technical everyday technical everyday everyday everyday technical "
        "| technical everyday",
        "closing": "invite exercise exercise exercise invite invite invite exercise | invite exercise",
        "heading": "title sections title sections sections sections title title | sections title",
        "reference": "source further further further source source further source | source further",
    }.items()
}

_FIRST_NAMES = """
Ada Aisha Alba Amir Ana Anton Aya Bela Ben Bruno Carla Chen Clara Dana Dario David Dina Elena Eli Emma Erik
Farid Fatima Felix Finn Gita Grace Hana Hugo Ida Igor Ines Ivan Jamal Jana Jonas Julia Kai Karim Kofi Lara Leo
Lena Lina Luca Lucia Maya Mei Mila Milo Nadia Nina Noah Nora Olga Omar Oscar Paula Pedro Petra Rana Ravi Rosa
Ruben Sara Sami Selma Simon Sofia Tara Theo Tomas Uma Vera Viktor Yara Yusuf Zoe
"""
NAMES = tuple(_FIRST_NAMES.split())
