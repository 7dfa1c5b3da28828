"""What people do, by field, and where they live: the lists that the plan of personas draws from.

A number behind an occupation is the age from which it is plausible; without one it is 22.
"""

from __future__ import annotations

YOUNGEST = 22

FIELDS: dict[str, tuple[str, ...]] = {
    "learning": (
        "secondary school leaver, 18", "vocational student, 18", "undergraduate student, 18", "nursing student, 19",
        "mature student returning to study, 35", "doctoral student, 24",
    ),
    "trades": (
        "electrician", "carpenter", "car mechanic, 19", "plumber", "roofer, 19", "welder", "tailor", "tile setter, 19",
    ),
    "farming and nature": (
        "dairy farmer", "beekeeper", "forest ranger", "fisherman", "gardener, 18", "winegrower, 28", "veterinary nurse",
    ),
    "food and hospitality": (
        "baker, 18", "restaurant cook", "hotel receptionist, 18", "food truck owner", "barista, 18", "butcher",
        "canteen manager, 30",
    ),
    "transport and logistics": (
        "bus driver", "warehouse worker, 18", "train conductor", "lorry driver", "air traffic controller, 25",
        "postal worker, 18", "ship's officer, 26",
    ),
    "health": (
        "nurse", "paramedic", "physiotherapist, 24", "pharmacist, 25", "midwife, 24", "dentist, 26", "care worker, 18",
        "general practitioner, 30",
    ),
    "education": (
        "primary school teacher, 23", "secondary school teacher, 24", "kindergarten assistant, 18",
        "driving instructor, 27", "university lecturer, 30", "adult education tutor, 28", "school librarian, 25",
    ),
    "office and trade": (
        "accountant, 24", "bank clerk, 20", "insurance broker, 24", "shop assistant, 18", "office administrator, 19",
        "real estate agent, 23", "market stall holder, 20", "call centre agent, 18", "purchasing manager, 30",
    ),
    "technology": (
        "software developer", "network technician, 20", "civil engineer, 25", "machine operator, 18",
        "data analyst, 23", "surveyor, 24", "quality inspector, 23", "electronics engineer, 25",
    ),
    "science": (
        "laboratory technician, 20", "marine biologist, 27", "meteorologist, 26", "chemist, 26", "archaeologist, 27",
        "statistician, 25",
    ),
    "law and public service": (
        "police officer, 21", "firefighter, 20", "social worker, 23", "court interpreter, 27", "town planner, 27",
        "customs officer, 22", "lawyer, 27", "judge, 42",
    ),
    "arts and media": (
        "photographer, 20", "journalist, 23", "puppeteer", "sound engineer", "graphic designer, 21", "novelist, 26",
        "church organist, 25", "translator, 23", "dancer, 18",
    ),
    "home and community": (
        "parent at home, 20", "carer of a relative, 20", "volunteer coordinator, 24", "youth worker, 20",
        "parish priest, 30", "retired bookkeeper, 62", "retired engineer, 62", "retired shop owner, 62",
        "retired teacher, 60",
    ),
}  # fmt: skip

REGIONS = (
    "West Africa", "East Africa", "Southern Africa", "North Africa", "the Levant", "Turkey and the Caucasus", "Iran",
    "Central Asia", "Pakistan", "northern India", "southern India", "Bangladesh or Sri Lanka",
    "mainland Southeast Asia",
    "Indonesia or the Philippines", "China", "Japan", "Korea", "Australia or New Zealand", "the Pacific islands",
    "Canada", "the northeastern United States", "the southern United States", "the western United States", "Mexico",
    "Central America or the Caribbean", "the Andes", "Brazil", "Argentina or Chile", "the British Isles", "Scandinavia",
    "Germany or Austria", "France or Belgium", "Spain or Portugal", "Italy", "Poland or Czechia", "the Balkans",
    "Ukraine or the Baltic states",
)  # fmt: skip


def occupations() -> dict[str, list[tuple[str, int]]]:
    """Field -> (occupation, age from which it is plausible)."""
    return {field: [_split(entry) for entry in entries] for field, entries in FIELDS.items()}


def _split(entry: str) -> tuple[str, int]:
    name, _, age = entry.partition(", ")
    return name, int(age or YOUNGEST)
