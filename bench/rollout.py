"""Rollouts, tokens a second: whole dialogues against single-turn generation, and against TRL's own tool loop.

    python bench/rollout.py [--model pocket-base] [--quick] [--threads N]

Counted are the agent's own tokens. Every way has the same weights, the same prompts and the same batch, all alive at
once. Three groups, each against its first line:

as it plays     the model plays with Pocket's person, is graded, and its questions are valued, as in `train/rl.py`.
                Against it, the same decode loop writes for every episode one turn of as many tokens as the agent's
                turns have together: behind all that the agent read in them ("one turn"), or behind the problem alone,
                which is less to read and less to attend to ("one turn, problem alone").
five questions  every turn has as many tokens as `--turn` says, and what was sampled counts as a question for five
                turns, then as the response; which ones, is written down beforehand. So every way writes and reads the
                same number of tokens. "TRL" is GRPOTrainer with an `environment_factory`, a template and a parser that
                take any turn for a tool call, and transformers' generate; its person and judge are the same ones. Both
                trainers are timed from the prompts to the batch that is learned from
                (`_generate_and_score_completions`); ours also values the questions. Turns of equal length are the best
                case of TRL's loop: its batches wait for the longest.
a slow person   the same, with a person who takes `--latency` seconds for an answer: TRL asks one person after another.

Not compared: what is learned, and other engines than these two. Medians over repetitions in turns. Where others use the
processor too, the ratios by CPU time say more than those by the clock; with a slow person, only the clock does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from datasets import Dataset, disable_progress_bars
from transformers import PrinterCallback, ProgressCallback
from trl import GRPOConfig, GRPOTrainer

from prefdisco.conditions import parse_condition, problem_text, prompt
from prefdisco.config import RLRecipe
from prefdisco.config import load as load_config
from prefdisco.engine.dialogues import DISCOVERY
from prefdisco.llm.base import Completion, Conversation, Sampling
from prefdisco.llm.batcher import Batcher
from prefdisco.llm.decoding import Decoder
from prefdisco.llm.local import LocalModel, load
from prefdisco.llm.loops import run
from prefdisco.llm.rows import Row
from prefdisco.pocket.attributes import DIMENSIONS, ask
from prefdisco.pocket.users import PocketUser
from prefdisco.pocket.writer import write
from prefdisco.schema import Episode, Message, Scenario, Tokens
from prefdisco.training import rl
from prefdisco.training.grpo import DialogueTrainer
from prefdisco.training.references import Reference
from prefdisco.training.rollouts import Wanted
from prefdisco.users import Reply
from prefdisco.world import world_of

QUESTIONS = 5
ASKED = [ask(attribute, 0) for attribute in list(DIMENSIONS)[:QUESTIONS]]
# ChatML as the package writes it, with tool calls and their answers; an answer reads as the person's turn does here
TEMPLATE = """{%- for message in messages -%}
{{- '<|im_start|>' + ('user' if message['role'] == 'tool' else message['role']) + '\n' + message['content'] -}}
{%- if message['tool_calls'] is defined -%}{{- message['tool_calls'] -}}{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""
ANY_TURN_IS_A_CALL = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "close_pattern": r"<\|im_end\|>\s*",
            "content": "text",
            "repeats": True,
            "transform": {"type": "function", "function": {"name": "ask", "arguments": {"question": "{content}"}}},
        }
    },
}


class SlowUser(PocketUser):
    """Pocket's person, who takes `seconds` to answer."""

    seconds = 0.0

    async def reply(self, scenario: Scenario, messages: Sequence[Message], question: str, seed: int) -> Reply:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return self.answer(scenario, messages, question, seed)


