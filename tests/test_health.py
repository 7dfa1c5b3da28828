"""Thinking health and regression: every figure against cases worked out by hand."""

from __future__ import annotations

import asyncio
import random
import string
import time
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from prefdisco.grading import graded
from prefdisco.health import COMPRESSIBLE, regression
from prefdisco.llm_judges import LLMJudge
from prefdisco.metrics import summarize
from prefdisco.naming import Vocabulary, names_value, words
from prefdisco.pocket.families import FAMILIES, derive
from prefdisco.pocket.judge import PocketJudge
from prefdisco.pocket.reader import conclusion
from prefdisco.pocket.scenarios import sample_problem, scenarios
from prefdisco.pocket.writer import think
from prefdisco.report.health import health_table, markdown_health
from prefdisco.report.tables import notes
from prefdisco.schema import Episode, Problem
from prefdisco.tasks.consistency import same_answer
from tests.hand_made import WordJudge, episode, scenario, script

LOOP = "so we add four and five again and "


def thinking(*episodes: Episode, condition: str | None = None) -> dict[str, Any]:
    summary = summarize(episodes)
    health: dict[str, Any] = summary["conditions"][condition]["thinking"] if condition else summary["thinking"]
    return health


def prose(count: int, seed: int = 0) -> str:
    """Words that nobody has said before."""
    rng = random.Random(seed)
    return " ".join("".join(rng.choices(string.ascii_lowercase, k=6)) for _ in range(count))


def test_turns_are_counted_over_episodes_and_the_last_turn_is_one_of_them() -> None:
    health = thinking(
        episode("a", "discovery", 3, before=["one two", ""], thinking="a b c d", malformed=1, truncated=True),
        episode("b", "discovery", 3, thinking="  "),
    )
    assert health["parse_rate"]["mean"] == 3 / 4
    assert health["words"]["mean"] == 6 / 4
    assert health["words_p95"] == pytest.approx(np.percentile([2, 0, 4, 0], 95))
    assert health["empty"]["mean"] == 2 / 4
    assert health["truncated"]["mean"] == 1 / 2


def test_repetition_is_counted_within_a_turn_over_all_four_grams() -> None:
    loop = "so so so so so so so"  # four 4-grams, three of them repeated
    health = thinking(episode("a", "oracle", 3, thinking=loop), episode("b", "oracle", 3, thinking="a b c d e"))
    assert health["repetition"]["mean"] == 3 / 6
    said_twice = thinking(episode("a", "discovery", 3, before=["a b c d"], thinking="a b c d"))
    assert said_twice["repetition"]["mean"] == 0
    assert thinking(episode("a", "oracle", 3))["repetition"]["reason"] == "no thinking of four words"


def test_a_looping_thinker_repeats_itself_and_compresses_to_little() -> None:
    healthy = thinking(*(episode(f"p{n}", "oracle", 3, thinking=prose(60, n)) for n in range(5)))
    looping = thinking(*(episode(f"p{n}", "oracle", 3, thinking=LOOP * 12) for n in range(5)))
    assert healthy["repetition"]["mean"] == 0 and looping["repetition"]["mean"] > 0.9
    assert healthy["compression"]["mean"] > 0.6 and looping["compression"]["mean"] < 0.2
    assert healthy["compression"]["n"] == looping["compression"]["n"] == 5


def test_compression_is_that_of_zlib_on_texts_that_are_long_enough() -> None:
    long, short = LOOP * 3, "x" * (COMPRESSIBLE - 1)
    raw = long.encode()
    health = thinking(episode("a", "oracle", 3, before=[short], thinking=long))
    assert health["compression"]["mean"] == pytest.approx(len(zlib.compress(raw)) / len(raw), abs=3 / len(raw))
    assert health["compression"]["n"] == 1
    none = thinking(episode("a", "oracle", 3, thinking=short))["compression"]
    assert none["mean"] is None and none["n"] == 0 and str(COMPRESSIBLE) in none["reason"]


