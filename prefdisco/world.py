"""The parts that a set of scenarios is played with: who answers, who grades, who knows the population.

Pocket's parts are computed; other scenarios bring their own. Only this module and the factories it calls look at which
of the two it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, get_args

from prefdisco.choices import BeliefName
from prefdisco.config import ConfigError, TrainRecipe
from prefdisco.elicitation import BeliefFactory, Policy, get_policy
from prefdisco.elicitation.grades import Grade, plain_grade
from prefdisco.judges import Judge, load_judge
from prefdisco.llm.base import Model
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.schema import Attribute, Preference, Scenario
from prefdisco.users import User, is_pocket, load_user


@dataclass(frozen=True)
class World:
    """User, judge, and what a question policy needs: scenarios to learn a belief from, and words for its questions."""

    user: User
    judge: Judge
    scenarios: Sequence[Scenario]
    question: Callable[[Scenario, str, int], str]  # scenario, attribute, seed -> the text of a question
    wondering: Callable[[str], str]  # attribute -> what an agent thinks before it asks
    preference: Callable[[str, str, float], Preference]  # attribute, value, weight -> as prompts state it

    def belief(self, name: str) -> BeliefFactory:
        """The belief called `name` about these people, learned from their scenarios where it is not computed."""
        return belief_of(name, self.scenarios, self.scenarios, "data.belief")

    def policies(self, name: str, budget: int, costs: Sequence[float], belief: str = "exact") -> dict[float, Policy]:
        """The question policy called `name` for each cost, asking from the belief called `belief`: the exact one, or
        one that is learned, once, from this world's scenarios. Raises ConfigError for names that there are not, or not
        here."""
        factory = self.belief(belief)
        try:
            return {cost: get_policy(name, factory, budget, cost) for cost in costs}
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"data.policy={name}: {error}") from None


def world_of(
    scenarios: Sequence[Scenario],
    user: str = "passive",
    judge: str = "exact",
    model: Callable[[str, str], Model] | None = None,
    variant: str = "passive",
    mode: str = "together",
) -> World:
    """The world of `scenarios`, all of one kind; a user or judge that is a model's name is `model(role, name)`.

    Raises ConfigError for a user or judge that the scenarios cannot have.
    """
    who = load_user(user, scenarios, partial(model, "user") if model else None, variant)
    grader = load_judge(judge, scenarios, partial(model, "judge") if model else None, mode)
    if not is_pocket(scenarios):
        described = {(each.attribute, each.value): each for scenario in scenarios for each in scenario.profile}
        return World(
            who,
            grader,
            scenarios,
            _plain_question,
            lambda attribute: f"I do not know about {attribute} yet.",
            lambda attribute, value, weight: described[attribute, value].model_copy(update={"weight": weight}),
        )
    from prefdisco.pocket.attributes import ask, preference, unknown

    return World(who, grader, scenarios, lambda scenario, attribute, seed: ask(attribute, seed), unknown, preference)


def recipe_world(
    recipe: TrainRecipe, scenarios: Sequence[Scenario], account: Account, user: str = "", judge: str = ""
) -> World:
    """The world that a recipe trains in, with `user` and `judge`, or else those of `eval`, which share `account`."""
    play = recipe.eval

    def model(role: str, name: str) -> Model:
        return load_model(name, role, recipe.remote, account=account)

    return world_of(scenarios, user or play.user, judge or play.judge, model, play.variant, play.judge_mode)


def belief_of(name: str, scenarios: Sequence[Scenario], training: Sequence[Scenario], key: str) -> BeliefFactory:
    """The belief called `name` about the people of `scenarios`: computed, or learned from `training`.

    `exact` knows which types of people there are in the split; `exact_train` takes everybody for one of those that
    training scenarios have, `exact_new` half for that and half for somebody of a type as theirs are made.
    Raises ConfigError, naming the configuration's `key`, for these where the world is not computed and for an unknown
    name.
    """
    from prefdisco.elicitation.beliefs import LEARNED, learn

    if name not in get_args(BeliefName):
        raise ConfigError(f"{key}={name}: unknown belief; choose one of {', '.join(get_args(BeliefName))}")
    if name in LEARNED:
        return learn(name, training, grade_of(scenarios))
    if not is_pocket(scenarios):
        raise ConfigError(
            f"{key}={name}: only Pocket's posterior is known exactly; choose a learned belief: {', '.join(LEARNED)}"
        )
    from prefdisco.pocket.belief import belief

    ways: dict[str, BeliefFactory] = {
        "exact": belief,
        "exact_train": partial(belief, split="train"),
        "exact_new": partial(belief, split="any"),
    }
    return ways[name]


def grade_of(scenarios: Sequence[Scenario]) -> Grade:
    """How plans for these scenarios are graded: by the world's own rule where it is computed."""
    if not is_pocket(scenarios):
        return plain_grade
    from prefdisco.pocket.attributes import grade

    return grade


class Offer(NamedTuple):
    """An attribute as people are asked about it: `labels` puts each value in words for them.

    `described` is what a prompt that states the preference says beside its name and value.
    """

    attribute: Attribute
    labels: Mapping[str, str]
    described: str


def offers_of(scenarios: Sequence[Scenario]) -> dict[str, list[Offer]]:
    """By problem id, the attributes on which somebody can state a preference.

    Pocket's are the same for all problems. Elsewhere they are those of the problem's profiles, with the values that
    they take anywhere in `scenarios`; 1..5 for those on a scale.
    """
    if is_pocket(scenarios):
        from prefdisco.pocket.attributes import ATTRIBUTES, DIMENSIONS

        everything = [
            Offer(each, {value: ways[0] for value, ways in DIMENSIONS[name].values.items()}, "")
            for name, each in ATTRIBUTES.items()
        ]
        return {scenario.problem.id: everything for scenario in scenarios}
    scale = {str(score): f"{score} of 5" for score in range(1, 6)}
    values: dict[str, set[str]] = {}
    for preference in (each for scenario in scenarios for each in scenario.profile):
        seen = values.setdefault(preference.attribute, set())
        seen.update(scale if preference.value in scale else [preference.value])
    found: dict[str, dict[str, Offer]] = {}
    for scenario in scenarios:
        for preference in scenario.profile:
            name, known = preference.attribute, sorted(values[preference.attribute])
            about = " ".join(preference.description.split())
            attribute = Attribute(
                name=name, kind=preference.kind, description=about or name.replace("_", " "), values=tuple(known)
            )
            labels = {value: scale.get(value, value.replace("_", " ")) for value in known}
            offer = Offer(attribute, labels, about)
            found.setdefault(scenario.problem.id, {}).setdefault(name, offer)
    return {problem: list(offers.values()) for problem, offers in found.items()}


def understanding(scenarios: Sequence[Scenario]) -> Callable[[str], str | None]:
    """What tells the attribute that a question is about; nothing, where the world is not computed."""
    if not is_pocket(scenarios):
        return lambda question: None
    from prefdisco.pocket.users import attribute_of

    return attribute_of


def _plain_question(scenario: Scenario, attribute: str, seed: int) -> str:
    return f"What would you prefer when it comes to {attribute.replace('_', ' ')}?"
