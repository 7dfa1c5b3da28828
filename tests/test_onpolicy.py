"""On-policy distillation: the teacher reads what the student wrote and no more than it may, and moves only that."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_llama, tiny_tokenizer
from torch.distributions import Categorical, kl_divergence
from trl import SFTConfig

from prefdisco.conditions import parse_condition, preference_line
from prefdisco.config import ConfigError, Mix, OnPolicyConfig, SFTRecipe, load
from prefdisco.dialogue import play
from prefdisco.files import RunError
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.pocket.scenarios import scenarios
from prefdisco.protocol import THINK_OPEN, format_final, format_question, join_thinking, wire_span
from prefdisco.schema import Episode, Grade, Question, Scenario, Usage
from prefdisco.training import onpolicy, sft
from prefdisco.training.distiller import Distiller
from prefdisco.training.divergence import divergence
from prefdisco.training.episodes import heeded, turn_of
from prefdisco.training.pairs import Pair, fault, pair
from prefdisco.world import world_of

SCENARIOS = scenarios("train", 30)
THOUGHT, ANSWER = "Wanted: order. 9 + 15 = 24.", "Idea first: 24."


# the loss


def logits(seed: int, tokens: int = 4, vocabulary: int = 7) -> torch.Tensor:
    return 3 * torch.randn(tokens, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_both_kl_divergences_by_hand() -> None:
    student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    forward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert divergence(student, teacher, beta=0).tolist() == pytest.approx([forward])
    assert divergence(student, teacher, beta=1).tolist() == pytest.approx([reverse])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergences_are_those_of_torch(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    s, t = Categorical(logits=student / temperature), Categorical(logits=teacher / temperature)
    mixture = Categorical(probs=0.3 * t.probs + 0.7 * s.probs)
    for beta, expected in (
        (0.0, kl_divergence(t, s)),
        (1.0, kl_divergence(s, t)),
        (0.3, 0.3 * kl_divergence(t, mixture) + 0.7 * kl_divergence(s, mixture)),
    ):
        torch.testing.assert_close(divergence(student, teacher, beta, temperature), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 1.0])
def test_the_divergence_is_gkds(beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.gkd import GKDTrainer

    student, teacher = logits(0), logits(1)
    theirs = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=beta, temperature=2.0, reduction="sum")
    assert divergence(student, teacher, beta, 2.0).sum().item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_agreement_costs_nothing_and_only_the_student_is_moved(beta: float) -> None:
    student = logits(0).requires_grad_()
    assert divergence(student, student.detach(), beta).abs().max() < 1e-6
    divergence(student, logits(1), beta).sum().backward()
    assert student.grad is not None and student.grad.abs().min() > 0


# what is learned from an episode


@pytest.fixture(scope="module")
def local() -> LocalModel:
    torch.set_num_threads(1)
    tokenizer = tiny_tokenizer()
    return LocalModel(tiny_llama(tokenizer), tokenizer)


class Asker:
    """An agent that asks `questions`, then answers; its tokens are recorded as those of a local model are."""

    name = "asker"

    def __init__(self, local: LocalModel, questions: Sequence[str]) -> None:
        self.local, self.left = local, list(questions)

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        wire = conversation.messages[0].role == "system" and "ACTION" in conversation.messages[0].content
        if wire and self.left:
            raw = join_thinking("Unknown: that.", format_question(self.left.pop(0)))
        else:
            raw = join_thinking(THOUGHT, format_final(ANSWER) if wire else ANSWER)
        self.local.chat.forced(conversation, raw)
        return Completion(raw, "stop", Usage(calls=1))


def wanted(scenario: Scenario, count: int) -> list[str]:
    """Questions about the first preferences of the profile."""
    ask = world_of(SCENARIOS).question
    return [ask(scenario, preference.attribute, 0) for preference in scenario.profile[:count]]


def episode(
    local: LocalModel, questions: int, condition: str = "discovery", budget: int = 5, malformed: int = 0
) -> Episode:
    scenario, user = SCENARIOS[0], world_of(SCENARIOS).user
    agent = Asker(local, wanted(scenario, questions))
    played = asyncio.run(play(scenario, parse_condition(condition), agent, user, Sampling(), 0, budget))
    assert played.error is None and played.malformed_turns == malformed
    return played


def made(local: LocalModel, questions: int, budget: int = 5, **settings: Any) -> tuple[Episode, Pair]:
    played = episode(local, questions, budget=budget)
    return played, pair(played, SCENARIOS[0], local.chat, **settings)


def decoded(local: LocalModel, ids: Sequence[int]) -> str:
    return str(local.tokenizer.decode(ids))


def test_the_teacher_reads_its_opening_and_exactly_the_students_last_turn(local: LocalModel) -> None:
    played, both = made(local, questions=2)
    turn = local.chat.turn(join_thinking(THOUGHT, format_final(ANSWER)))
    assert both.ids == played.tokens.ids and both.teacher_ids[-len(turn) :] == both.ids[-len(turn) :] == turn
    opening = decoded(local, both.teacher_ids[: -len(turn)])
    assert opening.startswith("<|im_start|>system\nAnswer in the way that suits a person with these preferences:")
    assert opening.endswith(f"{SCENARIOS[0].problem.question}<|im_end|>\n<|im_start|>assistant\n")
    assert [both.teacher_ids[place] for place in both.at_teacher(both.taught)] == [
        both.ids[place] for place in both.taught
    ]


def test_thinking_and_response_are_taught_and_all_else_of_the_students_own_is_kept(local: LocalModel) -> None:
    played, both = made(local, questions=2, budget=2)  # the second answer asks for the final one
    assert decoded(local, [both.ids[place] for place in both.taught]) == f"<think>{THOUGHT}</think> {ANSWER}<|im_end|>"
    questions = [join_thinking("Unknown: that.", format_question(text)) for text in wanted(SCENARIOS[0], 2)]
    marker = "###ACTION###: 'final_answer'\n###RESPONSE###:"
    assert decoded(local, [both.ids[place] for place in both.kept]) == "<|im_end|>".join([*questions, marker])
    own = [place for place, mine in enumerate(played.tokens.mask) if mine]
    assert sorted(both.taught + both.kept) == own


def test_whether_to_answer_is_not_taught_while_the_student_may_still_ask(local: LocalModel) -> None:
    """The teacher never asks: taught at that token, it would teach the student not to ask either."""
    _, bound = made(local, questions=2, budget=2)
    tokens = [bound.ids[place] for place in bound.taught]
    assert decoded(local, tokens[:1]) == THINK_OPEN and THOUGHT.startswith(decoded(local, tokens[1:2]))
    for questions in (2, 0):
        _, free = made(local, questions)
        assert [free.ids[place] for place in free.taught] == tokens[:1] + tokens[2:]
        assert tokens[1] in [free.ids[place] for place in free.kept]


def test_a_question_that_comes_too_late_is_unlearned_where_it_was_chosen(local: LocalModel) -> None:
    late = episode(local, 3, budget=2, malformed=1)
    assert fault(late, only_correct=True) is None
    assert fault(late.model_copy(update={"malformed_turns": 2}), only_correct=True) == "malformed"
    both = pair(late, SCENARIOS[0], local.chat)
    turn = local.chat.turn(join_thinking("Unknown: that.", format_question(wanted(SCENARIOS[0], 3)[2])))
    assert (
        not both.taught and both.unlearned == [len(both.ids) - len(turn) + 1] and decoded(local, turn[:1]) == THINK_OPEN
    )
    assert max(both.kept) < len(both.ids) - len(turn) and both.teacher_ids[-len(turn) :] == turn


def test_the_teacher_is_told_what_was_revealed_and_nothing_else(local: LocalModel) -> None:
    scenario = SCENARIOS[0]
    for questions, profile, told in ((0, "revealed", 0), (2, "revealed", 2), (2, "full", len(scenario.profile))):
        _, both = made(local, questions, profile=profile)
        opening = decoded(local, both.teacher_ids[: len(both.teacher_ids) - (len(both.ids) - both.taught[0])])
        stated = [preference_line(p) in opening for p in scenario.profile]
        assert stated == [True] * told + [False] * (len(stated) - told)
        assert opening.startswith("<|im_start|>user" if not told else "<|im_start|>system")


def test_a_teacher_that_reads_the_dialogue_has_the_students_tokens_of_it(local: LocalModel) -> None:
    played, both = made(local, questions=2, reads="dialogue")
    first = played.tokens.mask.index(1)
    assert both.teacher_ids[first - len(both.ids) :] == both.ids[first:]
    assert [both.teacher_ids[place] for place in both.at_teacher(both.taught)] == [
        both.ids[place] for place in both.taught
    ]


def test_without_questions_to_ask_both_read_the_same_and_all_is_taught(local: LocalModel) -> None:
    played = episode(local, 0, "baseline")
    both = pair(played, SCENARIOS[0], local.chat)
    assert both.ids == both.teacher_ids and not both.kept
    assert decoded(local, [both.ids[place] for place in both.taught]) == f"<think>{THOUGHT}</think>{ANSWER}<|im_end|>"


def test_a_failed_malformed_or_cut_off_episode_teaches_nothing(local: LocalModel) -> None:
    good = episode(local, 1).model_copy(update={"correct": False})
    assert fault(good, only_correct=False) is None and fault(good, only_correct=True) == "wrong"
    for change, expected in (
        ({"error": "ModelError: x"}, "error"),
        ({"malformed_turns": 1}, "malformed"),
        ({"truncated": True}, "truncated"),
        ({"response": ""}, "malformed"),
    ):
        assert fault(good.model_copy(update=change), only_correct=False) == expected


def test_the_marker_is_found_behind_the_thinking_only() -> None:
    marker = "###ACTION###: 'final_answer'\n###RESPONSE###:"
    raw = f"<think>###ACTION###: 'ask_question'</think>{marker} 24"
    assert wire_span(raw) == (raw.index("</think>") + 8, len(raw) - 3)
    assert wire_span("<think>a</think>24") is None


# steps


def distiller(local: LocalModel, teacher: str = "start", **settings: Any) -> Distiller:
    arguments = SFTConfig("unused", learning_rate=3e-3, use_cpu=True, bf16=False, report_to="none", warmup_steps=0,
                          gradient_checkpointing=False, num_train_epochs=1, per_device_train_batch_size=2)  # fmt: skip
    return Distiller(tiny_llama(local.tokenizer), None, OnPolicyConfig(teacher=teacher, **settings), arguments)


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_the_gradient_is_on_the_students_own_tokens_only(
    local: LocalModel, monkeypatch: pytest.MonkeyPatch, keep: float
) -> None:
    pairs = [made(local, questions)[1] for questions in (2, 0)]
    student = distiller(local, keep_questions=keep)
    seen: list[torch.Tensor] = []

    def random(model: Any, rows: Sequence[list[int]]) -> torch.Tensor:
        shape = (len(rows), max(map(len, rows)), 16)
        seen.append(torch.randn(shape, requires_grad=model is student.model))
        return seen[-1]

    monkeypatch.setattr(student, "logits", random)
    learned, held = student.losses(pairs)
    (learned + keep * held).backward()
    assert seen[0].grad is not None
    moved = {(row, place + 1) for row, place in seen[0].grad.abs().sum(-1).nonzero().tolist()}
    expected = {(row, place) for row, each in enumerate(pairs) for place in each.taught}
    assert moved == expected | (
        {(row, place) for row, each in enumerate(pairs) for place in each.kept} if keep else set()
    )


def test_padding_changes_nothing(local: LocalModel) -> None:
    pairs = [made(local, questions)[1] for questions in (3, 0)]
    student = distiller(local)
    with torch.no_grad():
        torch.nn.init.normal_(student.model.lm_head.weight, std=0.5)
        together = [loss.item() for loss in student.losses(pairs)]
        alone = [student.losses([each]) for each in pairs]
    assert together == pytest.approx([sum(loss[index].item() for loss in alone) for index in (0, 1)], rel=1e-4)


def test_the_divergence_falls_and_the_teacher_stays(local: LocalModel) -> None:
    pairs = [made(local, questions)[1] for questions in (0, 1, 2, 3)]
    student = distiller(local, beta=1.0)
    before = [weight.clone() for weight in student.teacher.parameters()]
    first, *_, last = [student.learn(pairs, seed, 0, 0, lambda count: None)["divergence"] for seed in range(12)]
    assert 0 < last < 0.5 * first
    assert all(torch.equal(one, other) for one, other in zip(before, student.teacher.parameters(), strict=True))


def test_keeping_holds_the_questions_to_the_start(local: LocalModel) -> None:
    pairs = [made(local, questions)[1] for questions in (2, 3)]
    drift = {}
    for keep in (1e-9, 10.0):
        student = distiller(local, keep_questions=keep)
        drift[keep] = [student.learn(pairs, seed, 0, 0, lambda count: None)["kept"] for seed in range(6)][-1]
    assert drift[10.0] < 0.5 * drift[1e-9]


def test_a_teacher_can_follow_the_student_or_be_it(local: LocalModel) -> None:
    _, both = made(local, 2)
    average, itself = distiller(local, "ema", ema_rate=0.25), distiller(local, "self")
    for student in (average, itself):
        student.step([[both]])
    for mean, start, weight in zip(
        average.teacher.parameters(), average.start.parameters(), average.model.parameters(), strict=True
    ):
        torch.testing.assert_close(mean, start + 0.25 * (weight - start), rtol=0, atol=1e-6)
    assert itself.teacher is itself.model and all(weight.requires_grad for weight in itself.model.parameters())


def test_the_rate_warms_up_once_and_falls_over_all_rounds(local: LocalModel) -> None:
    student = distiller(local)
    student.arguments.lr_scheduler_type, student.arguments.warmup_steps = "linear", 2
    rates = []
    for steps, done in ((0, 0.0), (1, 0.0), (5, 0.5), (9, 0.75)):
        student.steps = steps
        student.set_rate(done)
        rates.append(student.optimizer.param_groups[0]["lr"] / 3e-3)
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.25])


# rounds


def test_a_round_plays_the_next_scenarios_in_the_shares_of_the_mix() -> None:
    chosen = turn_of(SCENARIOS, 2, 12, Mix(plain=0.25, oracle=0.1, no_think=0.0))
    assert [kind for kind, _ in chosen] == ["plain"] * 3 + ["oracle"] + ["discovery"] * 8
    assert [scenario for _, scenario in chosen] == SCENARIOS[24:] + SCENARIOS[:6]  # from the start again


def test_heeded_is_the_alignment_with_what_was_revealed() -> None:
    graded = Episode(
        scenario_id="s", problem_id="p", persona_id="a", condition="discovery", seed=0,
        questions=(Question(text="?", answer="!", revealed="tone"), Question(text="?", answer="!", revealed="order"),
                   Question(text="?", answer="!", revealed=None)),
        grades=tuple(Grade(attribute=name, score=score) for name, score in (("tone", 5), ("order", 1), ("plan", 3))),
        weights={"tone": 0.6, "order": 0.2, "plan": 0.2},
    )  # fmt: skip
    assert heeded([graded]) == pytest.approx((0.6 * 5 + 0.2 * 1) / 0.8)
    assert heeded([graded.model_copy(update={"questions": ()})]) == 0


def recipe(run: Path, *words: str) -> SFTRecipe:
    small = ["model=pocket-base", "onpolicy.rounds=2", "onpolicy.episodes=8", "scenarios.train_limit=16",
             "trainer.per_device_train_batch_size=4", "trainer.gradient_accumulation_steps=1",
             "trainer.learning_rate=0.001", "data.max_tokens=96"]  # fmt: skip
    return load(SFTRecipe, ["recipe=onpolicy_distill", f"run={run}", *small, *words])


def trained(wanted: SFTRecipe) -> onpolicy.Trained:
    torch.set_num_threads(1)
    return onpolicy.train(wanted, sft.settings(wanted), sft.training_scenarios(wanted))


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = "onpolicy.teacher=ema"  # the one with the most to remember
    whole = trained(recipe(tmp_path / "whole", word))
    assert [entry["round"] for entry in whole.history] == [1, 2] and whole.steps >= 3

    class Killed(Exception):
        pass

    with monkeypatch.context() as patch:
        steps = [0]

        def step(self: Distiller, group: Any) -> tuple[float, float]:
            steps[0] += 1
            if steps[0] == whole.steps:
                raise Killed
            return real(self, group)

        real = Distiller.step
        patch.setattr(Distiller, "step", step)
        with pytest.raises(Killed):
            trained(recipe(tmp_path / "stopped", word))
    saves = tmp_path / "stopped" / "trainer"
    assert [folder.name for folder in saves.iterdir()] == ["checkpoint-1"]
    (saves / "checkpoint-2").mkdir()
    (saves / "checkpoint-2" / onpolicy.STATE).write_bytes(b"half of it")  # what a kill within a save leaves
    again = trained(recipe(tmp_path / "stopped", word))
    assert again.history == whole.history and again.steps == whole.steps
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    done = trained(recipe(tmp_path / "stopped", word))  # nothing left to do
    assert done.history == whole.history


def test_the_run_folder_is_that_of_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], local: LocalModel
) -> None:
    def no_time(recipe: SFTRecipe, *others: Any) -> onpolicy.Trained:
        return onpolicy.Trained(local.model, local.tokenizer, 3, [{"round": 1}])

    monkeypatch.setattr(onpolicy, "train", no_time)
    start, run = tmp_path / "start" / "checkpoint", tmp_path / "run"
    local.model.save_pretrained(start)
    local.tokenizer.save_pretrained(start)
    words = [f"model={start}", "scenarios.eval_limit=2", "eval.max_tokens=8", "eval.conditions=[baseline]"]
    summary = sft.run(recipe(run, *words))
    assert summary is not None and json.loads((run / "summary.json").read_text()) == summary
    assert {path.name for path in run.iterdir()} >= {"before", "after", "checkpoint", "report.md", "config.yaml"}
    assert json.loads((run / "trained.json").read_text()) == {"steps": 3, "examples": 8, "history": [{"round": 1}]}
    assert "on-policy self-distillation, " in (run / "checkpoint" / "README.md").read_text()
    assert not (tmp_path / "data").exists() and str(run) in capsys.readouterr().out


def test_a_model_that_writes_nothing_readable_is_one_line(tmp_path: Path, local: LocalModel) -> None:
    local.model.save_pretrained(tmp_path / "random")
    local.tokenizer.save_pretrained(tmp_path / "random")
    with pytest.raises(RunError, match=r"round 1 left no dialogue to learn from: \{'(malformed|truncated)'"):
        trained(recipe(tmp_path / "run", f"model={tmp_path / 'random'}", "data.max_tokens=8"))
    with pytest.raises(ConfigError, match=r"^command line: onpolicy.teacher=pocket-base: its tokens are not those of"):
        trained(recipe(tmp_path / "run", f"model={tmp_path / 'random'}", "onpolicy.teacher=pocket-base"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data.policy=exact"], "command line: data.policy=exact: with data.engine=onpolicy the student asks its own"),
        (["data.margin=1"], "command line: data.margin has no meaning with data.engine=onpolicy"),
        (["teach.answer=generic"], "command line: teach.answer has no meaning with data.engine=onpolicy"),
        (["trainer.save_steps=3"], "command line: trainer.save_steps has no meaning with data.engine=onpolicy"),
        (["trainer.lr_scheduler_type=polynomial"], "trainer.lr_scheduler_type=polynomial: expected one of constant"),
        (["trainer.num_train_epochs=1.5"], "trainer.num_train_epochs=1.5: expected a whole number from 1 on"),
        (["trainer.warmup_steps=0.1"], "trainer.warmup_steps=0.1: expected a whole number from 0 on"),
        (["onpolicy.episodes=99"], "onpolicy.episodes=99: there are only scenarios.train_limit=16"),
        (["model=runs/nowhere/checkpoint"], "no such checkpoint; train it first with recipe=nowhere"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path: Path, words: list[str], expected: str) -> None:
    bad = recipe(tmp_path, *words)
    with pytest.raises(ConfigError) as caught:
        onpolicy.check(bad, sft.settings(bad))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_recipe_can_be_run_and_says_what_it_will_do(tmp_path: Path) -> None:
    onpolicy.check(recipe(tmp_path), sft.settings(recipe(tmp_path)))
    assert "2 rounds of 8 episodes, taught by" in sft.describe(recipe(tmp_path))
