"""The dialogue loop: budget, stop, malformed turns, controls, seeds, tokens, errors."""

import asyncio

import pytest

from prefdisco.adaptivity import measure_adaptivity
from prefdisco.conditions import parse_condition, prompt
from prefdisco.config import ConfigError
from prefdisco.dialogue import play
from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.protocol import format_final, format_question
from prefdisco.schema import Episode, Scenario
from prefdisco.users import STOP, Reply, Shuffled, load_user
from tests.hand_made import Agent, TruthfulUser, asks, scenario, script


def played(
    agent: Agent, condition: str = "discovery", user: TruthfulUser | None = None, budget: int = 5, seed: int = 0
) -> Episode:
    return asyncio.run(
        play(scenario(), parse_condition(condition), agent, user or TruthfulUser(), Sampling(), seed, budget)
    )


def test_answers_are_recorded_with_what_they_revealed() -> None:
    episode = played(asks("tone", "height", then="42, formal"))
    assert [(q.text, q.answer, q.revealed) for q in episode.questions] == [
        ("Which tone?", "formal", "tone"),
        ("Which height?", "No preference.", None),
    ]
    assert (episode.response, episode.malformed_turns, episode.error) == ("42, formal", 0, None)
    assert episode.correct is None and episode.alignment is None
    assert episode.usage.calls == 3


def test_after_the_budget_the_final_answer_is_requested() -> None:
    episode = played(asks("tone", "format"), budget=2)
    assert episode.messages[-2].content == f"bullets\n{prompt('final_request')}"
    assert episode.response == "42"


def test_question_beyond_the_budget_is_the_answer_and_malformed() -> None:
    episode = played(asks("tone", "format", "tone"), budget=2)
    assert (episode.response, len(episode.questions), episode.malformed_turns) == ("Which tone?", 2, 1)


def test_stop_ends_the_questions_and_is_not_shown() -> None:
    class Stopping(TruthfulUser):
        async def reply(self, *args: object) -> Reply:
            return Reply(STOP, None)

    episode = played(asks("tone"), user=Stopping())
    assert episode.messages[-2].content == prompt("final_request")
    assert len(episode.questions) == 1 and episode.response == "42"


def test_turn_without_an_action_is_taken_as_the_answer() -> None:
    episode = played(script("<think>easy</think>It is 42."))
    assert (episode.response, episode.thinking, episode.malformed_turns) == ("It is 42.", "easy", 1)


def test_unclosed_thinking_leaves_nothing_to_grade() -> None:
    for condition in ("discovery", "baseline"):
        episode = played(Agent(lambda talk: "<think>42 42 42", finish="length"), condition)
        assert (episode.response, episode.malformed_turns, episode.truncated) == ("", 1, True)


def test_where_asking_is_not_allowed_plain_text_is_the_answer_and_a_frame_is_unwrapped() -> None:
    for condition in ("baseline", "oracle", "generic", "oracle_preferences"):
        assert (played(script("42"), condition).response, played(script("42"), condition).malformed_turns) == ("42", 0)
        assert played(script(format_final("42")), condition).response == "42"
        assert played(script(format_question("42?")), condition).malformed_turns == 1


def test_fixed_insists_twice_then_accepts() -> None:
    early = script(format_final("1"), format_final("2"), format_final("3"))
    episode = played(early, "fixed(3)")
    assert [m.content for m in episode.messages].count(prompt("ask_more")) == 2
    assert (episode.response, len(episode.questions)) == ("3", 0)


def test_fixed_asks_exactly_k_whatever_the_budget() -> None:
    episode = played(asks("tone", "format", "tone"), "fixed(2)", budget=5)
    assert len(episode.questions) == 2 and episode.messages[-2].content.endswith(prompt("final_request"))


def test_thinking_system_prompt_and_wire_format_are_hidden_from_the_user() -> None:
    user = TruthfulUser()
    agent = script("<think>secret</think>" + format_question("Which tone?"), format_question("Which format?"), "42")
    episode = played(agent, user=user)
    assert [(m.role, m.content, m.thinking) for m in user.heard[1]] == [
        ("user", "What is p1?", ""),
        ("assistant", "Which tone?", ""),
        ("user", "formal", ""),
    ]
    assert episode.messages[2].thinking == "secret"


def test_what_was_revealed_is_hidden_from_the_agent() -> None:
    agent = asks("tone")
    played(agent)
    assert [m.content for m in agent.seen[1][0] if m.role == "user"] == ["What is p1?", "formal"]


def test_tokens_are_those_that_were_generated() -> None:
    tokens = played(asks("tone")).tokens
    assert tokens is not None
    assert sum(tokens.mask) == len(format_question("Which tone?")) + len(format_final("42"))
    assert len(tokens.ids) == len(tokens.mask) == len(tokens.logprobs)


