"""Names that a key can be set to."""

from __future__ import annotations

from typing import Literal

Variant = Literal["passive", "collaborative", "nostop", "forgetful", "noisy"]
DType = Literal["float32", "bfloat16"]
PolicyName = Literal["exact", "expected_value", "information_gain", "uncertainty", "fixed", "random"]
LearnedName = Literal["prior", "naive_bayes", "item_cf", "item_cf_value", "hybrid", "bayesian"]
BeliefName = Literal["exact", "exact_train", "exact_new", LearnedName]
