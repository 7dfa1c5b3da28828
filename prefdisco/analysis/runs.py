"""The runs that are analysed: a name and its episodes each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prefdisco.evaluate import EPISODES, load_episodes
from prefdisco.files import RunError
from prefdisco.measures import Unit, in_order, played
from prefdisco.schema import Episode

STAGES = ("before", "after")


@dataclass(frozen=True)
class Run:
    """One evaluation: what tables call it, where it is, and its episodes, errors included."""

    name: str
    folder: Path
    episodes: tuple[Episode, ...]

    @cached_property
    def played(self) -> dict[str, dict[Unit, Episode]]:
        """The episodes without error, by condition and unit."""
        return played(self.episodes)

    @property
    def conditions(self) -> list[str]:
        """The conditions that have an episode without error, baseline, discovery and oracle first."""
        return in_order(self.played)

    @property
    def errors(self) -> int:
        """How many episodes failed."""
        return sum(episode.error is not None for episode in self.episodes)


def load_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs in these folders, in their order; a training run is two, before and after.

    Raises RunError for a folder without episodes and one that is named twice, DataError for a line that is no episode.
    """
    stages = [stage for folder in folders for stage in stages_of(Path(folder))]
    places = [stage.absolute() for stage in stages]  # "." has no name
    names = named(places, least=2 if any(stage.name in STAGES for stage in stages) else 1)
    return [
        Run(name, folder, tuple(load_episodes(folder / EPISODES).values()))
        for name, folder in zip(names, stages, strict=True)
    ]


def stages_of(folder: Path) -> list[Path]:
    """The evaluations in a run folder: the folder itself, or those before and after a training. RunError for none."""
    found = [place for place in (folder, *(folder / stage for stage in STAGES)) if _has_episodes(place)]
    if not found:
        raise RunError(f"{folder}: no episodes there; name the run folder of an evaluation or of a training")
    return found


def named(folders: Sequence[Path], least: int = 1) -> list[str]:
    """As much of the end of each path as tells the folders apart, `least` parts or more."""
    most = max(len(folder.parts) for folder in folders)
    for count in range(least, max(most, least) + 1):
        labels = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(labels)) == len(labels):
            return labels
    raise RunError(f"{folders[0]}: named twice")


def _has_episodes(folder: Path) -> bool:
    path = folder / EPISODES
    return path.is_file() and path.stat().st_size > 0
