"""What can be configured: one model a command, each section its own class. `load` makes them; see prefdisco.loading.

    recipe = load(SFTRecipe, ["recipe=selfdistill", "data.policy=random"])

The sections `trainer`, `peft` and the pretraining `model` take the field names of the library that uses them, verbatim;
the script that imports the library checks them with `check_trainer`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from prefdisco.choices import BeliefName, DType, LearnedName, PolicyName, Variant
from prefdisco.extensions import Own
from prefdisco.llm.options import RemoteOptions
from prefdisco.loading import (
    Config,
    ConfigError,
    Recipe,
    Section,
    check_trainer,
    find_recipe,
    help_text,
    load,
    parse_words,
    recipes,
)
from prefdisco.rl_sections import ConstraintConfig, ReplayConfig, RewardConfig, RolloutConfig, TPOConfig, WatchConfig

__all__ = [
    "BeliefName",
    "Config",
    "ConfigError",
    "ConstraintConfig",
    "CorpusConfig",
    "DataConfig",
    "ElicitConfig",
    "EvaluateConfig",
    "LearnedName",
    "MergeWith",
    "Mix",
    "OnPolicyConfig",
    "PlayConfig",
    "PolicyName",
    "PretrainRecipe",
    "RLRecipe",
    "Recipe",
    "RemoteOptions",
    "ReplayConfig",
    "ReportConfig",
    "RewardConfig",
    "RolloutConfig",
    "SFTRecipe",
    "ScenarioConfig",
    "ShowConfig",
    "TPOConfig",
    "TeachConfig",
    "TokenizerConfig",
    "TrainRecipe",
    "Variant",
    "WatchConfig",
    "check_trainer",
    "find_recipe",
    "help_text",
    "load",
    "parse_words",
    "recipes",
]


class ScenarioConfig(Section):
    source: str = Field(
        default="pocket", min_length=1, description="pocket, or a JSON Lines file, of which a quarter is held out"
    )
    train_limit: int = Field(default=2000, ge=1, description="scenarios to make training data from")
    eval_split: Literal["test", "heldout"] = Field(
        default="test", description="new problems and people; or new families and types (Pocket)"
    )
    eval_source: str = Field(
        default="", description="a file to evaluate on instead; all of `source`, if a file, is then for training"
    )
    eval_limit: int = Field(default=400, ge=1, description="scenarios of the evaluations before and after")
    seed: int = Field(default=0, description="seed of the draw of scenarios from Pocket")

    @property
    def training(self) -> str:
        """What `load_scenarios` takes for training: of a file that is evaluated on too, what is not held out."""
        return self.source if self.eval_source and self.source != "pocket" else f"{self.source}:train"

    @property
    def evaluation(self) -> str:
        """What `load_scenarios` takes for the evaluations."""
        return self.eval_source or f"{self.source}:{self.eval_split}"


class Mix(Section):
    plain: float = Field(
        default=0.2, ge=0, le=1, description="share of plain problems, without a profile: keeps the baseline ability"
    )
    oracle: float = Field(default=0.1, ge=0, le=1, description="share of examples whose prompt states the profile")
    no_think: float = Field(default=0.0, ge=0, le=1, description="share of examples answered without thinking")


class DataConfig(Section):
    engine: Literal["selfdistill", "onpolicy"] = Field(
        default="selfdistill",
        description="how training examples are made; onpolicy: as it trains, see section onpolicy",
    )
    policy: Literal[PolicyName, "self"] | Own = Field(default="exact", description="who chooses a dialogue's questions")
    belief: BeliefName = Field(
        default="exact",
        description="what the policy asks from: the exact posterior (Pocket), or a model that is "
        "learned from the training scenarios",
    )
    budget: int = Field(default=5, ge=0, description="questions allowed in a dialogue")
    question_cost: float | list[float] = Field(
        default=0.02,
        description="alignment points, 0 or more, that a question must be expected to gain; of several, each scenario "
        "draws one",
    )
    drafts: int = Field(
        default=1,
        ge=1,
        description="with policy=self: questions drafted for each turn, of which the one is asked that is expected to "
        "bring most, by the belief",
    )
    draft_temperature: float = Field(default=1.0, ge=0, description="sampling temperature of these drafts")
    interviews: int = Field(
        default=0, ge=0, description="further scenarios of which the interview alone is learned; they need no model"
    )
    samples: int = Field(default=4, ge=1, description="traces written for a scenario")
    most_samples: int = Field(
        default=0, ge=0, description="traces written at most, `samples` at a time, while none is kept; 0: no more"
    )
    temperature: float = Field(default=1.0, ge=0, description="sampling temperature of the traces")
    margin: float = Field(
        default=0.25, ge=0, description="alignment points by which a trace must beat the generic answer"
    )
    inferred: float = Field(
        default=0,
        ge=0,
        description="alignment points; traces also follow what was not told, where the belief expects it to gain as "
        "much; 0: what was told alone",
    )
    max_tokens: int = Field(default=256, ge=1, description="tokens of a trace, thinking included")
    mix: Mix = Mix()
    writer: str = Field(
        default="", description="who writes the traces: the model itself, or where it is served: server/http://.."
    )
    user: str = Field(default="", description="who answers while data is made, if not eval.user")
    judge: str = Field(default="", description="who grades traces, if not eval.judge")
    seed: int | None = Field(
        default=None, description="seed of the data, if not that of the run: runs with other seeds can share it"
    )

    @field_validator("question_cost")
    @classmethod
    def _costs(cls, value: float | list[float]) -> float | list[float]:
        costs = value if isinstance(value, list) else [value]
        if not costs or not min(costs) >= 0:
            raise ValueError("a cost is 0 or more, and there is one at least")
        return value


class TeachConfig(Section):
    dialogue: bool = Field(default=True, description="false: the preferences stand in the prompt, nobody asks")
    thinking: Literal["own", "generic", "none"] = Field(
        default="own",
        description="what comes before the answer: the trace's thinking, the generic answer's, or nothing",
    )
    answer: Literal["personalized", "generic"] = Field(default="personalized", description="the answer that is learned")


class OnPolicyConfig(Section):
    """With data.engine=onpolicy; `data` then has the budget, temperature, max_tokens and mix of what is played."""

    rounds: int = Field(default=8, ge=1, description="times that the student plays, then learns from what it played")
    episodes: int = Field(default=256, ge=1, description="scenarios played in a round")
    teacher: str = Field(
        default="start",
        min_length=1,
        description="whose weights teach: start (the starting ones), ema (a moving average of the student's), self, or "
        "those of a checkpoint with the same tokens",
    )
    ema_rate: float = Field(default=0.02, gt=0, le=1, description="share of the student in the average, at each step")
    profile: Literal["revealed", "full"] = Field(
        default="revealed", description="what the teacher is told: what the dialogue revealed, or all preferences"
    )
    reads: Literal["turn", "dialogue"] = Field(
        default="turn", description="what the teacher reads of the student's: the last turn, or all turns"
    )
    beta: float = Field(default=1.0, ge=0, le=1, description="0: forward KL, 1: reverse KL, between: generalized JSD")
    loss_temperature: float = Field(default=1.0, gt=0, description="temperature of both distributions in the loss")
    only_correct: bool = Field(default=False, description="learn only from episodes whose answer is right")
    keep_questions: float = Field(
        default=1.0, ge=0, description="weight of staying with the starting weights on questions and markers"
    )


class PlayConfig(Section):
    conditions: list[str] = Field(
        default=["baseline", "discovery", "oracle"],
        min_length=1,
        description="what the agent is told and may do; FILE.txt: a prompt of your own",
    )
    seeds: list[int] = Field(default=[0], min_length=1, description="every scenario is played once with each")
    temperature: float = Field(default=1.0, ge=0, description="sampling temperature of the agent; 0 is greedy")
    max_tokens: int = Field(default=256, ge=1, description="tokens of one turn of the agent, thinking included")
    budget: int = Field(default=5, ge=0, description="turns before the final answer is asked for")
    batch_size: int = Field(default=128, ge=1, description="dialogues generated together")
    dtype: DType = Field(default="float32", description="of a checkpoint's weights when it plays or writes data")
    adaptivity: bool = Field(default=False, description="also measure how questions react to changed answers (slower)")
    user: str = Field(
        default="passive",
        min_length=1,
        description="who answers: passive, collaborative, nostop, forgetful or noisy (Pocket's computed person), a "
        "model's name, or FILE.py:CLASS",
    )
    variant: Variant = Field(default="passive", description="how a model in the user's seat behaves")
    judge: str = Field(
        default="exact",
        min_length=1,
        description="who grades: exact (Pocket's computed judge), a model, or FILE.py:CLASS",
    )
    judge_mode: Literal["together", "separate"] = Field(
        default="together", description="a model's grades: all criteria in one call, or one call each"
    )


class MergeWith(Section):
    model: str = Field(
        default="", description="checkpoint whose weights are merged into the trained ones at the end; none if empty"
    )
    share: float = Field(default=0.75, ge=0, le=1, description="weight of the trained ones; the other has the rest")


class TrainRecipe(Recipe):
    """What every training of an agent has: a model, scenarios to learn from, and evaluations before and after."""

    model: str = Field(default="pocket-base", description="a folder, a Hub id, or pocket-base")
    scenarios: ScenarioConfig = ScenarioConfig()
    eval: PlayConfig = PlayConfig()
    remote: RemoteOptions = RemoteOptions()
    before: str = Field(
        default="", description="folder of the evaluation before training, where runs share it; RUN/before by default"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        default="adamw", description="adamw: the trainer's own; muon: for the matrices, AdamW for the rest"
    )
    anchor: float = Field(
        default=0.0, ge=0, description="pull of the weights back to where they started, per unit of learning rate"
    )
    peft: dict[str, Any] | None = Field(default=None, description="fields of peft.LoraConfig; none trains all weights")
    dtype: DType = Field(
        default="float32", description="of the weights that are loaded for training; bfloat16 with peft only"
    )
    merge: MergeWith = MergeWith()


class SFTRecipe(TrainRecipe):
    """What train/sft.py does; `trainer` takes the field names of trl.SFTConfig."""

    kind: Literal["sft"] = Field(default="sft", description="what the recipe is for")
    data: DataConfig = DataConfig()
    teach: TeachConfig = TeachConfig()
    onpolicy: OnPolicyConfig = OnPolicyConfig()
    attention: Literal["sdpa", "flex_attention", "flash_attention_2"] = Field(
        default="sdpa", description="implementation of attention in training"
    )

    @property
    def data_seed(self) -> int:
        """The seed that the data is made with."""
        return self.seed if self.data.seed is None else self.data.seed


class RLRecipe(TrainRecipe):
    """What train/rl.py does; `trainer` takes the field names of trl.GRPOConfig, with objective=tpo trl.DPOConfig's."""

    kind: Literal["rl"] = Field(default="rl", description="what the recipe is for")
    objective: Literal["grpo", "tpo"] = Field(
        default="grpo",
        description="grpo: whole episodes against their group; tpo: pairs of final turns, see section tpo",
    )
    model: str = Field(default="runs/selfdistill/checkpoint", description="a folder, a Hub id, or pocket-base")
    references: str = Field(
        default="",
        description="folder of the start checkpoint's baseline and oracle episodes, where runs share them; "
        "RUN/references by default",
    )
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    replay: ReplayConfig = ReplayConfig()
    constraint: ConstraintConfig = ConstraintConfig()
    watch: WatchConfig = WatchConfig()
    tpo: TPOConfig = TPOConfig()