def test_a_loop_at_the_end_of_long_thinking_is_seen() -> None:
    health = thinking(episode("a", "oracle", 3, thinking=prose(2000) + LOOP * 200))
    assert health["compression"]["mean"] < 0.05


def test_an_empty_thinker_is_seen() -> None:
    health = thinking(*(episode(f"p{n}", "oracle", 3, before=[""]) for n in range(3)))
    assert health["empty"] == {"mean": 1.0, "ci": [1.0, 1.0]}
    assert health["words"]["mean"] == 0 and health["words_p95"] == 0
    assert health["names_preferences"]["recall"]["reason"] == "no thinking"


def test_intervals_of_health_are_clustered_by_problem() -> None:
    counts = [2, 6, 4, 9, 1, 5, 3, 8]
    one = [episode(f"p{n}", "oracle", 3, thinking="w " * count) for n, count in enumerate(counts)]
    many = [e.model_copy(update={"scenario_id": f"{e.problem_id}/{k}"}) for e in one for k in range(30)]
    low, high = thinking(*one)["words"]["ci"]
    assert low < np.mean(counts) < high
    assert thinking(*many)["words"]["ci"] == pytest.approx([low, high])


def test_conditions_have_health_of_their_own_and_errors_have_none() -> None:
    episodes = [
        episode("a", "baseline", 3, thinking="one two"),
        episode("a", "oracle", 3, thinking="one two three four"),
        episode("b", "oracle", 3, thinking="a b c d e f g h", error="Timeout"),
    ]
    assert thinking(*episodes, condition="baseline")["words"]["mean"] == 2
    assert thinking(*episodes, condition="oracle")["words"]["mean"] == 4
    assert thinking(*episodes)["words"]["mean"] == 3


# --- names_preferences ------------------------------------------------------------------------------------------------


def test_told_preferences_are_looked_for_in_the_last_thinking_alone() -> None:
    episodes = [
        episode("a", "discovery", 3, revealed=["tone", None, "format"], before=["format"], thinking="Tone: formal."),
        episode("b", "discovery", 3, revealed=["tone", "tone"], thinking="The tone, then."),  # told once
        episode("c", "discovery", 3, revealed=["format"], thinking="I cannot say."),
    ]
    naming = thinking(*episodes)["names_preferences"]
    assert naming["recall"]["mean"] == 2 / 4 and naming["precision"]["mean"] == 1


def test_oracle_tells_all_and_discovery_what_was_revealed() -> None:
    text = "Wanted: tone formal, format bullets."
    episodes = [episode("a", "oracle", 3, thinking=text), episode("a", "discovery", 3, thinking=text)]
    told = thinking(*episodes, condition="oracle")["names_preferences"]
    assert told["recall"]["mean"] == 1 and told["precision"]["mean"] == 1
    guessed = thinking(*episodes, condition="discovery")["names_preferences"]
    assert guessed["recall"]["reason"] == "no preference was told" and guessed["precision"]["mean"] == 0


def test_what_comes_out_of_the_air_costs_precision() -> None:
    other = episode("b", "discovery", 3, weights={"analogy": 1.0})  # brings a word into the vocabulary
    naming = thinking(episode("a", "oracle", 3, thinking="tone formal, analogy cooking, opening example"), other)
    assert naming["names_preferences"]["precision"]["mean"] == 1 / 2  # tone was told; nobody has an "opening"
    assert naming["names_preferences"]["recall"]["mean"] == 1 / 2


def test_a_value_names_its_preference() -> None:
    values = {"tone": "formal language", "format": "4"}
    naming = thinking(episode("a", "oracle", 3, thinking="They like formal language. 2 + 2 = 4.", values=values))
    assert naming["names_preferences"]["recall"]["mean"] == 1 / 2
    old = thinking(episode("a", "oracle", 3, thinking="They like formal language."))  # a file without values
    assert old["names_preferences"]["recall"]["mean"] == 0


