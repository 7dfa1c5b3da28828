"""What a fine-tuning recipe is refused for before anything is computed: it would end in wrong training or a traceback.

Packed rows have no attention mask. The borders of dialogues are in `position_ids`, which start at 0 in each; from them
transformers makes a block-diagonal mask (sdpa, flex_attention), or the lengths for a varlen kernel (flash attention).
Joined without borders, or through layers that carry a state, dialogues would see each other.
"""

from __future__ import annotations

from functools import reduce
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate.utils import is_deepspeed_available
from transformers import PreTrainedConfig
from trl import SFTConfig

from prefdisco.complaints import keys_of
from prefdisco.config import ConfigError, MergeWith, RLRecipe, SFTRecipe, TrainRecipe
from prefdisco.extensions import is_own, load_own
from prefdisco.judges import OpenJudge, Seer
from prefdisco.training.processes import strategy
from prefdisco.users import LAPSING, POCKET_USERS

SEPARATED = {"full_attention", "sliding_attention"}  # kinds of layers whose masks know the borders

# objective -> sections, or single keys of them, that it does not look at
QUESTIONS = ("question", "information", "belief")
DRAFTS = ("rollout.candidates", "rollout.mix")
NO_MEANING = {
    "grpo": ("tpo",),
    "tpo": ("constraint", "watch", "replay", *DRAFTS, *(f"reward.{name}" for name in QUESTIONS)),
}


def is_flat(arguments: SFTConfig) -> bool:
    """Whether a batch is one long row of dialogues without padding."""
    return bool(arguments.packing or arguments.padding_free)


def check_launch(recipe: TrainRecipe) -> None:
    """Raise ConfigError for a recipe that cannot be trained the way `accelerate launch` was called."""
    kind = strategy()
    if recipe.anchor and (recipe.peft or kind != "ddp"):
        raise ConfigError(
            f"{recipe.where('anchor')}: anchor={recipe.anchor:g}: needs the weights themselves, whole, in every "
            "process; set anchor=0, or train all weights (peft=null) in one process or with ddp"
        )
    if kind in ("ddp", "fsdp2"):
        return
    if not is_deepspeed_available():
        raise ConfigError(f"accelerate: {kind} needs DeepSpeed: pip install 'prefdisco[deepspeed]'")
    if recipe.optimizer == "muon":
        raise ConfigError(
            f"{recipe.where('optimizer')}: optimizer=muon: DeepSpeed flattens the matrices that Muon needs; "
            "set optimizer=adamw, or launch with ddp or fsdp2"
        )
    if not torch.cuda.is_available() and recipe.trainer.get("bf16", True):
        raise ConfigError(
            f"{recipe.where('trainer.bf16')}: trainer.bf16: on a CPU, DeepSpeed trains in float32 only; "
            "set trainer.bf16=false"
        )


def check_objective(recipe: RLRecipe) -> None:
    """Raise ConfigError for a key that was given another value than its default, and means nothing to the objective."""
    for key in NO_MEANING[recipe.objective]:
        name, _, field = key.partition(".")
        section = getattr(recipe, name)
        for each in [field] if field else type(section).model_fields:
            if getattr(section, each) != type(section).model_fields[each].default:
                word = f"{name}.{each}"
                raise ConfigError(
                    f"{recipe.where(word)}: {word} has no meaning with objective={recipe.objective}; remove it"
                )


def check_candidates(recipe: RLRecipe) -> None:
    """Raise ConfigError where drafts are to be compared, and nobody can say what they are about."""
    if recipe.rollout.candidates > 1:
        check_telling(recipe, "rollout.candidates", recipe.rollout.user or recipe.eval.user)


def check_drafts(recipe: SFTRecipe) -> None:
    """Raise ConfigError where questions are to be drafted by somebody else, or nobody can say what they are about."""
    data = recipe.data
    if data.drafts == 1:
        return
    where = f"{recipe.where('data.drafts')}: data.drafts"
    if data.policy != "self":
        raise ConfigError(
            f"{where}: policy {data.policy} asks, and drafts nothing; set data.policy=self, or data.drafts=1"
        )
    if data.writer:
        raise ConfigError(f"{where}: only a model that writes here drafts, not {data.writer}; set data.drafts=1")
    check_telling(recipe, "data.drafts", data.user or recipe.eval.user)


def check_telling(recipe: TrainRecipe, key: str, user: str) -> None:
    """Raise ConfigError for a `user` who does not tell what a question is about, as drafts are compared by it."""
    if user not in POCKET_USERS:
        raise ConfigError(
            f"{recipe.where(key)}: {key}: only Pocket's users tell what a question is about, not {user}; set {key}=1"
        )


def check_inferred(recipe: SFTRecipe) -> None:
    """Raise ConfigError where traces are to follow what nobody said, and the judge needs a rubric to grade it."""
    if recipe.data.inferred:
        check_judge(recipe, "data.inferred", recipe.data.judge or recipe.eval.judge, OpenJudge)


def check_guess(recipe: RLRecipe) -> None:
    """Raise ConfigError where guesses have a price, and the judge cannot tell what an answer acts on."""
    if recipe.reward.guess:
        check_judge(recipe, "reward.guess", recipe.rollout.judge or recipe.eval.judge, Seer)


