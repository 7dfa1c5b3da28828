"""What an episode and its questions earn, by hand: rewards, references, the constraint, credit, and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prefdisco.config import ConstraintConfig, RewardConfig
from prefdisco.elicitation.beliefs import learn
from prefdisco.elicitation.hearing import nobody_knows
from prefdisco.grading import graded
from prefdisco.pocket.attributes import grade
from prefdisco.pocket.belief import belief as exact
from prefdisco.pocket.judge import PocketJudge
from prefdisco.pocket.scenarios import scenarios
from prefdisco.schema import Episode, Question, Scenario
from prefdisco.training import references, rewards
from prefdisco.training.credit import by_token, centred, information
from prefdisco.training.multiplier import multiplier
from prefdisco.training.references import Reference
from prefdisco.training.rollouts import Rollout, report, tokens

SCENARIOS = scenarios("train", 8, 0)


# what an episode earns


def played(alignment: float = 3.0, correct: bool = True, asked: int = 0, **fields: Any) -> Episode:
    questions = (Question(text="?", answer="!"),) * asked
    return Episode(
        scenario_id="s", problem_id="p", persona_id="a", condition="discovery", seed=0, response="24", correct=correct,
        alignment=alignment, **{"questions": questions, **fields},
    )  # fmt: skip


def earned(episode: Episode, reference: Reference, **settings: Any) -> dict[str, float]:
    return {name: part(episode, reference) for name, (part, _) in rewards.parts(RewardConfig(**settings)).items()}


def test_rewards_by_hand() -> None:
    between = Reference(baseline=2.5, oracle=4.5)  # a unit of 2 alignment points
    assert earned(played(3.5, asked=3), between) == {
        "correctness": 1, "alignment": 0.5, "overcorrection": 0, "questions": -3, "guesses": 0, "format": 0,
    }  # fmt: skip
    assert earned(played(1.5), between)["alignment"] == earned(played(1.5), between)["overcorrection"] == -0.5
    assert earned(played(4.5), between)["alignment"] == 1


def test_a_wrong_answer_keeps_the_harm_and_not_the_gain() -> None:
    between = Reference(baseline=2.5, oracle=4.5)
    assert earned(played(3.5, correct=False), between)["alignment"] == 0
    assert earned(played(3.5, correct=False), between, gate=False)["alignment"] == 0.5
    assert earned(played(1.5, correct=False), between)["alignment"] == -0.5
    assert earned(played(1.5, correct=False), between)["correctness"] == 0


@pytest.mark.parametrize("oracle", [3.5, 3.0, 1.0])
def test_where_the_oracle_gains_nothing_more_alignment_is_still_better(oracle: float) -> None:
    reference = Reference(baseline=3.0, oracle=oracle, least_gain=1.0)
    assert earned(played(3.5), reference)["alignment"] == 0.5
    assert earned(played(2.0), reference)["alignment"] == -1


def test_a_guess_is_what_an_answer_acts_on_though_nobody_told_of_it() -> None:
    told = (Question(text="?", answer="!", revealed="tone"), Question(text="?", answer="!"))
    weights = {"tone": 0.5, "order": 0.5}

    def cost(condition: str, **fields: Any) -> float:
        episode = played(questions=told if condition == "discovery" else (), weights=weights, **fields)
        episode = episode.model_copy(update={"condition": condition})
        return earned(episode, Reference(2.5, 4.5), guess=0.1)["guesses"]

    assert cost("discovery", touched=("tone",)) == cost("oracle", touched=("order", "tone")) == 0
    assert cost("discovery", touched=("order", "tone", "units")) == cost("baseline", touched=("tone", "order")) == -2
    assert cost("oracle", touched=("order", "units")) == cost("discovery", touched=("units",)) == -1
    assert cost("discovery", touched=None) == 0, "a judge that cannot tell"


@pytest.mark.parametrize(("response", "read"), [("", False), ("Answer: nothing.", True)])
def test_an_answer_that_was_not_given_acts_on_nothing(response: str, read: bool) -> None:
    scenario = SCENARIOS[0]
    weights = {p.attribute: p.weight for p in scenario.profile}
    bare = played().model_copy(update={"response": response, "weights": weights})
    verdict = asyncio.run(graded(bare, scenario, PocketJudge()))
    assert verdict.error is None and not verdict.correct and (verdict.touched is not None) == read


@pytest.mark.parametrize("fault", [{"malformed_turns": 1}, {"truncated": True}, {"response": ""}])
def test_what_cannot_be_read_costs_the_same_whatever_it_is(fault: dict[str, Any]) -> None:
    assert earned(played().model_copy(update=fault), Reference(2, 4))["format"] == -1


def test_trl_gets_the_parts_by_name_and_nothing_of_a_dropped_episode() -> None:
    settings = RewardConfig(question=0.25)
    functions, reference = rewards.reward_functions(settings), Reference(2.0, 4.0)
    batch = [Rollout(played(3.0, asked=2), reference, [0.0, 0.0]), Rollout(played(), reference, None, dropped="error")]
    found = {each.__name__: each(prompts=[], completions=[], rollout=batch) for each in functions}
    assert found["alignment"] == [0.5, None] and found["questions"] == [-2, None]
    assert dict(zip(found, rewards.reward_weights(settings), strict=True))["questions"] == 0.25


def test_references_are_means_and_leave_out_what_failed(tmp_path: Path) -> None:
    def one(name: str, condition: str, alignment: float, **fields: Any) -> Episode:
        episode = played(alignment, **fields)
        return episode.model_copy(update={"scenario_id": name, "condition": condition})

    found = references.means([
        one("a", "baseline", 2.0), one("a", "baseline", 3.0, correct=False), one("a", "oracle", 4.0),
        one("a", "oracle", 4.0, correct=False), one("b", "baseline", 2.0), one("b", "oracle", 0.0, error="judge: gone"),
    ])  # fmt: skip
    assert found == {"a": Reference(baseline=2.5, oracle=4.0, accuracy=0.5)}
    references.write(tmp_path, found)
    assert references.read(tmp_path, least_gain=2.0) == {"a": Reference(2.5, 4.0, 0.5, least_gain=2.0)}


# the constraint


def test_the_multiplier_grows_while_accuracy_is_missing_and_falls_back() -> None:
    held = multiplier(ConstraintConfig(rate=2.0, slack=0.1, most=0.5), [Reference(2, 4, 1.0), Reference(2, 4, 0.8)])
    assert held is not None and held.floor == pytest.approx(0.8) and held.value == 0
    for accuracy, expected in ((0.7, 0.2), (0.8, 0.2), (0.6, 0.5), (0.9, 0.3), (1.0, 0.0)):
        held.update(accuracy)
        assert held.value == pytest.approx(expected)
    assert multiplier(ConstraintConfig(), [Reference(2, 4)]) is None


# what a question brings


def dialogue(scenario: Scenario, revealed: Sequence[str | None]) -> Episode:
    asked = tuple(Question(text=name or "?", answer="!", revealed=name) for name in revealed)
    return played().model_copy(update={"scenario_id": scenario.id, "questions": asked})


@pytest.mark.parametrize("kind", ["exact", "bayesian"])
def test_information_adds_up_to_what_all_answers_are_worth(kind: str) -> None:
    factory: Any = exact if kind == "exact" else learn(kind, scenarios("train", 200, 0), grade)
    for scenario in SCENARIOS:
        before = after = factory(scenario)
        for preference in scenario.profile:
            after = after.answer(preference.attribute, preference.value)
        names = [preference.attribute for preference in scenario.profile]
        gains = information(dialogue(scenario, names), scenario, before, nobody_knows)
        assert sum(gains) == pytest.approx(after.expected_alignment() - before.expected_alignment())
        assert max(gains) > 0.1


def test_a_question_again_or_about_nothing_brings_nothing() -> None:
    scenario = SCENARIOS[0]
    first = scenario.profile[0].attribute
    gains = information(dialogue(scenario, [first, first, None]), scenario, exact(scenario), nobody_knows)
    assert gains[0] != 0 and gains[1:] == [0, 0]


def test_no_preference_is_an_answer_where_the_question_is_understood() -> None:
    scenario = SCENARIOS[0]
    start = exact(scenario)
    wanted = {preference.attribute for preference in scenario.profile}
    other = next(name for name in start.candidates if name not in wanted)
    gains = information(dialogue(scenario, [None]), scenario, start, lambda text: other)
    assert gains == [start.answer(other, None).expected_alignment() - start.expected_alignment()]
    assert information(dialogue(scenario, [None]), scenario, start, nobody_knows) == [0.0]


def test_credits_compare_the_same_question_of_the_same_group() -> None:
    groups, gains = ["a", "a", "b", "a", "b"], [[1.0, 0.5], [3.0], [7.0], None, []]
    assert centred(groups, gains) == [[-1, 0], [1], [0], [], []]
    group = centred(groups, gains, "group")  # of [-1, 0, 1] the standard deviation is 1
    assert [value for row in group for value in row] == pytest.approx([-1, 0, 1, 0], abs=1e-3)
    batch = centred(groups, gains, "batch")
    assert batch[0][0] == pytest.approx(-1 / (2 / 3) ** 0.5, rel=1e-3)  # of [-1, 0, 1, 0]


def test_a_credit_is_on_the_tokens_of_its_question_alone() -> None:
    assert by_token([0.5, -1.0], [1, 1, 0, 1, 0, 0, 1]) == [0.5, 0.5, 0, -1.0, 0, 0, 0]
    assert by_token([], [1, 0, 1]) == [0, 0, 0]


# what is logged and learned from of an episode


def test_the_figures_of_an_episode_by_hand() -> None:
    logged: dict[str, list[float]] = {}
    episode = played(3.0, correct=False, weights={"tone": 0.75, "order": 0.25}).model_copy(
        update={"questions": (Question(text="?", answer="!", revealed="tone"), Question(text="?", answer="!"))}
    )
    rollout = Rollout(episode, Reference(2.0, 4.0), [0.25, 0.0])
    for each in (rollout, replace(rollout, dropped="error")):
        report(each, lambda name, value: logged.setdefault(name.removeprefix("episodes/"), []).append(value))
    assert logged == {
        "error": [0, 1], "empty": [0, 0], "questions": [2], "recall": [0.75], "accuracy": [0], "alignment": [3],
        "normalized": [0.5], "below_baseline": [0], "truncated": [0], "malformed": [0], "precision": [1, 0],
        "information": [0.5, 0],
    }  # fmt: skip


def test_an_episode_without_a_token_is_a_row_without_a_lesson() -> None:
    assert tokens(Rollout(played(), Reference(2, 4), None, dropped="empty"), 7) == ([7], [7], [0], [0.0])
