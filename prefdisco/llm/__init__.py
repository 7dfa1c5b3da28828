"""One interface to language models. `local` (transformers) is imported where it is used, not here: it needs torch."""

from prefdisco.llm.base import Completion, Conversation, Model, ModelError, Sampling
from prefdisco.llm.scripted import ScriptedModel

__all__ = ["Completion", "Conversation", "Model", "ModelError", "Sampling", "ScriptedModel"]
