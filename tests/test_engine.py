"""The data engine keeps what is right, justified and better, and its dialogues say exactly what they revealed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from authoring import BUDGET, SCENARIOS, Author, engine, small, spans, stated

from prefdisco.conditions import parse_condition, prompt
from prefdisco.config import ConfigError, Mix, TeachConfig
from prefdisco.elicitation import replay
from prefdisco.elicitation.beliefs import LearnedBelief
from prefdisco.elicitation.policies import ExpectedValuePolicy
from prefdisco.engine.dialogues import Interview, close, interview, told
from prefdisco.engine.filters import VERDICTS, best, verdict
from prefdisco.engine.outcomes import Talk, summary_of
from prefdisco.engine.selfdistill import weights
from prefdisco.engine.teaching import IGNORED, lessons, rows
from prefdisco.grading import graded
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.pocket.attributes import DIMENSIONS, GENERIC_PLAN
from prefdisco.pocket.belief import belief
from prefdisco.pocket.judge import PocketJudge
from prefdisco.pocket.reader import read as read_plan
from prefdisco.pocket.users import attribute_of, understand
from prefdisco.protocol import join_thinking, parse_turn
from prefdisco.schema import Episode, Scenario
from prefdisco.users import STOP
from prefdisco.world import world_of


def talk(scenario: Scenario, policy: str = "exact", budget: int = BUDGET, cost: float = 0.02) -> Interview:
    world = world_of(SCENARIOS)
    return asyncio.run(interview(scenario, world.policies(policy, budget, [cost])[cost], world, budget, seed=0))


@pytest.fixture(scope="module")
def local() -> LocalModel:
    return small()


class BlindJudge:
    """A judge that grades a profile and nothing else."""

    name = "blind"

    async def grade(self, scenario: Scenario, response: str) -> Any:
        raise NotImplementedError


# filters


def trace(**fields: Any) -> Episode:
    base: dict[str, Any] = {
        "scenario_id": "s", "problem_id": "p", "persona_id": "a", "condition": "oracle_preferences", "seed": 0,
        "response": "Answer: 42.", "correct": True, "alignment": 4.0, "weights": {"tone": 1.0},
    }  # fmt: skip
    return Episode(**{**base, **fields})


@pytest.mark.parametrize(
    ("fields", "generic", "touched", "expected"),
    [
        ({}, 3.0, {"tone"}, "kept"),
        ({}, 3.75, set(), "kept"),  # exactly the margin is enough
        ({}, 3.76, set(), "no_better"),
        ({"alignment": 5.0}, 5.0, set(), "kept"),  # nothing can beat the best
        ({"alignment": 4.99}, 4.9, set(), "no_better"),
        ({"alignment": 5 - 1e-15}, 5.0, set(), "kept"),  # the best, but for rounding
        ({}, None, set(), "kept"),  # nothing to beat
        ({}, 3.0, None, "kept"),  # a judge that cannot tell
        ({}, 3.0, {"tone", "order"}, "unjustified"),
        ({"weights": {}}, None, {"tone"}, "unjustified"),
        ({"correct": False}, 3.0, {"order"}, "wrong"),
        ({"correct": None}, 3.0, set(), "wrong"),
        ({"malformed_turns": 1, "correct": False}, 3.0, set(), "malformed"),
        ({"truncated": True}, 3.0, set(), "malformed"),
        ({"response": ""}, 3.0, set(), "malformed"),
        ({"error": "ModelError: x", "alignment": None}, 3.0, set(), "error"),
        ({"alignment": None}, 3.0, set(), "error"),
    ],
)
def test_the_first_filter_that_fails_is_the_verdict(
    fields: dict[str, Any], generic: float | None, touched: set[str] | None, expected: str
) -> None:
    assert verdict(trace(**fields, touched=touched), generic, 0.25) == expected
    assert expected in VERDICTS


def test_best_is_the_first_of_the_highest_kept() -> None:
    traces = [trace(alignment=a, seed=i) for i, a in enumerate((3.0, 5.0, 4.0, 4.0))]
    assert best(zip(traces, ("kept", "wrong", "kept", "kept"), strict=True)) == traces[2]
    assert best([(traces[1], "wrong")]) is None


# dialogues


@pytest.mark.parametrize("policy", ["exact", "expected_value", "random", "fixed"])
def test_an_interview_reveals_exactly_what_the_profile_says(policy: str) -> None:
    for scenario in SCENARIOS:
        found = talk(scenario, policy)
        told_of = [q.revealed for q in found.questions if q.revealed]
        assert [p.attribute for p in found.revealed] == told_of and len(set(told_of)) == len(told_of)
        assert all(scenario.preference(p.attribute) == p for p in found.revealed)
        for question in found.questions:
            preference = scenario.preference(question.revealed or "")
            if preference:
                assert understand(preference.attribute, question.answer) == preference.value
        assert len(found.questions) <= BUDGET


def test_the_exact_policy_asks_about_what_is_worth_most_and_never_twice() -> None:
    world = world_of(SCENARIOS)
    policy = world.policies("exact", BUDGET, [0.02])[0.02]
    for scenario in SCENARIOS:
        answered: list[tuple[str, str | None]] = []
        for question in talk(scenario).questions:
            attribute = policy.next_attribute(scenario, answered, 0)
            assert attribute is not None and attribute not in dict(answered)
            assert question.text in DIMENSIONS[attribute].questions
            preference = scenario.preference(attribute)
            assert question.revealed == (attribute if preference else None)
            answered.append((attribute, preference.value if preference else None))
        more = policy.next_attribute(scenario, answered, 0)
        assert len(answered) == BUDGET or more is None
        replay(belief(scenario), answered)  # raises if the answers were impossible


def test_a_question_that_costs_more_than_it_can_bring_is_not_asked() -> None:
    found = talk(SCENARIOS[0], cost=5.0)
    assert found.questions == () and found.revealed == ()
    assert list(found.messages) == parse_condition("discovery").opening(SCENARIOS[0], BUDGET)


def test_the_request_for_the_final_answer_comes_with_the_last_answer_of_a_spent_budget_only() -> None:
    for scenario in SCENARIOS[:10]:
        for budget in (1, 3):
            found = talk(scenario, "random", budget, cost=0.0)
            spent = len(found.questions) == budget
            assert found.messages[-1].content.endswith(prompt("final_request")) == spent
            assert sum(prompt("final_request") in m.content for m in found.messages[1:]) == spent


def test_a_dialogue_looks_as_the_loop_would_have_made_it() -> None:
    """Wire format and thinking in the agent's turns, plain words in the user's, the attribute asked in the thinking."""
    found = talk(SCENARIOS[1])
    turns = found.messages[2:]
    assert [m.role for m in turns] == ["assistant", "user"] * len(found.questions)
    for message, question in zip(turns[::2], found.questions, strict=True):
        assert parse_turn(message.content) == ("question", question.text)
        assert message.thinking.startswith("Unknown: ")
    for message, question in zip(turns[1::2], found.questions, strict=True):
        assert message.content.startswith(question.answer) and not message.thinking and STOP not in message.content
    closed = close(found, "I know.", "Answer: 1.")
    assert closed[:-1] == list(found.messages) and parse_turn(closed[-1].content) == ("final", "Answer: 1.")


def test_told_rescales_the_weights_of_what_was_revealed() -> None:
    scenario = SCENARIOS[0]
    revealed = scenario.profile[1:3]
    known = told(scenario, revealed)
    assert [p.attribute for p in known.profile] == [p.attribute for p in revealed]
    assert sum(p.weight for p in known.profile) == pytest.approx(1)
    assert known.profile[0].weight / known.profile[1].weight == pytest.approx(revealed[0].weight / revealed[1].weight)
    assert {c.attribute: c.weight for c in known.rubric} == pytest.approx(weights(known))
    assert (known.id, known.problem, known.persona) == (scenario.id, scenario.problem, scenario.persona)
    assert weights(told(scenario, scenario.profile)) == pytest.approx(weights(scenario))


# tokens


def test_the_mask_covers_exactly_the_agents_turns(local: LocalModel) -> None:
    made = engine(local)
    for scenario in SCENARIOS[:8]:
        messages = close(talk(scenario), "So 3.", "Answer: 3.")
        tokens = made.tokens(messages)
        assert len(tokens.ids) == len(tokens.mask) == len(tokens.logprobs) and not any(tokens.logprobs)
        runs = spans(tokens.mask)
        said = [join_thinking(m.thinking, m.content) for m in messages if m.role == "assistant"]
        own = [local.tokenizer.decode(tokens.ids[a:b]) for a, b in runs]
        assert own == [f"{text}<|im_end|>" for text in said]
        read = local.tokenizer.decode([i for i, own_ in zip(tokens.ids, tokens.mask, strict=True) if not own_])
        assert all(m.content in read for m in messages if m.role != "assistant")
        assert local.tokenizer.decode(tokens.ids) == local.chat.render(messages, True, False).removesuffix("\n")


def test_rows_learn_the_agents_tokens_and_nothing_else(local: LocalModel) -> None:
    messages = close(talk(SCENARIOS[0]), "So 3.", "Answer: 3.")
    tokens = engine(local).tokens(messages)
    (made,) = rows([Talk.of("discovery", messages, tokens)])
    assert made["input_ids"] == tokens.ids
    assert [label != IGNORED for label in made["labels"]] == [bool(own) for own in tokens.mask]
    assert all(label in (IGNORED, token) for label, token in zip(made["labels"], tokens.ids, strict=True))


# the pipeline


def test_a_trace_never_uses_what_was_not_revealed(local: LocalModel) -> None:
    """The student's text is justified by its own dialogue: nothing beyond it, and the profile is not in it."""
    judge, kept = PocketJudge(), 0
    author = Author(local)
    made = engine(author)
    for scenario in SCENARIOS:
        outcome = asyncio.run(made.run(scenario))
        dialogue = asyncio.run(made.dialogue(scenario))
        allowed = {p.attribute for p in dialogue.revealed}
        for each in lessons([outcome], TeachConfig(), local.chat):
            kept += 1
            text = str(local.tokenizer.decode(each.ids))
            response = text.rpartition("###RESPONSE###: ")[2].removesuffix("<|im_end|>")
            assert judge.touched(scenario, response) <= allowed
            assert prompt("oracle_preferences").split("{")[0].strip()[:30] not in text
            assert scenario.persona.description not in text
        assert outcome.revealed == len(allowed) and sum(outcome.verdicts.values()) == (2 if allowed else 1)
    assert kept >= 0.8 * len(SCENARIOS)
    for conversation in author.seen:  # nor was the writer told more than the dialogue revealed
        scenario = next(s for s in SCENARIOS if s.problem.question == conversation.messages[-1].content)
        revealed = {p.attribute for p in asyncio.run(made.dialogue(scenario)).revealed}
        assert set(stated(conversation.messages[0].content)) <= revealed