def check_judge(recipe: TrainRecipe, key: str, judge: str, able: type) -> None:
    """Raise ConfigError for a `judge` that is not `able` to say what `key` needs to know beyond a rubric."""
    if judge != "exact" and not (is_own(judge) and isinstance(load_own(judge, "judge")(), able)):
        raise ConfigError(
            f"{recipe.where(key)}: {key}: {judge} grades the criteria of a rubric, and nothing that was not told; "
            f"set {key}=0"
        )


def check_model(recipe: TrainRecipe) -> None:
    """Raise ConfigError where a model is the checkpoint of a run that was not made yet, or a share is that of none."""
    if recipe.merge.share != MergeWith().share and not recipe.merge.model:
        raise ConfigError(f"{recipe.where('merge.share')}: merge.share: merged with what? set merge.model=CHECKPOINT")
    for key, name in (("model", recipe.model), ("merge.model", recipe.merge.model)):
        folder = Path(name)
        if folder.name == "checkpoint" and not folder.is_dir():
            raise ConfigError(
                f"{recipe.where(key)}: {key}={name}: no such checkpoint; train it first with "
                f"recipe={folder.parent.name}, or name another with {key}=..."
            )


def check_own(recipe: TrainRecipe) -> None:
    """Raise ConfigError for a part of one's own, FILE.py:NAME, that is not there."""
    for key in keys_of(type(recipe)):
        value = reduce(getattr, key.split("."), recipe)
        for name in value if isinstance(value, dict) else [value]:
            if isinstance(name, str) and is_own(name):
                load_own(name, f"{recipe.where(key)}: {key}")


def check_world(recipe: TrainRecipe, key: str, belief: str) -> None:
    """Raise ConfigError where scenarios of a file are to be played with parts that only Pocket has, or one's own parts
    are not there.

    `belief` is what the configuration's `key` asks for.
    """
    check_own(recipe)
    if recipe.scenarios.source.partition(":")[0] == "pocket":
        return
    for part, value, computed in (
        ("user", recipe.eval.user, (*POCKET_USERS, *LAPSING)),
        ("judge", recipe.eval.judge, ("exact",)),
    ):
        if value in computed:
            raise ConfigError(
                f"{recipe.where(f'eval.{part}')}: eval.{part}={value}: only Pocket's is computed, not that of "
                f"{recipe.scenarios.source}; name a model, such as eval.{part}=server/http://HOST/v1"
            )
    if belief == "exact":
        raise ConfigError(
            f"{recipe.where(key)}: {key}=exact: only Pocket's posterior is known exactly; choose a "
            f"learned belief, such as {key}=bayesian"
        )


def check_precision(recipe: TrainRecipe) -> None:
    """Raise ConfigError where the weights would be trained in a type too coarse for their updates."""
    if recipe.dtype == "bfloat16" and not recipe.peft:
        raise ConfigError(
            f"{recipe.where('dtype')}: dtype=bfloat16: would round small updates of the weights away; "
            "set dtype=float32 (trainer.bf16=true computes in bfloat16 all the same), or train adapters with peft"
        )


def check_attention(recipe: SFTRecipe, arguments: SFTConfig) -> None:
    """Raise ConfigError where the implementation of attention cannot be trained with here."""
    place = f"{recipe.where('attention')}: attention={recipe.attention}"
    if recipe.attention == "sdpa":
        return
    if not torch.cuda.is_available():
        raise ConfigError(f"{place}: has no backward pass on a CPU; set attention=sdpa")
    if recipe.attention == "flash_attention_2":
        if find_spec("flash_attn") is None:
            raise ConfigError(f"{place}: flash-attn is not installed; flex_attention needs no installation")
        if not (arguments.bf16 or arguments.fp16):
            raise ConfigError(f"{place}: computes in half precision only; set trainer.bf16=true")


def check_packing(recipe: SFTRecipe, arguments: SFTConfig, model: PreTrainedConfig) -> None:
    """Raise ConfigError for packing in which dialogues would see each other, or that TRL would refuse."""
    if not is_flat(arguments):
        return
    place = f"{recipe.where('trainer.packing')}: trainer.packing"
    if arguments.packing and arguments.packing_strategy == "wrapped":
        raise ConfigError(
            f"{place}: the strategy wrapped joins and cuts dialogues without a border, so that they see each other; "
            "set trainer.packing_strategy=bfd"
        )
    if arguments.packing and arguments.max_length is None:
        raise ConfigError(f"{place}: needs the tokens of a row; set trainer.max_length")
    if kinds := sorted(set(getattr(model.get_text_config(), "layer_types", None) or ()) - SEPARATED):
        raise ConfigError(
            f"{place}: {recipe.model} has {kinds[0]} layers, which carry a state from one dialogue into the next; "
            "set trainer.packing=false"
        )


def check_lengths(recipe: SFTRecipe, arguments: SFTConfig, longest: int, context: int) -> None:
    """Raise ConfigError where the longest dialogue does not fit the model, or TRL would cut it off without a word."""
    if longest > context:
        raise ConfigError(
            f"data: the longest dialogue has {longest} tokens, the model's context {context}; lower data.max_tokens"
        )
    if arguments.max_length is not None and longest > arguments.max_length:
        raise ConfigError(
            f"{recipe.where('trainer.max_length')}: trainer.max_length={arguments.max_length}: the longest dialogue "
            f"has {longest} tokens and would be cut off; raise it"
        )
