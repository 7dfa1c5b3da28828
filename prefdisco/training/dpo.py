"""TRL's DPOTrainer on pairs of recorded tokens.

Its collator and its loss take `prompt_ids`, `chosen_ids` and `rejected_ids` as they are; only the step before them
tokenizes, and has no switch to be left out (TRL 1.16: it asks every dataset for text). So that step is all that is
overridden: nothing is tokenized again.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import ProgressCallback
from trl import DPOTrainer

from prefdisco.training.trainer import WithMuon


class PairTrainer(WithMuon, DPOTrainer):
    """DPO (Rafailov et al., arXiv 2305.18290) on rows of token ids, with the progress bar alone, without its logs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(Bar())

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


class Bar(ProgressCallback):
    """The trainer's progress bar; what it logs is in the round's line and in trained.json."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Print nothing."""
