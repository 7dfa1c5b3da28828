"""Claims about the people of Pocket: tables are complete, sampling follows the stated process, splits are disjoint."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from prefdisco.pocket.attributes import ATTRIBUTES, STRUCTURAL
from prefdisco.pocket.families import FAMILIES, HELD_OUT_FAMILIES
from prefdisco.pocket.people import FAVOURITES, HELD_OUT_TYPES, NAMES, TYPES
from prefdisco.pocket.population import (
    CANDIDATES,
    DOMAIN_OF,
    DOMAINS,
    persona_split,
    process,
    profile,
    sample_persona,
)


def test_favourites_are_values_and_types_disagree() -> None:
    assert set(FAVOURITES) == set(ATTRIBUTES)
    for attribute, row in FAVOURITES.items():
        assert len(row) == len(TYPES) and set(row) <= set(ATTRIBUTES[attribute].values)
    agreement = [
        np.mean([row[i] == row[j] for row in FAVOURITES.values()]) for i, j in combinations(range(len(TYPES)), 2)
    ]
    assert np.mean(agreement) < 0.5 and max(agreement) < 0.8


def test_people_have_enough_names_and_care_about_real_attributes() -> None:
    assert len(set(NAMES)) >= 60
    assert all(set(kind.cares) <= set(ATTRIBUTES) for kind in TYPES)
    assert len(HELD_OUT_TYPES) == 2


def test_every_family_has_nine_candidates_of_which_three_or_four_are_structural() -> None:
    for family, candidates in CANDIDATES.items():
        assert len(candidates) == len(set(candidates)) == 9, family
        assert 3 <= len(set(candidates) & set(STRUCTURAL)) <= 4, family
    assert {family: FAMILIES[family].domain for family in FAMILIES} == DOMAIN_OF
    counts = Counter(a for candidates in CANDIDATES.values() for a in candidates)
    assert set(counts) == set(ATTRIBUTES) and min(counts.values()) >= 2


def test_families_of_a_domain_share_seven_candidates() -> None:
    for families in DOMAINS.values():
        for one, other in combinations(families, 2):
            assert len(set(CANDIDATES[one]) & set(CANDIDATES[other])) == 7, (one, other)


def test_held_out_families_use_only_attributes_seen_in_training_families() -> None:
    seen = {a for family, candidates in CANDIDATES.items() if family not in HELD_OUT_FAMILIES for a in candidates}
    assert all(set(CANDIDATES[family]) <= seen for family in HELD_OUT_FAMILIES)


def test_the_same_seed_gives_the_same_person_and_the_same_preferences() -> None:
    one, other = sample_persona(random.Random(3)), sample_persona(random.Random(3))
    assert one == other
    assert profile(one, "ages") == profile(other, "ages")
    assert profile(one, "ages") != profile(one, "gifts")


def test_the_population_is_the_same_on_every_machine() -> None:
    persona = sample_persona(random.Random(0))
    assert persona.description == "Nora, 36, musician; open, outgoing; new to algebra"
    assert [(p.attribute, p.value) for p in profile(persona, "change")] == [
        ("representation", "words"),
        ("encouragement", "praise"),
        ("tone", "playful"),
        ("opening", "principle"),
    ]


def test_profiles_hold_four_to_six_candidates_with_weights_that_sum_to_one() -> None:
    rng = random.Random(1)
    for _ in range(100):
        persona = sample_persona(rng)
        for family in CANDIDATES:
            preferences = profile(persona, family)
            weights = [p.weight for p in preferences]
            assert 4 <= len(preferences) <= 6
            assert sum(weights) == pytest.approx(1) and weights == sorted(weights, reverse=True)
            assert {p.attribute for p in preferences} <= set(CANDIDATES[family])


def test_train_and_test_people_are_disjoint() -> None:
    rng = random.Random(2)
    train = [sample_persona(rng, split="train") for _ in range(300)]
    test = [sample_persona(rng, split="test") for _ in range(300)]
    assert not {p.id for p in train} & {p.id for p in test}
    assert {persona_split(p) for p in train} == {"train"} and {persona_split(p) for p in test} == {"test"}
    drawn = [persona_split(sample_persona(rng)) for _ in range(2000)]
    assert 0.16 < drawn.count("test") / len(drawn) < 0.24


def test_held_out_types_are_never_drawn_for_training() -> None:
    rng = random.Random(4)
    assert not {sample_persona(rng).type for _ in range(500)} & set(HELD_OUT_TYPES)
    assert {sample_persona(rng, held_out=True).type for _ in range(50)} == set(HELD_OUT_TYPES)
    assert sample_persona(rng, type="coach").type == "coach"


def test_unknown_names_are_one_line_errors() -> None:
    with pytest.raises(ValueError, match="unknown type 'wizard'"):
        sample_persona(random.Random(0), type="wizard")
    with pytest.raises(ValueError, match="unknown family 'poetry'"):
        process("poetry")


def test_sampling_follows_the_stated_process() -> None:
    family, kind, draws = "schedule", 2, 3000
    law, rng = process(family), random.Random(5)
    matters: Counter[str] = Counter()
    values: Counter[tuple[str, str]] = Counter()
    for _ in range(draws):
        for p in profile(sample_persona(rng, type=TYPES[kind].name), family):
            matters[p.attribute] += 1
            values[p.attribute, p.value] += 1
    expected = law.prior[kind] @ law.subsets
    for i, attribute in enumerate(law.candidates):
        error = 4.5 * np.sqrt(expected[i] * (1 - expected[i]) / draws)
        assert abs(matters[attribute] / draws - expected[i]) < error, attribute
        for v, value in enumerate(ATTRIBUTES[attribute].values):
            q, n = law.values[kind, i, v], max(matters[attribute], 1)
            assert abs(values[attribute, value] / n - q) < 4.5 * np.sqrt(q * (1 - q) / n), (attribute, value)
