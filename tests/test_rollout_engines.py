"""What plays the dialogues of a training: ids in, ids and log-probabilities out, whoever generates them.

Stand-ins have vLLM's and TRL's calls; against the real ones: tests/test_server.py.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prefdisco.config import ConfigError, RLRecipe, load
from prefdisco.files import RunError
from prefdisco.llm.base import Conversation, ModelError, Sampling
from prefdisco.llm.local import LocalModel
from prefdisco.schema import Message
from prefdisco.training import engines, rl
from prefdisco.training.engines import agent_of, awake
from tests.tiny import tiny_llama, tiny_tokenizer

LIMIT = 120


def drawn(prompt: list[int], wanted: dict[str, Any], end: int) -> tuple[list[int], list[float]]:
    """What both stand-ins write: numbers of the prompt's last id and the seed, and now and then the end."""
    rng = random.Random(wanted["seed"] + prompt[-1])
    ids: list[int] = []
    while len(ids) < wanted["max_tokens"] and (not ids or ids[-1] not in wanted["stop_token_ids"]):
        ids.append(end if rng.random() < 0.1 else rng.randrange(10, 60))
    return ids, [-rng.random() for _ in ids]


@dataclass
class StandInEngine:
    """vLLM's LLMEngine: one token a step for every request."""

    end: int
    live: dict[str, list[Any]] = field(default_factory=dict)
    seen: list[tuple[list[int], dict[str, Any]]] = field(default_factory=list)
    most: int = 0
    broken: bool = False
    model_config: Any = field(default_factory=lambda: SimpleNamespace(max_model_len=LIMIT))

    def add_request(self, name: str, prompt: dict[str, list[int]], wanted: Any) -> str:
        if len(prompt["prompt_token_ids"]) == 7:
            raise ValueError("seven is refused")
        self.seen.append((prompt["prompt_token_ids"], vars(wanted)))
        self.live[name] = [0, *drawn(prompt["prompt_token_ids"], vars(wanted), self.end)]
        self.most = max(self.most, len(self.live))
        return name + "-internal"

    def abort_request(self, names: list[str]) -> None:
        for name in names:
            del self.live[name]

    def step(self) -> list[Any]:
        if self.broken:
            raise RuntimeError("the engine is dead")
        found = []
        for name, request in list(self.live.items()):
            request[0] += 1
            ids, logprobs = request[1:]
            if request[0] == len(ids):
                del self.live[name]
                said = [{i: SimpleNamespace(logprob=p)} for i, p in zip(ids, logprobs, strict=True)]
                output = SimpleNamespace(token_ids=tuple(ids), logprobs=said)
                found.append(SimpleNamespace(finished=True, request_id=name, outputs=[output]))
            else:
                found.append(SimpleNamespace(finished=False, request_id=name, outputs=[]))
        return found


@dataclass
class StandInClient:
    """TRL's VLLMClient."""

    end: int
    seen: list[tuple[list[int], dict[str, Any]]] = field(default_factory=list)

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"max_model_len": LIMIT}}

    def generate(self, prompts: list[list[int]], generation_kwargs: dict[str, Any], **wanted: Any) -> dict[str, Any]:
        wanted = {**wanted, **generation_kwargs}
        self.seen.append((prompts[0], wanted))
        ids, logprobs = drawn(prompts[0], wanted, self.end)
        return {"completion_ids": [ids], "logprobs": [[[p] for p in logprobs]]}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """As much of a trainer as the engines look at; vLLM's SamplingParams is a plain record."""
    module = ModuleType("vllm")
    module.SamplingParams = lambda **fields: SimpleNamespace(**fields)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    tokenizer = tiny_tokenizer()
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    calls: list[str] = []
    llm = SimpleNamespace(
        llm_engine=StandInEngine(end),
        wake_up=lambda tags: calls.append(f"wake {tags[0]}"),
        sleep=lambda level: calls.append(f"sleep {level}"),
    )
    generation = SimpleNamespace(
        mode="colocate", llm=llm, vllm_client=StandInClient(end), enable_sleep_mode=False, _llm_weights_sleeping=False,
        sync_weights=lambda: calls.append("sync"),
    )  # fmt: skip
    accelerator = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: calls.append("wait"))
    yield SimpleNamespace(
        model=tiny_llama(tokenizer), processing_class=tokenizer, use_vllm=True, vllm_generation=generation,
        accelerator=accelerator, calls=calls, state=SimpleNamespace(global_step=3), _last_loaded_step=3,
    )  # fmt: skip


