"""What a recipe of reinforcement learning is refused for before anything is played, and what it says it will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefdisco.config import ConfigError, RLRecipe, load
from prefdisco.training import rl
from prefdisco.training.checks import check_guess
from tests.small_rl import recipe


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainer.temperature=0.7"], "trainer.temperature: set rollout.temperature instead"),
        (["trainer.top_p=0.9"], "trainer.top_p has no meaning: dialogues are played by the recipe's own model"),
        (["trainer.num_generation=4"], "unknown key trainer.num_generation (GRPOConfig); did you mean"),
        (["trainer.num_generations=5"], "trainer: generation_batch_size (8) must be divisible by num_generations (5)"),
        (["trainer.steps_per_generation=16"], "8 scenarios are fewer than the 16 that are played together"),
        (
            ["trainer.loss_type=vespo"],
            "trainer.loss_type=vespo: needs one advantage a sequence; set reward",
        ),
        (["rollout.candidates=2", "trainer.scale_rewards=batch"], "drafts are compared with each other, in no batch"),
        (
            [
                "replay.weight=1",
                "scenarios.source=file.jsonl",
                "eval.user=server/http://a",
                "eval.judge=server/http://a",
                "reward.belief=prior",
            ],
            "replay.source=pocket: the scenarios are not Pocket's; name a JSON Lines file, or set replay.weight=0",
        ),
        (["replay.weight=1", "replay.source=nowhere.jsonl"], "nowhere.jsonl: no such file; choose pocket, or a JSON"),
        (["model=runs/nowhere/checkpoint"], "no such checkpoint; train it first with recipe=nowhere"),
        (
            ["reward.guess=0.1", "eval.judge=server/http://a"],
            "reward.guess: server/http://a grades the criteria of a rubric, and nothing that was not told; set",
        ),
        (["scenarios.source=file.jsonl"], "eval.user=passive: only Pocket's is computed, not that of file.jsonl"),
        (
            ["scenarios.source=file.jsonl", "eval.user=server/http://a", "eval.judge=server/http://a"],
            "reward.belief=exact: only Pocket's posterior is known exactly; choose a learned belief",
        ),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path: Path, words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rl.settings(recipe(tmp_path, *words))
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith(("command line: ", "recipes/grpo_small.yaml: "))


def test_a_judge_of_ones_own_says_what_an_answer_acts_on_or_guesses_have_no_price(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("class Blind:\n    name = 'blind'\n\nclass Seeing(Blind):\n    touched = print\n")
    words = ["reward.guess=0.1", f"eval.judge={own}:"]
    with pytest.raises(ConfigError, match="Blind grades the criteria of a rubric, and nothing that was not told"):
        check_guess(recipe(tmp_path, words[0], f"{words[1]}Blind"))
    check_guess(recipe(tmp_path, words[0], f"{words[1]}Seeing"))


def test_saves_lie_between_rounds(tmp_path: Path) -> None:
    words = ["trainer.steps_per_generation=4", "trainer.num_iterations=2", "watch.every=6", "trainer.save_steps=6"]
    with pytest.raises(ConfigError, match=r"watch.every: 6 is no multiple of the 4 steps that learn from one round"):
        rl.settings(recipe(tmp_path, *words))


def test_the_recipes_can_be_run_and_say_what_they_will_do(tmp_path: Path) -> None:
    plans = {"grpo": "512 scenarios x 2", "grpo_small": "256 scenarios x 2", "grpo_inferred": "256 scenarios x 2"}
    for name, plan in plans.items():
        wanted = load(RLRecipe, [f"recipe={name}", "model=pocket-base", f"run={tmp_path}"])
        assert plan in rl.describe(wanted)
