"""What tests/test_server.py starts in the vLLM environment: two steps of training whose dialogues vLLM plays in-process.

python tests/launched_vllm.py PACKAGES key=value ...

PACKAGES is where our environment keeps what the other one lacks, such as TRL. Prints what the test looks at as JSON, on
the last line: how far vLLM's log-probabilities are from the trainer's own after each step, and once more after the
weights were changed behind vLLM's back.
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
        "recorded": all(
            ids[i][seen[i].bool()].tolist() == episode.tokens.ids for i, episode in enumerate(episodes)
        ),
        "questions": sum(len(episode.questions) for episode in episodes),
        "texts": [str(episode.messages) for episode in episodes],
        "errors": [episode.error for episode in episodes if episode.error],
    }


def main(words: list[str]) -> None:
    from prefdisco.config import RLRecipe, load
    from prefdisco.training import references, rl
    from prefdisco.training.references import Reference

    recipe = load(RLRecipe, words)
    known = {scenario.id: Reference(2.5, 4.0) for scenario in rl.training_scenarios(recipe)}
    references.write(Path(recipe.run) / references.FOLDER, known)
    trainer: Any = rl.trainer_of(recipe, known)
    found = {"before": played(trainer), "again": played(trainer)}
    trainer.train()
    found["trained"] = played(trainer)
    trainer.vllm_generation.sync_weights = lambda: None
    for parameter in trainer.model.parameters():
        parameter.data.mul_(1.05)
    found["stale"] = played(trainer)
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    print(json.dumps({**found, "steps": steps}))


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    keep_weights()
    main(sys.argv[2:])
