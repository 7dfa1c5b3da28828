"""Local generation, tokens a second: one dialogue at a time, transformers' generate in batches, and our decode loop.

    python bench/generation.py [--model PATH] [--quick] [--threads N]

Prompts of about 200 tokens, answers of 20 to 150, as in Pocket; answers are cut at their length, so every way writes
the same number of tokens. Drafts are four answers to each of a quarter of the prompts, in slots of their own or in one.
Without --model, a random Llama of pocket-base's shape. Medians over the repetitions.
Two threads on cores that others use as well are far slower than one: then say --threads 1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from prefdisco.llm.base import Sampling
from prefdisco.llm.decoding import Decoder
from prefdisco.llm.rows import Row

DRAFTS = 4
Request = tuple[list[int], int]  # prompt, length of the answer


def random_llama() -> Any:
    """A Llama of pocket-base's shape (1.2M parameters), untrained."""
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=1024, max_position_embeddings=1024, tie_word_embeddings=True, **shape)  # type: ignore[arg-type]
    return LlamaForCausalLM(config).eval()


def requests(count: int, vocabulary: int) -> list[Request]:
    """Prompts of random tokens, with the lengths of their answers."""
    rng = np.random.default_rng(0)
    lengths = [(int(rng.integers(150, 250)), int(rng.integers(20, 150))) for _ in range(count)]
    return [(rng.integers(3, vocabulary, prompt).tolist(), answer) for prompt, answer in lengths]


def decode(model: Any, work: list[Request], batch_size: int, drafts: int = 1, shared: bool = False) -> None:
    """Serve the requests with the decode loop of `LocalModel`; each that many times, `shared`: in one slot."""
    waiting = []
    for i, (prompt, answer) in enumerate(work):
        family = object() if shared else None
        waiting += [Row(prompt, Sampling(seed=drafts * i + k), answer, family=family) for k in range(drafts)]
    rows = list(waiting)

    def take(most: int) -> list[Row]:
        taken = waiting[:most]
        del waiting[:most]
        return taken

    Decoder(model, [], batch_size).serve(take)
    for row in rows:
        row.future.result()


@torch.inference_mode()
def generate(model: Any, work: list[Request], batch_size: int) -> None:
    """Serve the requests with transformers' generate, in left-padded batches of similar prompt length."""
    ordered = sorted(work, key=lambda request: len(request[0]))
    for first in range(0, len(ordered), batch_size):
        group = ordered[first : first + batch_size]
        width = max(len(prompt) for prompt, _ in group)
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt, _ in group], device=model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt, _ in group], device=model.device
        )
        longest = max(answer for _, answer in group)
        settings = {
            "max_new_tokens": longest,
            "min_new_tokens": longest,
            "do_sample": True,
            "top_k": 0,
            "pad_token_id": 0,
        }
        model.generate(input_ids=ids, attention_mask=mask, **settings)


def rate(serve: Callable[[], None], tokens: int, repetitions: int) -> float:
    """Median tokens a second."""
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        serve()
        seconds.append(time.perf_counter() - start)
    return tokens / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint folder; a random model of pocket-base's shape without")
    parser.add_argument("--quick", action="store_true", help="fewer requests, one repetition")
    parser.add_argument("--threads", type=int, help="threads of torch; as many as there are cores without")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = (
        AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32) if options.model else random_llama()
    )
    torch.nn.Module.to(model.eval(), device)
    work = requests(64 if options.quick else 256, model.config.vocab_size)
    few = work[: 6 if options.quick else 24]
    quarter = work[: len(work) // DRAFTS]
    repetitions = 1 if options.quick else 3
    decode(model, few[:2], 2)  # warm up

    def written(done: list[Request]) -> int:
        return sum(answer for _, answer in done)

    rates = {
        "one by one": rate(partial(decode, model, few, 1), written(few), repetitions),
        "generate, 64 rows": rate(partial(generate, model, work, 64), written(work), repetitions),
        "decode loop, 64 rows": rate(partial(decode, model, work, 64), written(work), repetitions),
        "decode loop, 128 rows": rate(partial(decode, model, work, 128), written(work), repetitions),
        "128 rows, drafts": rate(partial(decode, model, quarter, 128, DRAFTS), DRAFTS * written(quarter), repetitions),
        "128 rows, one slot": rate(
            partial(decode, model, quarter, 128, DRAFTS, True), DRAFTS * written(quarter), repetitions
        ),
    }
    print(f"{model.num_parameters() / 1e6:.1f}M parameters, float32, {device}, {torch.get_num_threads()} threads")
    print(f"{'':24}{'tokens/s':>10}{'ratio':>8}")
    for name, value in rates.items():
        print(f"{name:24}{value:10.0f}{value / rates['one by one']:8.1f}")


if __name__ == "__main__":
    main()