def test_a_trace_may_follow_what_the_belief_infers_from_the_answers(local: LocalModel) -> None:
    """And only that: what is inferred depends on the dialogue and never on the profile behind it."""
    judge, guessed, right = PocketJudge(), 0, 0
    author = Author(local)
    made = engine(author, inferred=0.05, budget=2)
    for scenario in SCENARIOS:
        outcome = asyncio.run(made.run(scenario))
        dialogue = asyncio.run(made.dialogue(scenario))
        known = belief(scenario)
        for question in dialogue.questions:
            preference = scenario.preference(question.revealed or "")
            known = known.answer(attribute_of(question.text) or "", preference.value if preference else None)
        inferred = known.inferred(0.05)
        assert [(each.attribute, each.value) for each in made.inferred(scenario, dialogue)] == inferred
        for each in outcome.talks:
            if each.kind == "discovery":
                plan = read_plan(scenario.problem, parse_turn(each.messages[-1].content).text)
                assert inferred == [(name, value) for name, value in inferred if plan[name] == value]
                allowed = {p.attribute for p in dialogue.revealed} | {name for name, _ in inferred}
                assert judge.touched(scenario, parse_turn(each.messages[-1].content).text) <= allowed
        guessed += len(inferred)
        right += sum((p := scenario.preference(name)) is not None and p.value == value for name, value in inferred)
    assert 0 < right < guessed