def test_naming_is_not_measured_where_nothing_or_somebody_else_is_told() -> None:
    for condition in ("baseline", "generic", "swapped"):
        naming = thinking(episode("a", condition, 3, revealed=["tone"], thinking="tone"))["names_preferences"]
        untold = {"mean": None, "ci": None, "reason": "no condition in which this person's preferences are told"}
        assert naming == {"recall": untold, "precision": untold}


def test_attributes_that_the_prompt_names_are_not_held_against_the_thinking() -> None:
    naming = thinking(episode("a", "attributes", 3, revealed=["tone"], thinking="tone formal, format as usual"))
    assert naming["names_preferences"]["recall"]["mean"] == 1
    assert naming["names_preferences"]["precision"]["mean"] == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Comfort with ALGEBRA is high", {"comfort_with_algebra"}),
        ("comfort_with_algebra=3", {"comfort_with_algebra"}),
        ("comfort, algebra with", set()),
        ("the answer order", {"answer order"}),  # not "order", which is a part of it
        ("order of the answer", {"order"}),
        ("order of steps", {"order of steps"}),
        ("reordered", set()),
    ],
)
def test_an_attribute_is_named_by_its_words_side_by_side(text: str, named: set[str]) -> None:
    assert Vocabulary(["comfort_with_algebra", "order", "order of steps", "answer order"]).named(words(text)) == named


@pytest.mark.parametrize("value", ["5", "high", "we", "very low", ""])
def test_values_that_say_nothing_alone_are_never_named(value: str) -> None:
    assert not names_value(words(f"we 5 high {value} 5"), value)
    assert names_value(words("a worked_example first"), "Worked example")


# --- consistency ------------------------------------------------------------------------------------------------------


def test_consistency_is_over_the_final_turns_where_both_state_an_answer() -> None:
    read = [episode(f"p{n}", "baseline", 3, consistent=value) for n, value in enumerate((True, True, False, None))]
    assert thinking(*read)["consistency"]["mean"] == 2 / 3 and thinking(*read)["consistency"]["n"] == 3
    unread = thinking(episode("a", "baseline", 3))["consistency"]
    assert unread["mean"] is None and unread["n"] == 0 and "both state an answer" in unread["reason"]


def test_pockets_thinking_is_read_back_in_every_family() -> None:
    rng = random.Random(3)
    for family in FAMILIES:
        problem = sample_problem(rng, "train", family)
        for path in ("forward", "backward"):
            for slip in (None, 5):
                wrong = (random.Random(slip), random.Random(slip)) if slip else (None, None)
                text = think(problem, {"path": path}, wrong[0])
                assert conclusion(text) == derive(problem, path, wrong[1])[0].lower()


def test_the_last_conclusion_counts_and_one_that_is_cut_off_does_not() -> None:
    assert conclusion("2 + 2 = 5. So 5. 2 + 2 = 4. So 4.") == "4"
    assert conclusion("So far so good. So 4. So 5") == "4"
    assert conclusion("2 + 2 = 4") is None


@pytest.mark.parametrize(
    ("thought", "response", "consistent"),
    [
        ("2 + 2 = 4. So 4.", "Answer: **4**.", True),
        ("2 + 2 = 4. So 4.", "Answer: 5.", False),
        ("2 + 2 = 4. So Ann.", "ANSWER: ANN.", True),
        ("2 + 2 = 4. So 4.", "It is 4.", None),
        ("2 + 2 = 4.", "Answer: 4.", None),
        ("2 + 2 = 4. So 4.", "Answer: 4.\nAnswer: 5.", None),
    ],
)
def test_pockets_judge_compares_thinking_and_response(thought: str, response: str, consistent: bool | None) -> None:
    made = scenarios("test", 1)[0]
    assert asyncio.run(PocketJudge().consistent(made, thought, response)) is consistent
    played = episode("a", "oracle", 3).model_copy(
        update={"thinking": thought, "response": response, "weights": {p.attribute: p.weight for p in made.profile}}
    )
    assert asyncio.run(graded(played, made, PocketJudge())).consistent is consistent


