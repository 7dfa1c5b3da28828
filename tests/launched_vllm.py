"""What tests/test_server.py starts in the vLLM environment: a training whose dialogues vLLM plays.

python tests/launched_vllm.py PACKAGES rollout.engine=colocate key=value ...

PACKAGES is where our environment keeps what the other one lacks, such as TRL. Prints what the test looks at as JSON, on
the last line: how far vLLM's log-probabilities are from the trainer's own, before the training and after it, and once
more after the weights were changed behind vLLM's back. With rollout.engine=server nothing is trained: weights go to a
server over NCCL, which CPUs have not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def keep_weights() -> None:
    """vLLM packs linear weights for CPUs and drops them, so nobody can load new ones (on GPUs they stay): keep them."""
    import torch
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain


def send_nothing() -> None:
    """A server that has the start weights already is talked to without NCCL."""
    from trl.generation.vllm_client import VLLMClient

    VLLMClient.init_communicator = VLLMClient.update_named_params = lambda *arguments, **others: None


def played(trainer: Any) -> dict[str, Any]:
    """One batch of episodes: what vLLM says about its own tokens against what the trainer's weights say."""
    import torch

    rows = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer._generate_and_score_completions(rows)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        width = batch["completion_ids"].shape[1]
        again = trainer._get_per_token_logps_and_entropies(trainer.model, ids, seen, width)[0]
    own = (batch["tool_mask"] * batch["completion_mask"]).bool()
    episodes = [row["rollout"].episode for row in rows]
    return {
        "apart": float((again - batch["sampling_per_token_logps"])[own].abs().mean()),
        "recorded": all(ids[i][seen[i].bool()].tolist() == episode.tokens.ids for i, episode in enumerate(episodes)),
        "questions": sum(len(episode.questions) for episode in episodes),
        "texts": [str(episode.messages) for episode in episodes],
        "errors": [episode.error for episode in episodes if episode.error],
    }


def main(words: list[str]) -> None:
    from prefdisco.config import RLRecipe, load
    from prefdisco.training import references, rl
    from prefdisco.training.references import Reference

    recipe = load(RLRecipe, words)
    known = {scenario.id: Reference(2.5, 4.0) for scenario in rl.drawn_scenarios(recipe)[0]}
    references.write(Path(recipe.run) / references.FOLDER, known)
    trainer: Any = rl.trainer_of(recipe, known)
    found: dict[str, Any] = {"before": played(trainer), "again": played(trainer)}
    if recipe.rollout.engine == "server":
        print(json.dumps(found))
        return
    trainer.train()
    trainer._last_loaded_step = -1  # the trainer has taken its best weights back
    found["trained"] = played(trainer)
    trainer.vllm_generation.sync_weights = lambda: None
    for parameter in trainer.model.parameters():
        parameter.data.mul_(1.2)
    found["stale"] = played(trainer)
    print(json.dumps({**found, "log": trainer.state.log_history}))


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    keep_weights()
    if "rollout.engine=server" in sys.argv:
        send_nothing()
    main(sys.argv[2:])
