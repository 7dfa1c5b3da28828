"""What plays the dialogues of a training: the trainer's own model, or vLLM, which TRL starts and keeps in step with it.

rollout.engine   where it runs                                     weights
local            in this process, the model that is trained        are the same
colocate         vLLM in this process, on the same device          copied by TRL before the first play of a step
server           a `vllm serve` of yours, on devices of its own    sent by TRL over NCCL, likewise

TRL's own call into vLLM takes one set of sampling parameters for a batch, and waits for the longest row. Here every
request has its own seed, room and end tokens, and is let in as soon as its dialogue is ready: `Colocated` steps the
engine that TRL made, `Served` posts one request a turn with TRL's client. Ids go in; ids and their log-probabilities at
the sampling temperature come back, and are recorded as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from typing import Any

from trl import GRPOConfig

from prefdisco.config import ConfigError, RLRecipe, check_trainer
from prefdisco.files import RunError
from prefdisco.llm.base import ModelError
from prefdisco.llm.batcher import Batcher
from prefdisco.llm.chat import Chat
from prefdisco.llm.local import LocalModel, ends_of
from prefdisco.llm.rows import Row
from prefdisco.llm.tokens import TokenModel

LOCAL, COLOCATE, SERVER = "local", "colocate", "server"
MOST_REQUESTS = 256  # to a server at a time; each waits in a thread
SET_ELSEWHERE = ("use_vllm", "vllm_mode")
REFUSED = {
    "vllm_structured_outputs_regex": "a turn is free text",
    "vllm_importance_sampling_cap": "deprecated by TRL; use vllm_importance_sampling_clip_max",
}


def engine_arguments(recipe: RLRecipe) -> dict[str, Any]:
    """The fields of GRPOConfig that the recipe's engine stands for. Raises ConfigError for `trainer.vllm_*` fields that
    contradict it or that there are not, and where vLLM is not installed."""
    engine = recipe.rollout.engine
    check_trainer(recipe.trainer, GRPOConfig, recipe.where)
    for key in recipe.trainer:
        place = f"{recipe.where(f'trainer.{key}')}: trainer.{key}"
        if key in SET_ELSEWHERE:
            raise ConfigError(f"{place}: set rollout.engine instead: {LOCAL}, {COLOCATE} or {SERVER}")
        if key.startswith("vllm_") and engine == LOCAL:
            raise ConfigError(
                f"{place} has no meaning with rollout.engine={LOCAL}; remove it, or choose another engine"
            )
        if key in REFUSED:
            raise ConfigError(f"{place}: {REFUSED[key]}; remove it")
    if engine == LOCAL:
        return {}
    if engine == COLOCATE and recipe.trainer.get("vllm_tensor_parallel_size", 1) != 1:
        raise ConfigError(
            f"{recipe.where('trainer.vllm_tensor_parallel_size')}: trainer.vllm_tensor_parallel_size: processes that "
            f"share one model would have to take every turn together; use 1, or rollout.engine={SERVER}"
        )
    if find_spec("vllm") is None:
        raise ConfigError(
            f"{recipe.where('rollout.engine')}: rollout.engine={engine}: vLLM is not installed; "
            f"pip install 'prefdisco[vllm]', or use rollout.engine={LOCAL}"
        )
    return {"use_vllm": True, "vllm_mode": engine}


@contextmanager
def starting(recipe: RLRecipe) -> Iterator[None]:
    """Around the making of a trainer, which starts vLLM or looks for its server: what fails there is one line."""
    engine = recipe.rollout.engine
    try:
        yield
    except (ConfigError, ModelError, RunError):
        raise
    except (ConnectionError, ImportError, RuntimeError, ValueError) as error:
        if engine == LOCAL:
            raise
        raise RunError(f"{recipe.run}: rollout.engine={engine}: {' '.join(str(error).split())}") from error


def agent_of(trainer: Any, batch_size: int) -> TokenModel:
    """The agent of `trainer`'s rollouts: its own model, or its vLLM. `batch_size` dialogues are generated together."""
    generation: Any = trainer.vllm_generation if trainer.use_vllm else None
    if generation is None:
        return LocalModel(trainer.model, trainer.processing_class, batch_size)
    name = str(trainer.model.name_or_path)
    chat = Chat(trainer.processing_class, name, ends_of(trainer.model))
    if generation.mode == COLOCATE:
        limit = generation.llm.llm_engine.model_config.max_model_len
        return TokenModel(chat, limit, Batcher(Colocated(generation.llm.llm_engine, sorted(chat.ends), batch_size)))
    client = generation.vllm_client if trainer.accelerator.is_main_process else connected(generation)
    limit = int(client.get_server_info()["model_config"]["max_model_len"])
    return TokenModel(chat, limit, Served(client, sorted(chat.ends), batch_size))


def connected(generation: Any) -> Any:
    """A client of the same server for another process: TRL gives one to the main process only. It sends no weights."""
    from trl.generation.vllm_client import VLLMClient

    base = generation.server_base_url or f"http://{generation.server_host}:{generation.server_port}"
    return VLLMClient(base_url=base, connection_timeout=generation.server_timeout)


