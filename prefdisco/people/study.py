"""A study in the browser: its run folder and its participants.

    runs/study-.../
      config.yaml  episodes.jsonl  summary.json  report.md    as of any evaluation; the judge is "person"
      scenarios.jsonl                                         what people stated, as ordinary scenarios
      study.jsonl                                             every event: consent, steps, times
      consent-HASH.txt                                        the texts that were consented to

Episodes are derived from study.jsonl: a server that dies between a rating and its episodes writes them when it is
started again.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError
from prefdisco.dialogue import play
from prefdisco.files import RunError, atomic_write
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.judges import Judge
from prefdisco.llm.base import Model, Sampling
from prefdisco.people.config import StudyConfig
from prefdisco.people.journal import Event, Journal, What
from prefdisco.people.rated import PersonJudge
from prefdisco.people.session import CONDITIONS, Participant, Scores
from prefdisco.people.store import Store
from prefdisco.schema import DataError, Episode, Problem, Scenario
from prefdisco.users import User
from prefdisco.world import Offer, offers_of, understanding

JOURNAL = "study.jsonl"
LONGEST_CONSENT = 20_000  # characters


class Study:
    """What all participants share. Restores those of an earlier server from the run folder.

    Raises DataError for records that cannot be read, ConfigError for problems that nobody could check.
    """

    def __init__(
        self, config: StudyConfig, scenarios: Sequence[Scenario], agent: Model, referee: Judge, run_dir: Path
    ) -> None:
        self.config, self.agent, self.referee, self.run_dir = config, agent, referee, run_dir
        self.consent = consent_text(config.consent)
        self.consent_hash = hashlib.sha256(self.consent.encode()).hexdigest()
        self.problems = {scenario.problem.id: scenario.problem for scenario in scenarios}
        self.offered = offers_of(scenarios)
        self.attribute_of = understanding(scenarios)  # of a question, to choose from
        self.sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        self.journal = Journal(run_dir / JOURNAL)
        self.store = Store(run_dir)
        self.participants: dict[str, Participant] = {}
        self.sessions: dict[str, Participant] = {}  # by the hash of the secret in the participant's cookie
        for event in self.journal:
            if event.what == "consented":
                self._admit(event)
            elif event.participant in self.participants:
                self.participants[event.participant].apply(event)
            else:
                raise DataError(f"{self.journal.path}: {event.what} of {event.participant}, who never consented")

    @property
    def is_full(self) -> bool:
        """Whether as many people take part as may."""
        return len(self.participants) >= self.config.participants

    def _admit(self, consented: Event) -> Participant:
        participant = Participant(self, consented)
        self.participants[participant.id] = self.sessions[consented.data["session"]] = participant
        return participant

    def consented(self, session: str) -> Participant:
        """A new participant, whose cookie's secret hashes to `session`: a random id and a few problems."""
        id = f"s{secrets.token_hex(6)}"
        count = min(self.config.problems, len(self.problems))
        chosen = random.Random(stable_seed(self.config.seed, id)).sample(list(self.problems), count)
        atomic_write(self.run_dir / f"consent-{self.consent_hash[:8]}.txt", self.consent + "\n")
        data = {"text_sha256": self.consent_hash, "session": session, "problems": chosen}
        return self._admit(self.write(id, "consented", data=data))

    def write(
        self, participant: str, what: What, problem: str = "", condition: str = "", data: dict[str, Any] | None = None
    ) -> Event:
        """Write an event to the journal."""
        return self.journal.write(participant, what, problem, condition, data)

    def problem(self, id: str) -> Problem:
        """The problem with this id. Raises RunError where the scenarios no longer have it."""
        if id not in self.problems:
            raise RunError(f"{self.run_dir}: a participant has problem {id}, which is not in {self.config.scenarios}")
        return self.problems[id]

    def offers(self, problem: str) -> list[Offer]:
        """What can be preferred about a problem."""
        return self.offered[problem]

    def order(self, participant: str, problem: str) -> list[str]:
        """The conditions in the order in which their answers are shown: drawn anew for every problem and person."""
        seed = stable_seed(self.config.seed, participant, problem, "order")
        return random.Random(seed).sample(CONDITIONS, len(CONDITIONS))

    async def play(self, scenario: Scenario, condition: str, agent: Model, user: User) -> Episode:
        """Play a condition, as the study is configured."""
        config = self.config
        episode = await play(
            scenario,
            parse_condition(condition),
            agent,
            user,
            self.sampling,
            config.seed,
            config.budget,
            config.thinking,
        )
        return episode.model_copy(update={"tokens": None})

    async def record(self, scenario: Scenario, episodes: Sequence[Episode], scores: Scores) -> None:
        """Grade the episodes as they were rated and store them, unless they are stored.

        Where the referee fails, nothing is stored; it is tried again when the study is started the next time.
        """
        missing = [episode for episode in episodes if episode.key not in self.store.played]
        done = [await graded(each, scenario, PersonJudge(scores[each.condition], self.referee)) for each in missing]
        if failed := next((each.error for each in done if each.error is not None), None):
            print(f"study: {scenario.id}: not stored yet: {failed}", file=sys.stderr)
            return
        self.store.add(scenario, done)

    async def settle(self) -> None:
        """Store the episodes of all ratings."""
        for participant in list(self.participants.values()):
            await participant.settle()


def consent_text(file: str) -> str:
    """The text that people consent to. Raises ConfigError for a file that cannot be read or says nothing."""
    path = Path(file) if file else Path(__file__).with_name("consent.txt")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"consent={path}: cannot read: {getattr(error, 'strerror', None) or error}") from None
    if not 0 < len(text) <= LONGEST_CONSENT:
        raise ConfigError(f"consent={path}: expected 1 to {LONGEST_CONSENT} characters of text, got {len(text)}")
    return text
