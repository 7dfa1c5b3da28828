"""Questions to choose from: what a draft loses against the best, which is taken, and what is recorded of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from prefdisco.conditions import parse_condition
from prefdisco.config import RewardConfig
from prefdisco.dialogue import play
from prefdisco.elicitation import DISCOUNT, lookahead
from prefdisco.engine.drafts import Drafted, parsed
from prefdisco.grading import graded
from prefdisco.judges import Verdict
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling, Usage
from prefdisco.llm.local import LocalModel
from prefdisco.llm.rows import Row
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.llm.tokens import Draft
from prefdisco.pocket.attributes import ATTRIBUTES, DIMENSIONS, GENERIC_PLAN, preference
from prefdisco.pocket.belief import Belief, belief
from prefdisco.pocket.judge import PocketJudge
from prefdisco.pocket.scenarios import scenarios
from prefdisco.pocket.users import attribute_of
from prefdisco.pocket.writer import write
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Message, Question, Scenario
from prefdisco.training.candidates import Deliberation, Drafting
from prefdisco.training.references import Reference
from prefdisco.training.rewards import earned
from prefdisco.world import world_of

KNOWN = Reference(baseline=2.5, oracle=4.5)  # a unit of 2 alignment points
SCENARIO = scenarios("train", 8, 0)[0]
START = belief(SCENARIO)
ROW = Row([], Sampling(), 1)
GAINS = sorted(START.gains().values(), reverse=True)


@pytest.fixture(scope="module")
def base() -> LocalModel:
    return LocalModel("pocket-base", device="cpu")


def deliberation(agent: Any, budget: int = 3, kind: type[Deliberation] = Deliberation, **reward: float) -> Deliberation:
    drafting = Drafting(RewardConfig(**{"question": 0.0, "information": 2.0, "tolerance": 0.0, **reward}), 6, budget)
    both = kind(agent, world_of([SCENARIO]), SCENARIO, "discovery", START, KNOWN, drafting)
    both.asked = about
    return both


def about(question: str) -> str | None:
    """A bare name stands for itself."""
    return question if question in ATTRIBUTES else attribute_of(question)


def said(text: str, thinking: str = "<think>So.</think>") -> Drafted:
    """A draft with this text."""
    return parsed(Draft(Completion(thinking + text, "stop", Usage()), [], ROW))


def loss(text: str, budget: int = 3, **reward: float) -> float:
    both = deliberation(ScriptedModel([]), budget, **reward)
    return both.loss(said(text, thinking=""), lookahead(START, both.price, budget))


def test_a_question_loses_what_the_best_one_would_bring_beyond_it() -> None:
    """The last one by its own gain, earlier ones with the best question that is left after them."""
    for name, gain in START.gains().items():
        assert loss(format_question(name), 1) == pytest.approx((gain - GAINS[0]) / 2)
    values = lookahead(START, 0.0, 3)
    for name, value in values.items():
        assert loss(format_question(name)) == pytest.approx((value - max(values.values())) / 2)
    assert loss(format_question("weather"), 1, question=0.01) == pytest.approx(-0.01 - (GAINS[0] / 2 - 0.01))
    waste = DISCOUNT * (GAINS[0] / 2 - 0.01) - 0.01 - max(lookahead(START, 0.02, 3).values()) / 2
    assert loss(format_question("weather"), question=0.01) == pytest.approx(waste)
    best = format_question(max(values, key=lambda name: values[name]))
    assert loss(f"<think>So.</think><think>Or</think>{best}", format=0.3) == loss(f"<think>So.</think>{best}") - 0.3


def test_looking_ahead_counts_the_best_question_after_every_answer() -> None:
    gains = START.gains()
    for cost in (0.0, 0.3):
        values = lookahead(START, cost, 2)
        assert lookahead(START, cost, 5) == values and lookahead(START, cost, 1) == {
            name: gain - cost for name, gain in gains.items()
        }
        for name, gain in gains.items():
            after = sum(
                chance * max([0.0, *(each - cost for each in START.answer(name, value).gains().values())])
                for chance, value in START.outcomes(name)
                if chance > 0
            )
            assert values[name] == pytest.approx(gain - cost + DISCOUNT * after)
    first = sorted(gains, key=lambda name: -gains[name])[:2]
    assert abs(values[first[0]] - values[first[1]]) < gains[first[0]] - gains[first[1]], "the order hardly matters"


def test_a_question_that_was_asked_before_loses_what_an_answer_does() -> None:
    best, other = sorted(START.gains(), key=lambda name: -START.gains()[name])[:2]
    both = deliberation(ScriptedModel([]))
    asyncio.run(both.reply(SCENARIO, [], best, 0))
    values = lookahead(both.belief, 0.0, both.left)
    lost = both.loss(said(format_question(best)), values)
    assert both.left == 2 and lost == both.loss(said(format_final("42")), values)
    both.reward = both.reward.model_copy(update={"question": 0.01})
    assert both.loss(said(format_question(best)), values) == both.loss(said(format_final("42")), values) - 0.01
    both.reward = both.reward.model_copy(update={"question": 9})
    assert both.loss(said(format_question(best)), {}) == -9 < 0 == both.loss(said(format_final("42")), {})
    both.reward = both.reward.model_copy(update={"question": 0})
    assert lost < both.loss(said(format_question("weather")), values) < 0
    assert lost < both.loss(said(format_question(other)), values)


def test_an_answer_loses_all_questions_that_were_left_and_worth_their_price() -> None:
    assert loss(format_final("42")) == loss("no action at all") == pytest.approx(-sum(GAINS[:3]) / 2)
    between = (GAINS[0] + GAINS[1]) / 4
    assert loss(format_final("42"), question=between) == pytest.approx(between - GAINS[0] / 2)
    dear = GAINS[0] / 2 + 0.1
    assert loss(format_final("42"), question=dear) == 0 > loss(format_question(max(START.gains())), question=dear)


def test_the_best_draft_is_taken_and_earns_what_it_is_beyond_their_mean(base: LocalModel) -> None:
    losses: list[float] = []
    rewards: list[float] = []

    class Spy(Deliberation):
        def loss(self, drafted: Drafted, values: Mapping[str, float]) -> float:
            losses.append(super().loss(drafted, values))
            return losses[-1]

        async def answered(self, drafted: Drafted) -> tuple[float, bool]:
            rewards.append((await super().answered(drafted))[0])
            return rewards[-1], True

    both = deliberation(base, 2, Spy)
    sampling = Sampling(temperature=1.0, max_tokens=96)
    episode = asyncio.run(play(SCENARIO, parse_condition("discovery"), both, both, sampling, 2, 2))
    asked = [losses[start : start + 6] for start in range(0, len(losses), 6)]
    assert episode.error is None and len(asked) == len(episode.questions) == 2 and len(rewards) == 6
    above = [2 * (max(turn) - fmean(turn)) for turn in asked]
    assert both.credits == pytest.approx([*above, max(rewards) - fmean(rewards)])
    assert len(both.right) == 6
    known = START
    for question, turn, left in zip(episode.questions, asked, (2, 1), strict=True):
        name = attribute_of(question.text) or ""
        values = lookahead(known, 0.0, left)
        nothing = DISCOUNT * max(known.gains().values()) if left == 2 else 0.0
        assert max(turn) == pytest.approx((values.get(name, nothing) - max(values.values())) / 2)
        preference = SCENARIO.preference(name)
        if name in values:
            known = known.answer(name, preference.value if preference else None)
    assert both.belief.key == known.key
    verdict = asyncio.run(graded(episode, SCENARIO, world_of([SCENARIO]).judge))
    asked_for = RewardConfig(question=0.0, information=2.0)
    hoped = verdict.model_copy(update={"alignment": expected(known, episode.response)})
    assert earned(hoped, KNOWN, asked_for) == pytest.approx(max(rewards))


def expected(known: Belief, response: str) -> float:
    """The mean alignment of a response over all profiles that the belief thinks possible, by its own numbers."""
    found = 0.0
    for (name, value), weight in known.wanted().items():
        (grade,) = PocketJudge().grades(SCENARIO, response, [preference(name, value, weight)])
        found += weight * grade.score
    return found


def test_what_an_answer_guesses_is_worth_what_the_belief_expects_of_it() -> None:
    known = START
    for each in SCENARIO.profile[:2]:
        known = known.answer(each.attribute, each.value)
    told = {each.attribute: each.value for each in SCENARIO.profile[:2]}
    guessed = {name: value for name, value in known.best_plan().items() if value is not None}
    assert guessed.items() > told.items()
    both = deliberation(ScriptedModel([]), overcorrection=0.0, correctness=0.0)
    both.belief = known

    def worth(plan: dict[str, str]) -> float:
        text = format_final(write(SCENARIO.problem, plan, random.Random(0)))
        return asyncio.run(both.answered(said(text)))[0]

    rise = (known.expected_alignment() - KNOWN.baseline) / 2
    assert worth(guessed) == pytest.approx(rise) and worth(told) < rise - 0.05
    both.questions = [Question(text="?", answer="!", revealed=name) for name in told]
    both.reward = both.reward.model_copy(update={"guess": 1.0})
    beyond = {name for name, value in guessed.items() if value != GENERIC_PLAN[name]} - set(told)
    assert beyond and worth(guessed) == pytest.approx(rise - len(beyond)), "each has its price"
    assert worth(told) > worth(guessed)


class Written:
    """An agent whose drafts are given."""

    name = "written"

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    async def drafts(self, conversation: Conversation, samplings: Any) -> list[Draft]:
        found = []
        for text in self.texts:
            found.append(said(text).draft)
        return found

    def adopt(self, conversation: Conversation, draft: Draft) -> Completion:
        return draft.completion


def credit(condition: str, *texts: str, scaled: bool = False, **reward: float) -> float:
    """What the best of these drafts earns."""
    settings = RewardConfig(**{"question": 0.0, "information": 2.0, "tolerance": 0.0, **reward})
    agent: Any = Written(*texts)
    drafting = Drafting(settings, len(texts), 1, scaled)
    both = Deliberation(agent, world_of([SCENARIO]), SCENARIO, condition, START, KNOWN, drafting)
    asyncio.run(both.complete(Conversation([]), Sampling()))
    (earned,) = both.credits
    return earned


RIGHT, KIND, WRONG = (
    write(SCENARIO.problem, {}, random.Random(0)),
    write(SCENARIO.problem, {p.attribute: p.value for p in SCENARIO.profile}, random.Random(0)),
    write(SCENARIO.problem, {}, random.Random(0), slip=random.Random(1)),
)


def test_scaled_credits_are_in_standard_deviations_and_do_not_fade() -> None:
    best = max(START.gains(), key=lambda name: START.gains()[name])
    asked = [format_question(name) for name in ("weather", best, "weather", "weather")]
    assert credit("discovery", *asked) == pytest.approx(2 * 0.75 * GAINS[0] / 2)
    assert credit("discovery", *asked, scaled=True) == pytest.approx(2 * 1.5, rel=0.02)
    fine = credit("discovery", *asked, scaled=True, tolerance=GAINS[0])  # more than what lies between
    assert fine == pytest.approx(2 * 0.75 * 0.5)
    assert credit("discovery", *asked[:1], scaled=True) == credit("discovery", *asked[2:], scaled=True) == 0
    answers = [format_final(text) for text in (RIGHT, KIND)]
    apart = credit("oracle", *answers)
    assert apart > 0.1 and credit("oracle", *answers, scaled=True) == pytest.approx(0.5**0.5, rel=0.02)


def test_a_wrong_answer_teaches_nothing_even_where_it_is_the_best() -> None:
    worse = unformed(WRONG)
    assert credit("oracle", format_final(WRONG), format_final(RIGHT)) > 0.2
    assert (
        credit("oracle", format_final(WRONG), worse) == 0 == credit("oracle", format_final(WRONG), worse, scaled=True)
    )


def test_what_could_not_be_better_is_imitated() -> None:
    best = max(START.gains(), key=lambda name: START.gains()[name])
    assert credit("discovery", format_question(best), imitation=0.3) == pytest.approx(0.3)
    answers = [format_final(text) for text in (RIGHT, KIND)]
    assert credit("oracle", *answers, imitation=0.3) == pytest.approx(credit("oracle", *answers) + 0.3)
    assert credit("discovery", format_question("weather"), imitation=0.3) == 0
    second = DIMENSIONS[sorted(START.gains(), key=lambda name: -START.gains()[name])[1]].questions[0]
    lost = (GAINS[0] - GAINS[1]) / 2
    assert credit("discovery", format_question(second), imitation=0.3, tolerance=lost * 0.9) == 0
    near = {"imitation": 0.3, "tolerance": lost * 1.1}
    assert credit("discovery", format_question(second), **near) == pytest.approx(0.3), "as good as the best"
    assert credit("discovery", format_question(best), imitation=0.3, question=9) == 0, "not worth its price"
    assert credit("discovery", answers[0], imitation=0.3) == 0, "too early"
    assert credit("discovery", answers[0], imitation=0.3, question=9) == pytest.approx(0.3), "nothing is worth a price"
    assert credit("oracle", format_final(WRONG), unformed(WRONG), imitation=0.3) == 0


def unformed(text: str) -> str:
    """The same without the form of an answer: it costs `reward.format`."""
    return format_question(text)


def test_a_plain_problem_earns_nothing_by_pleasing_somebody_unknown() -> None:
    answers = [format_final(text) for text in (RIGHT, KIND)]
    assert credit("baseline", *answers) == 0 < credit("oracle", *answers)
    assert credit("baseline", RIGHT, format_final(RIGHT)) == 0  # no form is asked there
    assert credit("baseline", format_final(RIGHT), format_final(WRONG)) == pytest.approx(0.25)


class DeadJudge:
    """A judge whose line is dead."""

    name = "dead"

    async def grade(self, scenario: Scenario, response: str) -> Verdict:
        raise ModelError("the line is dead")


def test_a_judge_that_fails_makes_the_episode_an_error(base: LocalModel) -> None:
    both = deliberation(base, budget=0)
    both.world = replace(both.world, judge=DeadJudge())
    sampling = Sampling(temperature=1.0, max_tokens=64)
    episode = asyncio.run(play(SCENARIO, parse_condition("discovery"), both, both, sampling, 0, 0))
    assert episode.error is not None and "the line is dead" in episode.error


def test_an_adopted_draft_is_recorded_as_if_it_had_been_written_alone(base: LocalModel) -> None:
    def talk() -> Conversation:
        return Conversation([Message(role="user", content=SCENARIO.problem.question)])

    settings = [Sampling(temperature=2.0, max_tokens=24, seed=seed) for seed in (3, 4, 5)]
    drafted, alone = talk(), talk()
    drafts = asyncio.run(base.drafts(drafted, settings))
    assert not drafted.ids and len({draft.completion.text for draft in drafts}) > 1
    base.adopt(drafted, drafts[1])
    said = asyncio.run(base.complete(alone, settings[1]))
    assert drafts[1].completion.text == said.text and drafted.ids == alone.ids and drafted.mask == alone.mask
    assert drafted.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    for each in (drafted, alone):
        each.messages += [Message(role="assistant", content="So."), Message(role="user", content="Go on.")]
        each.ids, each.mask = each.ids[:], each.mask[:]
    texts = [asyncio.run(base.complete(each, Sampling(max_tokens=8, seed=1))).text for each in (drafted, alone)]
    assert texts[0] == texts[1]