async def dialogue(agent: Any, number: int, turns: int = 3) -> Conversation:
    """A dialogue of some turns whose rooms differ."""
    talk = Conversation(messages=[Message(role="user", content=f"Problem {number}.")])
    for turn in range(turns):
        completion = await agent.complete(talk, Sampling(0.7, 1.0, 3 + number + turn, seed=100 * number + turn))
        talk.messages += [Message(role="assistant", content=completion.text), Message(role="user", content="Yes.")]
    return talk


def played(agent: Any, count: int = 8) -> list[Conversation]:
    async def everyone() -> list[Conversation]:
        return list(await asyncio.gather(*(dialogue(agent, number) for number in range(count))))

    return asyncio.run(everyone())


@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_the_record_is_what_the_engine_read_and_wrote(trainer: Any, mode: str) -> None:
    trainer.vllm_generation.mode = mode
    talks = played(agent_of(trainer, batch_size=4))
    engine = trainer.vllm_generation.llm.llm_engine if mode == "colocate" else trainer.vllm_generation.vllm_client
    assert len(engine.seen) == 3 * 8 and (mode == "server" or engine.most == 4)
    asked = {tuple(prompt): wanted for prompt, wanted in engine.seen}
    for number, talk in enumerate(talks):
        starts = [i for i, own in enumerate(talk.mask) if own and not talk.mask[i - 1]]
        assert len(starts) == 3
        for turn, start in enumerate(starts):
            wanted = asked[tuple(talk.ids[:start])]
            assert (wanted["seed"], wanted["max_tokens"]) == (100 * number + turn, 3 + number + turn)
            assert (wanted["temperature"], wanted["stop_token_ids"]) == (0.7, [engine.end])
            ids, logprobs = drawn(talk.ids[:start], wanted, engine.end)
            assert talk.ids[start : start + len(ids)] == ids and all(talk.mask[start : start + len(ids)])
            assert talk.logprobs[start : start + len(ids)] == logprobs
        assert all(p == 0.0 for p, own in zip(talk.logprobs, talk.mask, strict=True) if not own)


def test_a_dialogue_ends_with_the_engine_s_context(trainer: Any) -> None:
    agent = agent_of(trainer, 4)
    talk = Conversation(messages=[Message(role="user", content="A problem.")])
    used = len(agent.chat.prompt(talk))
    completion = asyncio.run(agent.complete(talk, Sampling(1.0, 1.0, 500, seed=3)))
    (_, wanted), *_ = trainer.vllm_generation.llm.llm_engine.seen
    assert wanted["max_tokens"] == LIMIT - used
    assert completion.finish == ("stop" if talk.ids[-1] in agent.chat.ends else "length")


def test_a_request_that_vllm_refuses_fails_alone_and_a_dead_engine_fails_all(trainer: Any) -> None:
    engine = trainer.vllm_generation.llm.llm_engine
    agent = agent_of(trainer, 4)

    async def both() -> list[Any]:
        refused = Conversation(messages=[Message(role="user", content=".")], ids=[5] * 6, mask=[0] * 6)
        refused.messages.append(Message(role="assistant", content="."))
        agent.chat.prompt = lambda talk: [9]  # type: ignore[method-assign]
        fine = Conversation(messages=[Message(role="user", content=".")])
        wanted = Sampling(1.0, 1.0, 5)
        return await asyncio.gather(*(agent.complete(t, wanted) for t in (refused, fine)), return_exceptions=True)

    error, completion = asyncio.run(both())
    assert isinstance(error, ModelError) and "seven is refused" in str(error) and completion.usage.calls == 1
    engine.broken = True
    error, other = asyncio.run(both())
    assert isinstance(other, ModelError) and "the engine is dead" in str(other) and not engine.live


