"""From a played episode to a graded one: what evaluation and data engine do with the judge's verdict."""

from __future__ import annotations

from prefdisco.dialogue import describe
from prefdisco.judges import AnswerReader, Judge, Seer
from prefdisco.llm.base import ModelError
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.metrics import preference_alignment
from prefdisco.schema import Episode, Scenario, Usage

UNGRADED = {  # what a verdict says of an episode
    "correct": None,
    "grades": (),
    "alignment": None,
    "consistent": None,
    "touched": None,
    "judge_usage": Usage(),
}


async def graded(episode: Episode, scenario: Scenario, judge: Judge) -> Episode:
    """The episode with the judge's verdict; with an error instead where the judge failed."""
    if episode.error is not None:
        return episode
    try:
        correct, grades, usage = await judge.grade(scenario, episode.response)
        alignment = preference_alignment(grades, episode.weights)
        consistent = None
        if isinstance(judge, AnswerReader):
            consistent = await judge.consistent(scenario, episode.thinking, episode.response)
        touched = None
        if isinstance(judge, Seer) and episode.response:  # where nothing is said, nothing is acted on
            touched = tuple(sorted(judge.touched(scenario, episode.response)))
    except SpendingCapReached:
        raise
    except Exception as error:  # a judge that fails, however it does, is an error of this episode alone
        paid = error.usage if isinstance(error, ModelError) else Usage()
        return episode.model_copy(update={"error": f"judge: {describe(error)}", "judge_usage": paid})
    verdict = {"correct": correct, "grades": tuple(grades), "alignment": alignment, "judge_usage": usage}
    return episode.model_copy(update={**verdict, "consistent": consistent, "touched": touched})


def for_persona(played: Episode, scenario: Scenario) -> Episode:
    """A shared answer as another persona's episode; the usage stays with the first, so that sums count it once."""
    if played.scenario_id == scenario.id:
        return played
    return played.model_copy(
        update={
            "scenario_id": scenario.id,
            "persona_id": scenario.persona.id,
            "weights": {preference.attribute: preference.weight for preference in scenario.profile},
            "values": {preference.attribute: preference.value for preference in scenario.profile},
            "kinds": {preference.attribute: preference.kind for preference in scenario.profile},
            "usage": Usage(),
            "user_usage": Usage(),
        }
    )
