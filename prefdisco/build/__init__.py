"""Benchmarks made by a language model: people, attributes, profiles, rubrics; docs/build.md says how.

scenarios = asyncio.run(build(config, model, problems, config.folder))
"""

from prefdisco.build.config import BuildConfig
from prefdisco.build.estimate import Estimate, estimate
from prefdisco.build.pipeline import build

__all__ = ["BuildConfig", "Estimate", "build", "estimate"]
