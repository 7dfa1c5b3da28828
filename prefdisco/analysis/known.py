"""What can be known of an episode beyond its record: its task, the kind of an attribute, what a question is about.

Episodes say the first two; those of earlier versions do not, and are recognised where they are Pocket's, whose words
are known. What a question is about is computed in Pocket only: elsewhere a record says whether its answer revealed a
preference, and no more. This is the one module of the analyses that looks at which of the two it has.
"""

from __future__ import annotations

from collections.abc import Callable

from prefdisco.pocket.attributes import DIMENSIONS
from prefdisco.pocket.families import FAMILIES
from prefdisco.pocket.users import attribute_of
from prefdisco.schema import Episode

POCKET = "pocket"
UNKNOWN = "unknown"


def task_of(episode: Episode) -> str:
    """The task of the episode's problem, "unknown" where neither the record nor its words say."""
    return episode.task or (POCKET if _is_pocket(episode) else UNKNOWN)


def kind_of(episode: Episode, attribute: str) -> str:
    """The kind of one of its attributes, or "unknown"."""
    if attribute in episode.kinds:
        return episode.kinds[attribute]
    return DIMENSIONS[attribute].kind if _is_pocket(episode) and attribute in DIMENSIONS else UNKNOWN


def reader_of(episode: Episode) -> Callable[[str], str | None] | None:
    """What tells the attribute that a question is about, None for one about no attribute; None where nothing can."""
    return attribute_of if _is_pocket(episode) else None


def _is_pocket(episode: Episode) -> bool:
    if episode.task:
        return episode.task == POCKET
    return episode.family in FAMILIES and episode.weights.keys() <= DIMENSIONS.keys()