def test_what_is_inferred_needs_a_judge_that_can_grade_it(local: LocalModel) -> None:
    world = replace(world_of(SCENARIOS), judge=BlindJudge())
    with pytest.raises(ConfigError, match=r"data\.inferred: what was not told has no rubric, and this judge"):
        engine(Author(local), world, inferred=0.05)


def test_touches_out_of_the_air_are_unjustified(local: LocalModel) -> None:
    for scenario in SCENARIOS[:6]:
        revealed = {p.attribute for p in talk(scenario).revealed}
        extra = next(name for name in ("tone", "summary", "heading", "closing") if name not in revealed)
        author = Author(local, {extra: next(iter(DIMENSIONS[extra].values))})
        outcome = asyncio.run(engine(author).run(scenario))
        assert set(outcome.verdicts) == {"unjustified"} and outcome.talks == ()


def test_wrong_traces_are_dropped(local: LocalModel) -> None:
    outcome = asyncio.run(engine(Author(local, wrong=True)).run(SCENARIOS[0]))
    assert set(outcome.verdicts) == {"wrong"} and outcome.talks == () and not outcome.generic_correct


def test_where_nothing_was_revealed_the_generic_answer_is_the_trace(local: LocalModel) -> None:
    outcome = asyncio.run(engine(Author(local), budget=0).run(SCENARIOS[0]))
    assert (outcome.questions, outcome.revealed, outcome.verdicts) == (0, 0, {"kept": 1})
    response = str(local.tokenizer.decode(outcome.talks[0].ids)).rpartition("###RESPONSE###: ")[2]
    assert PocketJudge().touched(SCENARIOS[0], response.removesuffix("<|im_end|>")) == set()