def test_every_turn_has_its_own_seed_and_personas_share_the_baseline_seed() -> None:
    def seeds(made: Scenario, condition: str, seed: int = 0) -> list[int]:
        agent = asks("tone") if condition == "discovery" else script("42")
        asyncio.run(play(made, parse_condition(condition), agent, TruthfulUser(), Sampling(), seed))
        return [sampling.seed for _, sampling in agent.seen]

    ann, bob = scenario(persona="ann"), scenario(persona="bob")
    assert len({*seeds(ann, "discovery"), *seeds(bob, "discovery"), *seeds(ann, "discovery", 1)}) == 6
    assert seeds(ann, "discovery") == seeds(ann, "discovery")
    assert seeds(ann, "baseline") == seeds(bob, "baseline") != seeds(ann, "baseline", 1)


@pytest.mark.parametrize("broken", ["agent", "user"])
def test_failed_call_is_an_error_of_the_episode(broken: str) -> None:
    def fail(talk: Conversation) -> str:
        raise ModelError("server is\ndown")

    class Failing(TruthfulUser):
        async def reply(self, *args: object) -> Reply:
            raise TimeoutError("too slow")

    episode = played(Agent(fail)) if broken == "agent" else played(asks("tone"), user=Failing())
    assert episode.error == ("ModelError: server is down" if broken == "agent" else "TimeoutError: too slow")
    assert episode.response == "" and episode.alignment is None


def test_prompts_state_what_the_condition_grants() -> None:
    made = scenario(source_domain="every_day")
    system = {name: parse_condition(name).opening(made, 4)[0].content for name in ("oracle", "discovery", "fixed(2)")}
    assert "- source domain: every day" in system["oracle"] and "ann, 40" in system["oracle"]
    assert "up to 4 questions" in system["discovery"] and "every day" not in system["discovery"]
    assert "exactly 2 questions" in system["fixed(2)"]
    attributes = parse_condition("attributes").opening(made, 4)[0].content
    assert "source domain" in attributes and "every day" not in attributes
    assert [m.role for m in parse_condition("baseline").opening(made, 4)] == ["user"]


def test_only_answers_that_cannot_know_the_persona_are_shared() -> None:
    names = ["baseline", "generic", "discovery", "oracle", "oracle_preferences", "attributes", "swapped", "fixed(1)"]
    assert [name for name in names if parse_condition(name).shared] == ["baseline", "generic"]


@pytest.mark.parametrize(
    ("name", "nearest"), [("discovry", "discovery"), ("fixed(0)", "fixed(k)"), ("oracl", "oracle")]
)
def test_unknown_condition_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match="did you mean") as caught:
        parse_condition(name)
    assert nearest in str(caught.value).split("did you mean")[1]


def test_shuffled_user_answers_for_somebody_of_another_type() -> None:
    world = [scenario(f"p{n}", f"person{n}", type=f"type{n % 3}", tone=f"tone{n}") for n in range(12)]
    shuffled = Shuffled(TruthfulUser(), world, seed=3)
    assert {shuffled.partner[made.id].id for made in world} == {made.id for made in world}
    assert all(shuffled.partner[made.id].persona.type != made.persona.type for made in world)
    told = asyncio.run(shuffled.reply(world[0], [], "Which tone?", 0))
    assert told == Reply(shuffled.partner[world[0].id].profile[0].value, None)


def test_nobody_answers_for_themselves_even_where_one_type_is_the_most() -> None:
    kinds = ("cook", "cook", "cook", "cook", "coach")
    world = [scenario(f"p{n}", f"person{n}", type=kind) for n, kind in enumerate(kinds)]
    partner = Shuffled(TruthfulUser(), world).partner
    assert all(partner[made.id].persona.type != made.persona.type for made in world)
    alike = [scenario(f"p{n}", "ann" if n < 4 else "bob", type="cook") for n in range(5)]
    partner = Shuffled(TruthfulUser(), alike).partner
    assert all(partner[made.id].persona.id != made.persona.id for made in alike)


def test_swapping_the_answers_of_one_person_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"condition swapped: .*at least 2 people.*got 3 of 1; raise limit"):
        Shuffled(TruthfulUser(), [scenario(f"p{n}", "ann") for n in range(3)])


def test_user_of_another_world_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="provider/name"):
        load_user("passive", [scenario()])


def test_adaptivity_tells_a_listener_from_a_list() -> None:
    def second(talk: Conversation) -> str:
        said = [m.content for m in talk.messages if m.role == "user"][1:]
        return [format_question("Which tone?"), format_question(f"Which {said[-1] if said else ''}?"), "42"][len(said)]

    for agent, expected in ((Agent(second), (True,)), (asks("tone", "format"), (False,))):
        episode, condition = played(agent), parse_condition("discovery")
        user = TruthfulUser()
        measured = asyncio.run(measure_adaptivity(episode, scenario(), condition, agent, user, Sampling()))
        assert measured.adaptive == expected
        assert agent.seen[-1][1] == agent.seen[1][1]  # the same sampling, seed included
        assert [m.content for m in agent.seen[-1][0]][-1] == "something else"
        assert measured.usage.calls == 4