def test_a_judge_that_cannot_read_answers_leaves_it_open() -> None:
    played = episode("p1", "oracle", 3, thinking="So 42.").model_copy(update={"response": "42"})
    verdict = asyncio.run(graded(played, scenario(), WordJudge()))
    assert verdict.consistent is None and verdict.touched is None


OPTIONS = ("tea", "coffee", "milk")


@pytest.mark.parametrize(
    ("checker", "thought", "response", "consistent"),
    [
        ("choice", "A? No, it is hot. So the answer is B.", "**B) coffee**", True),
        ("choice", "The answer is coffee.", "Answer: A", False),
        ("choice", "The answer is A. Wait, the answer is C.", "C", True),
        ("choice", "Tea is cold.", "Answer: A", None),
        ("number", "The answer is 1,200 dollars.", "It costs $1200.", True),
        ("number", "The answer is 12.", "It costs 13.", False),
        ("number", "The answer is 12.", "I do not know.", None),
        ("math", "So \\boxed{\\frac{1}{2}}.", "The answer is $\\frac{1}{2}$.", True),
        ("exact", "The answer is London.", "Answer: Paris", False),
        ("exact", "", "Answer: Paris", None),
        ("judge", "The answer is London.", "Answer: London", None),
    ],
)
def test_on_real_tasks_the_checker_compares(checker: Any, thought: str, response: str, consistent: bool | None) -> None:
    options = OPTIONS if checker == "choice" else None
    problem = Problem(id="q", task="t", domain="d", question="?", answer="7", checker=checker, options=options)
    assert same_answer(problem, thought, response) is consistent
    made = scenario().model_copy(update={"problem": problem})
    assert asyncio.run(LLMJudge(script()).consistent(made, thought, response)) is consistent


# --- regression -------------------------------------------------------------------------------------------------------


def test_regression_pairs_scenario_and_seed_and_counts_a_plain_problem_once() -> None:
    before = [
        *(episode("a", "baseline", 3, person, correct=True) for person in ("ann", "bob", "cleo")),
        episode("b", "baseline", 3, correct=False),
        episode("c", "baseline", 3, correct=True),  # not there afterwards
        episode("a", "oracle", 4.0, correct=True),
        episode("a", "oracle", 4.5, seed=1, correct=True),
        episode("b", "oracle", 4.0, correct=False),
    ]
    after = [
        episode("b", "oracle", 4.2, correct=True),
        episode("a", "oracle", 3.0, correct=False),
        episode("a", "oracle", 1.0, seed=1, error="Timeout"),
        *(episode("a", "baseline", 3, person, correct=False) for person in ("bob", "cleo")),  # the same answer
        episode("b", "baseline", 3, correct=False),
        episode("d", "oracle", 5.0),
    ]
    change = regression(before, after)
    assert change["plain_accuracy"]["mean"] == -1 / 2  # a is lost once, whoever it was graded for; b stays wrong
    assert change["oracle_accuracy"]["mean"] == 0  # a lost, b won
    assert change["oracle_alignment"]["mean"] == pytest.approx((-1.0 + 0.2) / 2)
    nothing = regression(before, [])
    assert nothing["plain_accuracy"] == {"mean": None, "ci": None, "reason": "no pairs"}


def test_regression_is_paired_so_that_hard_problems_do_not_widen_it() -> None:
    levels = np.linspace(1, 4, 30)
    sides = [[episode(f"p{n}", "oracle", x + shift) for n, x in enumerate(levels)] for shift in (0.0, 0.25)]
    assert regression(*sides)["oracle_alignment"]["ci"] == pytest.approx([0.25, 0.25])