def test_a_kept_trace_beats_the_generic_answer_on_what_was_revealed(local: LocalModel) -> None:
    for scenario in SCENARIOS[:10]:
        made = engine(Author(local))
        dialogue = asyncio.run(made.dialogue(scenario))
        generic = asyncio.run(made.generic(scenario))
        found, counts = asyncio.run(made.trace(scenario, dialogue, generic))
        assert found is not None and set(counts) == {"kept"}
        known = told(scenario, dialogue.revealed)
        floor = asyncio.run(graded(generic.model_copy(update={"weights": weights(known)}), known, PocketJudge()))
        assert found.alignment == pytest.approx(5) and floor.alignment is not None
        assert floor.alignment < 4.999 or all(GENERIC_PLAN[p.attribute] == p.value for p in dialogue.revealed)


def test_the_mix_adds_each_kind_in_its_share_and_is_the_same_every_time(local: LocalModel) -> None:
    everything = Mix(plain=0.25, oracle=0.25, no_think=0.25)  # as many of each as dialogues
    made = [asyncio.run(engine(Author(local), mix=everything).run(s)) for s in SCENARIOS[:6]]
    again = [asyncio.run(engine(Author(local), mix=everything).run(s)) for s in SCENARIOS[:6]]
    assert made == again
    for outcome in made:
        taught = lessons([outcome], TeachConfig(), local.chat)
        assert [each.kind for each in taught] == ["discovery", "plain", "oracle", "no_think"]
        texts = {each.kind: str(local.tokenizer.decode(each.ids)) for each in taught}
        assert "assistant\n<think></think>" in texts["no_think"] and "<think>I know." in texts["plain"]
        assert "<|im_start|>system" in texts["oracle"] and "<|im_start|>system" not in texts["plain"]
    counts = summary_of(made)
    assert counts["survived"] == counts["scenarios"] == 6


def test_policy_self_lets_the_model_ask_its_own_questions(local: LocalModel) -> None:
    outcome = asyncio.run(engine(Author(local), policy="self").run(SCENARIOS[0]))
    assert (outcome.questions, outcome.revealed) == (0, 0)  # this author never asks


def test_a_learned_belief_is_fitted_on_the_training_scenarios(local: LocalModel) -> None:
    made = engine(Author(local), policy="expected_value", belief="prior")
    policy = made.policies[0.02]
    assert isinstance(policy, ExpectedValuePolicy)
    belief = policy.factory(SCENARIOS[0])
    assert isinstance(belief, LearnedBelief) and belief.key[0] == "prior"
    assert set(belief.candidates) == {p.attribute for s in SCENARIOS for p in s.profile}
    assert asyncio.run(made.dialogue(SCENARIOS[0])).questions


def test_of_several_costs_each_scenario_draws_one(local: LocalModel) -> None:
    def asked(cost: float | list[float]) -> list[int]:
        made = engine(Author(local), policy="expected_value", question_cost=cost)
        return [len(asyncio.run(made.dialogue(scenario)).questions) for scenario in SCENARIOS]

    assert asked([0.01]) == asked(0.01) and not any(asked(9.0))
    drawn = asked([0.01, 9.0])
    assert all(number in (0, most) for number, most in zip(drawn, asked(0.01), strict=True))
    assert 0 < sum(number == 0 for number in drawn) < len(drawn)


def test_hard_scenarios_get_more_tries(local: LocalModel) -> None:
    class Slow(Author):
        """Right only in its last of six tries."""

        async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
            told_all = conversation.messages[0].role == "system"
            self.wrong = told_all and sum(len(each.messages) > 1 for each in self.seen) < 5
            return await super().complete(conversation, sampling)

    few = asyncio.run(engine(Slow(local), samples=2, most_samples=4).run(SCENARIOS[0]))
    assert few.verdicts == {"wrong": 4} and not few.talks
    more = asyncio.run(engine(Slow(local), samples=2, most_samples=6).run(SCENARIOS[0]))
    assert more.verdicts == {"wrong": 5, "kept": 1} and more.talks