class CorpusConfig(Section):
    documents: int = Field(default=200_000, ge=1, description="documents of Pocket text")
    seed: int = Field(default=0, description="seed of the corpus")
    mix: dict[str, float] = Field(default={}, description="share of each sort of document")


class TokenizerConfig(Section):
    vocab_size: int = Field(default=1024, ge=1, description="tokens, special ones included")


class PretrainRecipe(Recipe):
    """What train/pretrain.py does; `model` takes the field names of transformers.LlamaConfig."""

    kind: Literal["pretrain"] = Field(default="pretrain", description="what the recipe is for")
    corpus: CorpusConfig = CorpusConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: dict[str, Any] = Field(default={}, description="fields of transformers.LlamaConfig")


class ElicitConfig(Config):
    """What `prefdisco elicit` does; made of words alone."""

    train: str = Field(
        default="pocket:train", description="scenarios to learn beliefs from: pocket:SPLIT, or a JSON Lines file"
    )
    test: str = Field(
        default="pocket:test", description="scenarios whose people are interviewed: pocket:SPLIT, or a JSON Lines file"
    )
    train_limit: int = Field(default=5500, ge=1, description="scenarios to learn from")
    limit: int = Field(default=500, ge=1, description="scenarios to interview")
    policies: list[PolicyName | Own] = Field(
        default=list(get_args(PolicyName)), min_length=1, description="who chooses the questions"
    )
    beliefs: list[BeliefName] = Field(
        default=list(get_args(LearnedName)),
        min_length=1,
        description="what they are asked from; in Pocket the exact posterior stands beside",
    )
    budget: int = Field(default=5, ge=0, description="questions allowed in an interview")
    k: list[Annotated[int, Field(ge=1)]] = Field(
        default=[1, 3, 5], min_length=1, description="sizes of the lists of predicted preferences"
    )
    cost: float = Field(default=0.0, ge=0, description="alignment points that a question must be expected to gain")
    seed: int = Field(default=0, description="seed of the draw of training scenarios and of random questions")
    run: str | None = Field(default=None, description="run folder")


