"""A study in the browser: its run folder, its participants, and the server that they talk to.

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
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefdisco.conditions import parse_condition
from prefdisco.config import ConfigError
from prefdisco.dialogue import play
from prefdisco.evaluate import EPISODES, load_episodes, spent, write_summary
from prefdisco.files import RunError, atomic_write, claim, lock
from prefdisco.grading import graded
from prefdisco.hashing import stable_seed
from prefdisco.judges import Judge
from prefdisco.llm.base import Model, Sampling
from prefdisco.llm.loops import run
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.metrics import summarize
from prefdisco.people.config import PERSON, StudyConfig
from prefdisco.people.journal import Event, Journal, What
from prefdisco.people.rated import PersonJudge, referee_of
from prefdisco.people.session import CONDITIONS, Participant, Scores
from prefdisco.people.store import Store
from prefdisco.scenarios import load_scenarios
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


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises ConfigError where it is taken or not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError(
            f"host={host} port={port}: cannot listen there: {error.strerror}; choose another port, or 0 for any"
        ) from None
    return bound


def require() -> None:
    """Raise ConfigError, with what to install, where the packages of the page are missing."""
    try:
        import jinja2
        import starlette
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"study: {error.name} is not installed; pip install 'prefdisco[study]'") from None


def run_study(config: StudyConfig) -> None:
    """Serve the study until it is interrupted; then print what there is, and write summary and report."""
    require()
    config.check()
    consent_text(config.consent)
    scenarios = load_scenarios(config.scenarios, config.limit)
    run_dir = config.folder("study")
    with lock(run_dir), listen(config.host, config.port) as bound:
        account = Account(config.remote, spent=spent(run_dir))

        def model(name: str) -> Model:
            return load_model(name, "referee", config.remote, account=account)

        referee = referee_of(config.referee, scenarios, model)
        agent = load_model(config.agent, "agent", config.remote, config.batch_size, account)
        claim(run_dir, config.to_yaml(), config.decisive())
        study = Study(config, scenarios, agent, referee, run_dir)
        serve(study, bound)
        conclude(study)


def serve(study: Study, bound: socket.socket) -> None:
    """Serve the pages on a bound socket until SIGINT."""
    import uvicorn

    from prefdisco.people.pages import app_of

    host, port = study.config.host, bound.getsockname()[1]
    if not study.config.is_local:
        print(
            f"warning: host={host}: other machines can reach this study, unencrypted; put an HTTPS proxy before it",
            file=sys.stderr,
        )
    print(f"study of {study.config.agent}: http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C ends it)")
    sys.stdout.flush()
    # No access log: it would hold network addresses.
    server = uvicorn.Server(
        uvicorn.Config(
            app_of(study), access_log=False, server_header=False, log_level="warning", timeout_graceful_shutdown=3
        )
    )
    try:
        run(server.serve(sockets=[bound]))
    except KeyboardInterrupt:  # how uvicorn passes Ctrl-C on, once it has shut down
        pass


def conclude(study: Study) -> None:
    """Print what the study holds, and write its summary and report if anything was rated."""
    episodes = list(load_episodes(study.run_dir / EPISODES).values())
    print(f"{len(study.participants)} participants, {len(episodes) // len(CONDITIONS)} rated problems")
    if episodes:
        from prefdisco.report.markdown import write_report
        from prefdisco.report.tables import table

        summary = summarize(episodes)
        write_summary(study.run_dir, summary)
        write_report(study.run_dir, f"Study of {study.config.agent}", {"evaluation": summary})
        print(table(summary))
    print(f"\n{study.run_dir}")


def plan(config: StudyConfig) -> str:
    """What --dry-run prints: the configuration, and what would be served where."""
    config.check()
    consent = consent_text(config.consent)
    scenarios = load_scenarios(config.scenarios, config.limit)
    problems, offered = {scenario.problem.id for scenario in scenarios}, offers_of(scenarios)
    attributes = {offer.attribute.name for offers in offered.values() for offer in offers}
    return "\n".join(
        [
            config.to_yaml(),
            f"would serve http://{config.host}:{config.port}/ into {config.folder('study')}",
            f"{len(problems)} problems, {min(config.problems, len(problems))} for each of at most "
            f"{config.participants} people, {len(attributes)} attributes to choose from",
            f"conditions {', '.join(CONDITIONS)}, at most {config.budget} questions, judge: {PERSON}",
            f"consent: {config.consent or 'the default text'}, {len(consent.split())} words, sha256 "
            f"{hashlib.sha256(consent.encode()).hexdigest()[:8]}, begins {consent.splitlines()[0][:60]!r}",
        ]
    )