class Endless(LocalModel):
    """A model that never ends a turn: it writes as many tokens as it may."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.engine = Batcher(Decoder(self.model, [], self.decoder.batch_size))


class Scripted:
    """An endless model whose samples are recorded, and read as what `ASKED` and `responses` say."""

    def __init__(self, model: Endless, responses: dict[str, str], turn: int) -> None:
        self.model, self.responses, self.turn, self.name = model, responses, turn, "scripted"

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        asked = sum(message.role == "assistant" for message in conversation.messages)
        completion = await self.model.complete(conversation, Sampling(1.0, 1.0, self.turn, sampling.seed))
        if asked < QUESTIONS:
            text = f"###ACTION###: 'ask_question'\n###RESPONSE###: {ASKED[asked]}"
        else:
            text = f"###ACTION###: 'final_answer'\n###RESPONSE###: {self.responses[conversation.messages[1].content]}"
        return Completion(text, "stop", completion.usage)


class Setting:
    """What all ways share: scenarios, person and judge, the model's name, how many episodes, and tokens of a turn."""

    def __init__(self, model: str, episodes: int, turn: int, folder: str) -> None:
        self.model, self.episodes, self.turn, self.folder = model, episodes, turn, folder
        words = [
            "recipe=grpo_small", f"model={model}", f"scenarios.train_limit={episodes // 8}", f"run={folder}",
            "rollout.candidates=1", "replay.weight=0", "rollout.mix={plain: 0, oracle: 0}", "watch.every=0",
            "trainer.num_generations=8", "trainer.steps_per_generation=1", "trainer.gradient_accumulation_steps=1",
            f"rollout.batch_size={episodes}", f"trainer.per_device_train_batch_size={episodes}",
        ]  # fmt: skip
        self.recipe = load_config(RLRecipe, words)
        self.scenarios = rl.drawn_scenarios(self.recipe)[0]
        self.user = SlowUser()
        self.world = replace(world_of(self.scenarios), user=self.user)
        self.known = {each.id: Reference(2.5, 4.0) for each in self.scenarios}
        self.responses = {problem_text(s.problem): write(s.problem, {}, random.Random(0)) for s in self.scenarios}


class Timing(NamedTuple):
    """Of one way once: the agent's tokens, seconds on the clock, and the seconds of processor time of this process."""

    tokens: int
    seconds: float
    processor: float


def timed(way: Callable[[], int], latency: float, user: SlowUser) -> Timing:
    """A way that returns how many tokens it wrote, with a person who takes `latency` seconds an answer."""
    user.seconds = latency
    start, used = time.perf_counter(), time.process_time()
    tokens = way()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Timing(tokens, time.perf_counter() - start, time.process_time() - used)


class Playing:
    """The model as it plays."""

    def __init__(self, setting: Setting) -> None:
        self.agent = LocalModel(*load(setting.model), setting.episodes)
        self.rollouts: Any = rl.trainer_of(setting.recipe, setting.known, setting.world).rollout_func
        self.wanted = [Wanted(scenario, seed) for scenario in setting.scenarios for seed in range(8)]
        self.episodes: list[Episode] = []

    def __call__(self) -> int:
        """Play, grade and value them all."""
        played = run(self.rollouts.play(self.wanted, self.agent, self.rollouts.recipe.reward))
        self.episodes = [each.episode for each in played]
        assert not any(episode.error for episode in self.episodes)
        return sum(sum(tokens.mask) for tokens in recorded(self.episodes))


def recorded(episodes: Sequence[Episode]) -> list[Tokens]:
    """The tokens of episodes that have some."""
    return [episode.tokens for episode in episodes if episode.tokens]


def one_turn(agent: LocalModel, played: Callable[[], Sequence[Episode]], everything: bool) -> Callable[[], int]:
    """One turn for each episode last played, of as many tokens as the agent wrote, behind all that it read in it or
    behind the problem alone."""
    endless = Batcher(Decoder(agent.model, [], agent.decoder.batch_size))

    def generate() -> int:
        rows = []
        for seed, tokens in enumerate(recorded(played())):
            first = tokens.mask.index(1)
            read = [i for i, own in zip(tokens.ids, tokens.mask, strict=True) if not own] if everything else None
            length = sum(tokens.mask)
            rows.append(Row(read or tokens.ids[:first], Sampling(1.0, 1.0, length, seed), length))

        async def all_of_them() -> None:
            await asyncio.gather(*map(endless.submit, rows))

        run(all_of_them())
        return sum(len(row.ids) for row in rows)

    return generate