class ShowConfig(Config):
    """What `prefdisco show` prints; made of words alone."""

    condition: str = Field(default="discovery", description="the condition whose episodes are shown")
    count: int = Field(default=10, ge=1, description="episodes to show")
    seed: int = Field(default=0, description="seed of the draw")


class ReportConfig(Config):
    """What `prefdisco report` writes, and where; made of words alone."""

    condition: str = Field(
        default="discovery", description="the condition that is looked at beside baseline and oracle"
    )
    out: str | None = Field(
        default=None, description="folder to write to; RUN/report, or for several runs runs/report-HASH"
    )


class EvaluateConfig(PlayConfig, Config):
    """What `prefdisco evaluate` and eval/run.py do; made of words alone."""

    agent: str = Field(min_length=1, description="the model to evaluate: a folder, a Hub id, or pocket-base")
    scenarios: str = Field(default="pocket", description="pocket, pocket:heldout, or a JSON Lines file of scenarios")
    limit: int = Field(default=400, ge=1, description="scenarios to play")
    thinking: bool = Field(default=True, description="whether the agent thinks before each turn")
    episodes: str | None = Field(
        default=None, description="a run folder of the same agent whose dialogues are graded anew, not played"
    )
    carried: str | None = Field(
        default=None,
        description="a run folder of earlier problems of the same people: what discovery revealed there is told under "
        "the conditions carried and carried_discovery",
    )
    remote: RemoteOptions = RemoteOptions()
    run: str | None = Field(default=None, description="run folder")
