"""The simulated person behind a language model.

    user = LLMUser(model, "passive")
    reply = await user.reply(scenario, messages, "Shall I use a table?", seed=0)
    reply.text, reply.revealed     # "Yes, a table is best for me.", "representation"

The model gets a fixed system prompt (prompts/user_*.txt) and one user message: a JSON object made by `as_data`. What it
says passes `spoken` before an agent sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, create_model, field_validator, model_validator

from prefdisco.conditions import problem_text, prompt
from prefdisco.config import ConfigError
from prefdisco.llm.base import Model, Sampling
from prefdisco.llm.data import as_data, cut, spoken
from prefdisco.llm.structured import ask
from prefdisco.schema import Message, Scenario
from prefdisco.user_variants import lapses
from prefdisco.users import LAPSING, STOP, Reply

VARIANTS = ("passive", "nostop", "collaborative", *LAPSING)
LAPSED = {"forgetful": "forgotten", "noisy": "mistaken"}  # the field that names an answer's lapses
LONGEST_TURN = 4000  # characters of one turn of the agent that the person hears


class _UserReply(BaseModel):
    """What the model answers; `_record` narrows the types to one scenario's."""

    model_config = ConfigDict(extra="forbid")
    reveals: str | None
    text: str

    @field_validator("text")
    @classmethod
    def _only_words(cls, text: str) -> str:
        return spoken(text)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text and not self.stops:
            raise ValueError("text: has no words")
        return self

    @property
    def stops(self) -> bool:
        """Whether the person ends the questions."""
        return bool(getattr(self, "stop", False))


@lru_cache(maxsize=256)
def _record(attributes: tuple[str, ...], may_stop: bool, asked_before: bool) -> type[_UserReply]:
    """The reply of somebody with these attributes: no other name is valid, and nobody stops at the first question."""
    fields: dict[str, Any] = {"reveals": (Literal[attributes] | None, ...)}
    if may_stop:
        fields["stop"] = (bool if asked_before else Literal[False], ...)
    return create_model("UserReply", __base__=_UserReply, **fields)


class LLMUser:
    """A person played by `model`: one structured call a question, repaired twice where it is not valid.

    `passive` ends the questions when asked the same again, or about the problem again and again; `nostop` never does;
    `collaborative` answers an idle question with the weightiest preference that has not been talked about; `forgetful`
    and `noisy` are told which preferences they fail to say (user_variants.py). Raises ConfigError for another variant;
    `reply` raises ModelError where the model gave no valid answer.
    """

    def __init__(self, model: Model, variant: str = "passive", temperature: float = 0.4, max_tokens: int = 400) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"user variant {variant!r}: unknown; there are {', '.join(VARIANTS)}")
        self.name = f"{variant}({model.name})"
        self.model, self.variant = model, variant
        self.sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        self.rules = prompt("user_common").format(manner=prompt(f"user_{variant}"))

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        """The answer to `question`; `revealed` is what the model says that it tells, checked to be in the profile."""
        asked_before = any(message.role == "assistant" for message in messages)
        names = tuple(dict.fromkeys(preference.attribute for preference in scenario.profile))
        record = _record(names, self.variant == "passive", asked_before)
        lapsed = lapses(self.variant, scenario, seed) if self.variant in LAPSED else frozenset()
        failing = {LAPSED[self.variant]: sorted(lapsed)} if self.variant in LAPSED else {}
        talk = [
            Message(role="system", content=self.rules),
            Message(role="user", content=_situation(scenario, messages, question, failing)),
        ]
        answer = await ask(self.model, talk, record, replace(self.sampling, seed=seed))
        if answer.value.stops:
            return Reply(STOP, None, answer.usage)
        revealed = None if answer.value.reveals in lapsed else answer.value.reveals
        return Reply(answer.value.text, revealed, answer.usage)


def _situation(
    scenario: Scenario, messages: Sequence[Message], question: str, failing: Mapping[str, Sequence[str]]
) -> str:
    """Everything that the person knows, and `failing` to say, as data. What stays the same in a dialogue comes first;
    no gold answer."""
    persona, problem = scenario.persona, problem_text(scenario.problem)
    about = {
        "name": persona.name,
        "description": persona.description,
        "demographics": persona.demographics,
        "expertise": persona.expertise,
        "background": cut(persona.background, LONGEST_TURN)[0],
    }
    preferences = [
        {
            "attribute": preference.attribute,
            "value": preference.value,
            "scale": preference.details.get("value_range"),  # published values may be a number on a scale
            "meaning": preference.description,
        }
        for preference in sorted(scenario.profile, key=lambda preference: -preference.weight)
    ]
    dialogue = [
        {"speaker": "you" if message.role == "user" else "assistant", "text": cut(message.content, LONGEST_TURN)[0]}
        for message in messages
        if message.role != "system" and message.content != problem
    ]
    return as_data(
        person=_present(about),
        preferences=[_present(preference) for preference in preferences],
        problem=problem,
        dialogue=dialogue,
        **failing,
        question=cut(question, LONGEST_TURN)[0],
    )


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have something in them."""
    return {name: value for name, value in fields.items() if value}