def ours(setting: Setting) -> DialogueTrainer:
    """Our trainer, whose rollouts have forced turns."""
    trainer = rl.trainer_of(setting.recipe, setting.known, setting.world)
    endless = Endless(trainer.model, trainer.processing_class, setting.episodes)
    rollouts: Any = trainer.rollout_func
    rollouts.agent = Scripted(endless, setting.responses, setting.turn)
    return trainer


def theirs(setting: Setting) -> GRPOTrainer:
    """TRL's trainer on the same task: a tool that asks the person, and the judge's alignment as the reward."""
    by_id = {scenario.id: scenario for scenario in setting.scenarios}

    class Person:
        """One person to be asked."""

        def reset(self, **row: Any) -> None:
            self.scenario, self.heard = by_id[row["scenario_id"]], list[Message]()

        def ask(self, question: str) -> str:
            """Ask the person.

            Args:
                question: what to ask.

            Returns:
                The person's answer.
            """
            asked = len(self.heard) // 2
            time.sleep(setting.user.seconds)
            said = setting.user.answer(self.scenario, self.heard, ASKED[asked], asked).text
            self.heard += [Message(role="assistant", content=ASKED[asked]), Message(role="user", content=said)]
            return said if asked + 1 < QUESTIONS else f"{said}\n{prompt('final_request')}"

    def alignment(environments: Sequence[Person], **others: Any) -> list[float | None]:
        assert all(len(person.heard) == 2 * QUESTIONS for person in environments)

        async def grades() -> list[float | None]:
            judged = [
                await setting.world.judge.grade(
                    person.scenario, setting.responses[problem_text(person.scenario.problem)]
                )
                for person in environments
            ]
            return [sum(grade.score for grade in verdict[1]) / len(verdict[1]) for verdict in judged]

        return run(grades())

    model, tokenizer = load(setting.model, device="cpu")
    tokenizer.chat_template, tokenizer.response_template = TEMPLATE, ANY_TURN_IS_A_CALL
    opening = parse_condition(DISCOVERY)
    rows = [
        {"prompt": [{"role": m.role, "content": m.content} for m in opening.opening(s, QUESTIONS)], "scenario_id": s.id}
        for s in setting.scenarios
    ]
    length = {"max_new_tokens": setting.turn, "min_new_tokens": setting.turn}
    arguments = GRPOConfig(
        output_dir=setting.folder, per_device_train_batch_size=setting.episodes, gradient_accumulation_steps=1,
        num_generations=8, max_completion_length=800, max_tool_calling_iterations=QUESTIONS, generation_kwargs=length,
        report_to="none", bf16=False, gradient_checkpointing=False, use_cpu=not torch.cuda.is_available(), beta=0.0,
        disable_tqdm=True,
    )  # fmt: skip
    return GRPOTrainer(
        model=model,
        args=arguments,
        reward_funcs=alignment,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory=Person,
    )


class Step:
    """The episodes of one step of a trainer, from the prompts to the batch."""

    def __init__(self, trainer: GRPOTrainer, setting: Setting) -> None:
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        self.trainer, self.expected = trainer, setting.episodes * (QUESTIONS + 1) * setting.turn
        self.inputs = next(iter(trainer.get_train_dataloader()))
        self.episodes: list[Episode] = []
        self.read = 0
        trainer.model.train()  # type: ignore[union-attr]
        trainer.current_gradient_accumulation_steps = 1

    def __call__(self) -> int:
        rows = [dict(row) for row in self.inputs]
        batch = self.trainer._generate_and_score_completions(rows)
        self.episodes = [row["rollout"].episode for row in rows if "rollout" in row]
        own = int((batch["tool_mask"] * batch["completion_mask"]).sum())
        assert own == self.expected, f"{own} tokens, expected {self.expected}"
        self.read = int(batch["prompt_mask"].sum() + batch["completion_mask"].sum()) - own
        return own