def test_the_interval_of_regression_holds_the_truth_as_often_as_it_says() -> None:
    """Alignment falls by 0.3 on average over problems; the two people of a problem share its change."""
    rng = np.random.default_rng(0)
    held, runs = 0, 200
    for _ in range(runs):
        change = rng.normal(-0.3, 0.5, 40)
        first, last = [], []
        for number, shift in enumerate(change):
            for person in ("ann", "bob"):
                first.append(episode(f"p{number}", "oracle", 3.0, person))
                last.append(episode(f"p{number}", "oracle", 3.0 + float(shift), person))
        low, high = regression(first, last, resamples=300)["oracle_alignment"]["ci"]
        held += low <= -0.3 <= high
    assert 0.89 <= held / runs <= 0.98  # an interval over 80 episodes instead of 40 problems would hold 83%


def test_regression_stands_in_the_notes_of_a_training_run() -> None:
    before = [episode("a", "baseline", 3), episode("a", "oracle", 4.5)]
    after = [episode("a", "baseline", 3, correct=False), episode("a", "oracle", 4.0)]
    lines = notes(summarize(before), summarize(after), regression(before, after))
    assert "accuracy on plain problems, after - before: -100.0 ± 0.0 points" in lines
    assert "oracle alignment, after - before: -0.50 ± 0.00" in lines


# --- report and speed -------------------------------------------------------------------------------------------------


def run(conditions: list[str], count: int = 30, seed: int = 0) -> dict[str, Any]:
    rng = random.Random(seed)
    return summarize(
        [
            episode(
                f"p{n}", name, 3, thinking=f"tone {prose(rng.randint(10, 40), rng.random())}", consistent=n % 7 > seed
            )
            for n in range(count)
            for name in conditions
        ]
    )


def test_the_health_table_has_a_column_a_condition_and_fits_a_terminal() -> None:
    names = ["baseline", "discovery", "oracle"]
    text = health_table(run(names), run(names, seed=1))
    assert text.splitlines()[0].split() == ["thinking", *names]
    assert "±" in text and "→" in text
    assert max(map(len, text.splitlines())) <= 120
    assert markdown_health(run(names)).splitlines()[0] == "| thinking | baseline | discovery | oracle |"


def test_many_conditions_lose_their_intervals_and_then_stand_one_below_the_other() -> None:
    names = [
        "baseline",
        "discovery",
        "oracle",
        "attributes",
        "oracle_preferences",
        *(f"fixed({k})" for k in range(1, 9)),
    ]
    before, after = run(names), run(names, seed=1)
    text = health_table(before, after)
    assert max(map(len, text.splitlines())) <= 120 and "intervals are in summary.json" in text
    heads = [line.split()[1:] for line in text.splitlines() if line.startswith("thinking")]
    assert len(heads) > 1 and sorted(name for head in heads for name in head) == sorted(names)
    assert text.count("words a turn") == len(heads)


def test_summaries_of_before_there_was_health_have_no_table() -> None:
    old = summarize([episode("a", "oracle", 3)])
    for figures in old["conditions"].values():
        del figures["thinking"]
    assert health_table(old) == "" and markdown_health(old) == ""


def test_an_episode_of_before_there_was_health_is_read() -> None:
    line = episode("a", "oracle", 3).model_dump(exclude={"values", "consistent", "answered_by"})
    assert Episode.model_validate(line).consistent is None


def test_health_of_1500_episodes_of_five_turns_takes_less_than_a_second() -> None:
    texts = [prose(60, seed) for seed in range(1500 * 5 // 3)]  # as shared answers, some stand in several episodes
    rng = random.Random(0)
    weights = {f"attribute number {n}": 0.05 for n in range(20)}
    episodes = [
        episode(
            f"p{n // 2}",
            "oracle",
            3,
            f"person{n}",
            before=rng.sample(texts, 4),
            thinking=rng.choice(texts),
            weights=weights,
        )
        for n in range(1500)
    ]
    plain = [e.model_copy(update={"messages": (), "thinking": ""}) for e in episodes]
    start = [time.process_time()]
    for each in (plain, episodes):
        summarize(each)
        start.append(time.process_time())
    without, with_thinking = (last - first for first, last in pairwise(start))
    assert with_thinking - without < 1