def test_tokens_without_log_probabilities_are_an_error(trainer: Any) -> None:
    client = trainer.vllm_generation.vllm_client
    client.generate = lambda *a, **k: {"completion_ids": [[5, 6]], "logprobs": [[[None], [-1.0]]]}
    trainer.vllm_generation.mode = "server"
    talk = Conversation(messages=[Message(role="user", content=".")])
    with pytest.raises(ModelError, match="2 tokens came with 1 log-probabilities"):
        asyncio.run(agent_of(trainer, 2).complete(talk, Sampling(1.0, 1.0, 5)))
    assert not talk.ids


def test_a_sleeping_engine_gets_its_weights_back_before_it_plays(trainer: Any) -> None:
    generation = trainer.vllm_generation
    with awake(trainer):
        assert trainer.calls == []  # it does not sleep
    generation.enable_sleep_mode = True
    with awake(trainer):
        trainer.calls.append("play")
    with awake(trainer):
        trainer.calls.append("play")
    once = ["wake kv_cache", "play", "sleep 2"]
    assert trainer.calls == [*once, "sync", *once] and generation._llm_weights_sleeping
    trainer.calls.clear()
    generation.mode = "server"
    with awake(trainer):
        assert trainer.calls == ["wait"]


def test_between_steps_the_engine_gets_the_new_weights_once(trainer: Any) -> None:
    trainer.state.global_step = 4
    for _ in range(2):
        with awake(trainer):
            trainer.calls.append("play")
    assert trainer.calls == ["sync", "play", "play"]


def test_without_vllm_the_trained_model_plays_itself(trainer: Any) -> None:
    trainer.use_vllm = False
    agent = agent_of(trainer, 2)
    assert isinstance(agent, LocalModel) and agent.model is trainer.model


def recipe(run: Path, *words: str) -> RLRecipe:
    return load(RLRecipe, ["recipe=grpo_small", "model=pocket-base", f"run={run}", *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainer.use_vllm=true"], "trainer.use_vllm: set rollout.engine instead: local, colocate or server"),
        (["trainer.vllm_mode=server"], "trainer.vllm_mode: set rollout.engine instead"),
        (["trainer.vllm_max_model_length=9"], "has no meaning with rollout.engine=local"),
        (["rollout.engine=colocate", "trainer.vllm_structured_outputs_regex=a"], "a turn is free text"),
        (["rollout.engine=colocate", "trainer.vllm_tensor_parallel_size=2"], "use 1, or rollout.engine=server"),
        (["rollout.engine=server", "trainer.vllm_sever_port=9"], "unknown key trainer.vllm_sever_port"),
        (["rollout.engine=server"], "rollout.engine=server: vLLM is not installed; pip install 'prefdisco[vllm]'"),
    ],
)
def test_an_engine_that_cannot_be_used_is_one_line(
    tmp_path: Path, words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        rl.settings(recipe(tmp_path, *words))
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), engines.starting(recipe(tmp_path)):
        raise ConnectionError("not ours to explain")
    with pytest.raises(RunError) as caught, engines.starting(recipe(tmp_path, "rollout.engine=server")):
        raise ConnectionError("The vLLM server can't be reached\nat http://0.0.0.0:8000")
    assert "rollout.engine=server: The vLLM server can't be reached at http" in str(caught.value)


def test_the_recipe_s_engine_and_its_fields_reach_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: name)
    words = [
        "rollout.engine=server",
        "trainer.vllm_server_port=18000",
        "trainer.vllm_importance_sampling_mode=token_mask",
    ]
    arguments = rl.settings(recipe(tmp_path, *words))
    assert arguments.use_vllm and arguments.vllm_mode == "server" and arguments.vllm_server_port == 18000
    assert arguments.vllm_importance_sampling_mode == "token_mask"
    assert not rl.settings(recipe(tmp_path)).use_vllm
