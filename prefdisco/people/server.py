"""The server of a study: what `prefdisco study` starts, and what it leaves when it is stopped."""

from __future__ import annotations

import hashlib
import socket
import sys
from contextlib import suppress
from importlib.util import find_spec

from prefdisco.config import ConfigError
from prefdisco.evaluate import EPISODES, load_episodes, spent, write_summary
from prefdisco.files import claim, lock
from prefdisco.llm.base import Model
from prefdisco.llm.loops import run
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.metrics import summarize
from prefdisco.people.config import PERSON, StudyConfig
from prefdisco.people.rated import referee_of
from prefdisco.people.session import CONDITIONS
from prefdisco.people.study import Study, consent_text
from prefdisco.scenarios import load_scenarios
from prefdisco.world import offers_of


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the address. Raises ConfigError where it is taken or not ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen()  # who comes while the model is still being loaded waits, instead of being turned away
    except OSError as error:
        raise ConfigError(
            f"host={host} port={port}: cannot listen there: {error.strerror}; choose another port, or 0 for any"
        ) from None
    return bound


def require() -> None:
    """Raise ConfigError, with what to install, where the packages of the page are missing."""
    missing = [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"study: {', '.join(missing)} is not installed; pip install 'prefdisco[study]'")


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
    with suppress(KeyboardInterrupt):  # how uvicorn passes Ctrl-C on, once it has shut down
        run(server.serve(sockets=[bound]))


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