def generation(step: Step, tokens: int) -> Callable[[], int]:
    """TRL's single-turn generation behind the prompts of a step, `tokens` each."""
    trainer = step.trainer
    trainer._batch_environments = [None] * len(step.inputs)

    def generate() -> int:
        prompts = trainer._tokenize_prompts([row["prompt"] for row in step.inputs])[0]
        config = trainer.generation_config
        before = config.max_new_tokens
        config.max_new_tokens = config.min_new_tokens = tokens
        written, _ = trainer._generate_single_turn(prompts, None, {}, 1)
        config.max_new_tokens = config.min_new_tokens = before
        assert all(len(row) == tokens for row in written)
        return sum(map(len, written))

    return generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket-base", help="a checkpoint folder that plays Pocket")
    parser.add_argument("--episodes", type=int, default=128, help="alive at once; a multiple of 8")
    parser.add_argument("--turn", type=int, default=40, help="tokens of a turn where all are equally long")
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that a slow person takes to answer")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, in turns")
    parser.add_argument("--quick", action="store_true", help="16 episodes, one repetition")
    parser.add_argument("--threads", type=int, help="threads of torch; as many as there are cores without")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    be_quiet()
    episodes, repeat = (16, 1) if options.quick else (options.episodes, options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(options.model, episodes, options.turn, folder)
        playing, tokens = Playing(setting), (QUESTIONS + 1) * options.turn
        own, other = Step(ours(setting), setting), Step(theirs(setting), setting)
        agent, as_played, forced = playing.agent, lambda: playing.episodes, lambda: own.episodes
        groups: dict[str, tuple[float, dict[str, Callable[[], int]]]] = {
            "as it plays": (
                0.0,
                {
                    "one turn": one_turn(agent, as_played, True),
                    "one turn, problem alone": one_turn(agent, as_played, False),
                    "dialogues": playing,
                },
            ),
            "five questions": (
                0.0,
                {
                    "one turn": one_turn(agent, forced, True),
                    "one turn, problem alone": one_turn(agent, forced, False),
                    "dialogues": own,
                    "TRL: one turn, problem alone": generation(other, tokens),
                    "TRL: environment_factory": other,
                },
            ),
            "a slow person": (options.latency, {"dialogues": own, "TRL: environment_factory": other}),
        }
        warm: tuple[Callable[[], int], ...] = (playing, own, other)
        for way in warm:  # plays what the single turns repeat; and warms up
            way()
        found: dict[tuple[str, str], list[Timing]] = {}
        for _ in range(repeat):  # in turns, so that a busy moment hits all
            for group, (latency, ways) in groups.items():
                for name, way in ways.items():
                    found.setdefault((group, name), []).append(timed(way, latency, setting.user))
    written = sum(sum(each.mask) for each in recorded(playing.episodes))
    turns = sum(len(episode.questions) + 1 for episode in playing.episodes)
    show(found, episodes)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{options.model}, {episodes} episodes, {device}")
    print(f"as it plays: {turns / episodes:.1f} turns of {written / turns:.0f} tokens")
    print(f"five questions: {QUESTIONS + 1} turns of {options.turn} tokens")
    print(f"tokens read, an episode: {own.read / episodes:.0f} ours, {other.read / episodes:.0f} TRL's")


def show(found: dict[tuple[str, str], list[Timing]], episodes: int) -> None:
    """The table. Ratios are those of tokens a second to the group's first way in the same repetition: medians."""
    print(f"{'':16}{'':30}{'tokens/s':>10}{'episodes/s':>12}{'ratio':>8}{'by CPU time':>13}")
    before = ""
    for (group, name), values in found.items():
        if group != before:
            first = values
        rate = statistics.median(value.tokens / value.seconds for value in values)
        each = statistics.median(episodes / value.seconds for value in values)
        pairs = list(zip(values, first, strict=True))
        clock = statistics.median(a.tokens / a.seconds * b.seconds / b.tokens for a, b in pairs)
        used = statistics.median(a.tokens / a.processor * b.processor / b.tokens for a, b in pairs)
        print(f"{group if group != before else '':16}{name:30}{rate:10.0f}{each:12.1f}{clock:8.2f}{used:13.2f}")
        before = group


def be_quiet() -> None:
    """Leave the table alone on the screen."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    disable_progress_bars()
    warnings.filterwarnings("ignore")
    for library in ("transformers", "trl", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