@contextmanager
def awake(trainer: Any) -> Iterator[None]:
    """Around play: the engine has the trainer's weights of the moment, and room for keys and values.

    Before a step's rollouts TRL has sent the weights; before an evaluation between steps it has not. With
    `trainer.vllm_enable_sleep_mode` vLLM gives its memory back after the play, and its weights with it, so they may
    have to be sent again. A server serves all processes: none may ask it before the main one has sent the weights.
    """
    generation: Any = trainer.vllm_generation if trainer.use_vllm else None
    if generation is not None and trainer._last_loaded_step != trainer.state.global_step:
        generation.sync_weights()
        trainer._last_loaded_step = trainer.state.global_step
    if generation is not None and generation.mode == SERVER:
        trainer.accelerator.wait_for_everyone()
    sleeps = generation is not None and generation.mode == COLOCATE and generation.enable_sleep_mode
    if sleeps:
        if generation._llm_weights_sleeping:
            generation.sync_weights()
        generation.llm.wake_up(tags=["kv_cache"])
    try:
        yield
    finally:
        if sleeps:
            generation.llm.sleep(level=2)
            generation._llm_weights_sleeping = True


class Colocated:
    """A decoder for `Batcher` on vLLM's engine in this process: `add_request`, then `step` until all rows are done."""

    def __init__(self, engine: Any, ends: Sequence[int], batch_size: int) -> None:
        self.engine, self.ends, self.batch_size = engine, list(ends), batch_size
        self.numbers = count()

    def serve(self, take: Callable[[int], list[Row]], waiting: Callable[[], int] = lambda: 0) -> None:
        """Serve until `take(most)`, which hands over at most that many waiting rows, has none and all rows are done.

        vLLM lets new requests into its next step by itself, so they are handed over as they come.
        """
        live: dict[str, Row] = {}
        try:
            while (rows := take(self.batch_size - len(live))) or live:
                for row in rows:
                    self.admit(row, live)
                gone = [name for name, row in live.items() if row.future.cancelled()]
                if gone:
                    self.engine.abort_request(gone)
                for name in gone:
                    del live[name]
                for output in self.engine.step() if live else ():
                    if output.finished:
                        self.finish(live.pop(output.request_id), output.outputs[0])
        except Exception as error:  # raised again where the callers wait
            self.engine.abort_request(list(live))
            for row in live.values():
                row.settle(error)

    def admit(self, row: Row, live: dict[str, Row]) -> None:
        """Hand one row to the engine; one that it refuses gets its error."""
        from vllm import SamplingParams

        name, wanted = f"turn-{next(self.numbers)}", SamplingParams(**parameters(row, self.ends))
        try:
            self.engine.add_request(name, {"prompt_token_ids": row.prompt}, wanted)
        except ValueError as error:
            row.settle(error)
        else:
            live[name] = row

    def finish(self, row: Row, output: Any) -> None:
        """Fill a row with what the engine wrote for it."""
        ids = list(output.token_ids)
        try:
            record(row, ids, [each[i].logprob for i, each in zip(ids, output.logprobs, strict=True)], self.ends)
        except (RunError, ValueError) as error:
            row.settle(error)
        else:
            row.settle()


class Served:
    """An `Engine` on TRL's client of a vLLM server: one request a turn, which the server batches with the others."""

    def __init__(self, client: Any, ends: Sequence[int], batch_size: int) -> None:
        self.client, self.ends = client, list(ends)
        self.threads = ThreadPoolExecutor(min(batch_size, MOST_REQUESTS), thread_name_prefix="prefdisco-vllm")

    async def submit(self, row: Row) -> None:
        """Wait until `row` is filled."""
        await asyncio.get_running_loop().run_in_executor(self.threads, self.ask, row)

    def ask(self, row: Row) -> None:
        """Fill one row."""
        wanted = parameters(row, self.ends)
        known = {name: wanted.pop(name) for name in ("temperature", "top_p", "max_tokens", "logprobs")}
        answer = self.client.generate([row.prompt], **known, generation_kwargs={**wanted, "skip_special_tokens": False})
        record(row, answer["completion_ids"][0], [first[0] for first in answer["logprobs"][0]], self.ends)


def parameters(row: Row, ends: list[int]) -> dict[str, Any]:
    """vLLM's sampling parameters of a row: it ends where a local one does, at `ends` or where its room is used up."""
    sampling = row.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": row.room,
        "seed": sampling.seed % 2**63,
        "logprobs": 0,  # that of the sampled token alone
        "stop_token_ids": ends,
        "ignore_eos": True,  # the ends are those above, whatever the checkpoint's generation configuration says
    }


def record(row: Row, ids: Sequence[int], logprobs: Sequence[float | None], ends: list[int]) -> None:
    """Put what was generated into its row. Raises RunError where vLLM did not say how likely a token was."""
    if not ids or len(ids) != len(logprobs) or any(logprob is None for logprob in logprobs):
        raise RunError(f"vLLM: {len(ids)} tokens came with {sum(p is not None for p in logprobs)} log-probabilities")
    row.ids, row.logprobs = list(ids), [float(logprob) for logprob in logprobs if logprob is not None]
    row.finish = "stop" if row.ids[-1] in ends else "length"
