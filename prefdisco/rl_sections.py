"""The sections of a recipe of kind rl: how episodes are played, what they earn, and how the training is watched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prefdisco.choices import BeliefName
from prefdisco.extensions import Own
from prefdisco.loading import Section


class RolloutMix(Section):
    """What is played beside discovery, so that it is not forgotten. Shares of the rows that rounds are drawn from."""

    plain: float = Field(default=0.0, ge=0, lt=1, description="share of plain problems (baseline)")
    oracle: float = Field(default=0.0, ge=0, lt=1, description="share of problems whose prompt states the profile")


class RolloutConfig(Section):
    """How the episodes to learn from are played, most of them under discovery; `trainer` says how many (docs/rl.md)."""

    budget: int = Field(default=5, ge=0, description="questions allowed in an episode")
    temperature: float = Field(default=1.0, gt=0, description="sampling temperature; the loss uses it too")
    max_tokens: int = Field(default=256, ge=1, description="tokens of one turn of the agent, thinking included")
    batch_size: int = Field(default=256, ge=1, description="episodes generated together")
    candidates: int = Field(
        default=1,
        ge=1,
        description="turns that are drafted where the agent may ask; the one expected to bring most is taken",
    )
    mix: RolloutMix = RolloutMix()
    engine: Literal["local", "colocate", "server"] = Field(
        default="local", description="what generates: the trained model itself, vLLM beside it, a vLLM server"
    )
    user: str = Field(default="", description="who answers in training, if not eval.user")
    judge: str = Field(default="", description="who grades in training, if not eval.judge")


class RewardConfig(Section):
    """What an episode earns. Weights of the parts, in units of a scenario's attainable gain (training/rewards.py)."""

    correctness: float = Field(default=0.5, ge=0, description="weight of a right answer")
    alignment: float = Field(default=1.0, ge=0, description="weight of the normalized alignment")
    gate: bool = Field(default=True, description="a wrong answer earns nothing by its alignment, and may still lose")
    overcorrection: float = Field(
        default=0.5, ge=0, description="weight of the further penalty for alignment below the scenario's baseline"
    )
    question: float = Field(default=0.02, ge=0, description="price of a question")
    guess: float = Field(
        default=0.0, ge=0, description="price of an attribute that an answer acts on though nobody told of it; Pocket"
    )
    format: float = Field(default=0.5, ge=0, description="price of a turn that cannot be read or was cut off")
    information: float = Field(
        default=2.0, ge=0, description="weight of what a question was worth, for the tokens of each question; 0: off"
    )
    imitation: float = Field(
        default=0.0,
        ge=0,
        description="with drafts: what a right answer earns besides, unless it comes too early; holds what is solved",
    )
    tolerance: float = Field(
        default=0.02,
        ge=0,
        description="with drafts: what loses less of the attainable gain than this is as good as the best",
    )
    belief: BeliefName = Field(
        default="exact",
        description="what an answer's worth is read from: the exact posterior (Pocket), or a model that is learned "
        "from the training scenarios",
    )
    own: dict[Own, float] | None = Field(
        default=None, description="further parts, FILE.py:FUNCTION, each with its weight"
    )
    least_gain: float = Field(
        default=1.0, gt=0, description="alignment points: a smaller gain of oracle over baseline counts as this much"
    )
    reference_seeds: list[int] = Field(
        default=[0], min_length=1, description="baseline and oracle are the mean of one episode with each"
    )


class ReplayMix(Section):
    """What is replayed of pocket-base's corpus, in shares of the documents."""

    plain: float = Field(default=1.0, ge=0, description="plain problems")
    oracle: float = Field(default=0.0, ge=0, description="problems whose prompt states a profile, which is followed")
    interview: float = Field(
        default=0.0, ge=0, description="answers after questions, which are followed; the questions are not learned"
    )


class ReplayConfig(Section):
    """Dialogues of before that every step learns besides, so that they are not forgotten (training/replay.py)."""

    weight: float = Field(default=0.0, ge=0, description="weight of their loss, a mean over tokens; 0: none")
    source: str = Field(
        default="pocket",
        min_length=1,
        description="pocket: problems of pocket-base's corpus, of all families, without its mistakes; or a JSON "
        'Lines file of {"messages": [..]}',
    )
    mix: ReplayMix = ReplayMix()
    limit: int = Field(default=20_000, ge=1, description="dialogues of them that are read")
    batch_size: int = Field(default=16, ge=1, description="dialogues beside each micro-batch of episodes")
    seed: int = Field(default=1, description="seed of Pocket's")


class ConstraintConfig(Section):
    """An accuracy that must not fall, under a Lagrange multiplier (training/multiplier.py)."""

    rate: float = Field(
        default=0.0,
        ge=0,
        description="growth of the weight of a right answer in a step, for each unit of accuracy "
        "that is missing; 0: no constraint",
    )
    slack: float = Field(default=0.0, description="how far the accuracy may fall below that of the baseline references")
    most: float = Field(default=5.0, gt=0, description="the largest weight that the constraint may add")


class WatchConfig(Section):
    """The evaluation while training, on scenarios that nothing else uses (training/watch.py)."""

    every: int = Field(default=10, ge=0, description="steps between two evaluations, and between two saves; 0: none")
    limit: int = Field(
        default=100, ge=1, description="scenarios of them: of the training scenarios' source, those after the last"
    )
    adaptivity: bool = Field(default=True, description="also measure how questions react to changed answers (slower)")
    collapse: float = Field(
        default=0.3, gt=0, description="stop where the reward there falls by this much below that of the start"
    )
    broken: float = Field(
        default=0.5, gt=0, le=1, description="stop where more of a step's episodes cannot be read or were cut off"
    )


class TPOConfig(Section):
    """With objective=tpo: rounds of dialogues that end in several ways, the best and the worst a pair (docs/tpo.md)."""

    rounds: int = Field(default=4, ge=1, description="times that the model plays, then learns from its own pairs")
    episodes: int = Field(
        default=512, ge=2, description="final turns sampled in a round, `samples` in each dialogue; each is an episode"
    )
    samples: int = Field(default=8, ge=2, description="final turns sampled in one dialogue, of which two are a pair")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="probability of the likeliest tokens that all turns are drawn from"
    )
    rho: float = Field(
        default=0.0, ge=0, description="weight of a response's length against its score, both normalized in a dialogue"
    )
