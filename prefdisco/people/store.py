"""The scenarios and episodes that people made, in a run folder as any evaluation leaves one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prefdisco.evaluate import EPISODES, load_episodes
from prefdisco.files import append_line, read_complete_lines
from prefdisco.schema import Episode, Scenario, parse_line

SCENARIOS = "scenarios.jsonl"


class Store:
    """Appends what is not there yet, so that whatever a kill interrupted can be done again. Raises DataError."""

    def __init__(self, run_dir: Path) -> None:
        self.episodes, self.scenarios = run_dir / EPISODES, run_dir / SCENARIOS
        self.played = set(load_episodes(self.episodes))
        lines = enumerate(read_complete_lines(self.scenarios), 1)
        self.known = {parse_line(line, Scenario, f"{self.scenarios}:{number}").id for number, line in lines}

    def add(self, scenario: Scenario, episodes: Iterable[Episode]) -> None:
        """Append a scenario and its graded episodes, without token ids. Raises RunError."""
        if scenario.id not in self.known:
            append_line(self.scenarios, scenario.model_dump_json())
            self.known.add(scenario.id)
        for episode in episodes:
            if episode.key not in self.played:
                append_line(self.episodes, episode.model_copy(update={"tokens": None}).model_dump_json())
                self.played.add(episode.key)
