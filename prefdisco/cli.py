"""The `prefdisco` command, and the way every script reports an error: one line on standard error, exit code 2.

`friendly` and `configure` are what the scripts in train/ and eval/ share with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from prefdisco import __version__
from prefdisco.complaints import COMMAND_LINE
from prefdisco.config import (
    Config,
    ConfigError,
    ElicitConfig,
    EvaluateConfig,
    ReportConfig,
    ShowConfig,
    help_text,
    load,
    parse_words,
)
from prefdisco.files import RunError
from prefdisco.llm.base import ModelError
from prefdisco.llm.loops import run
from prefdisco.llm.options import RemoteOptions
from prefdisco.records import faults, is_published, read_records
from prefdisco.schema import DataError, Episode, Scenario, read_jsonl

USAGE = """usage: prefdisco COMMAND

  prefdisco evaluate agent=PATH [key=value ...]   play scenarios, grade them, print a table
  prefdisco compare RUN [RUN ...]                 the figures of several runs, and their mean, as a Markdown table
  prefdisco show RUN [RUN ...] [key=value ...]    the same few episodes of several runs, to read, as Markdown
  prefdisco report RUN [RUN ...] [out=DIR]        tables, figures and statistics of runs: Markdown, CSV, LaTeX, SVG
  prefdisco release RUN [key=value ...]           a folder ready to publish: weights, card, results; push=OWNER/NAME
  prefdisco merge FIRST SECOND out=DIR [share=..] a checkpoint between two: the mean of their weights
  prefdisco agree RUN RUN                         how far the judges of two runs agree on the same dialogues
  prefdisco elicit [key=value ...]                question policies on learned beliefs, without a language model
  prefdisco build task=.. model=.. [key=value ..] make scenarios of a task's problems with a language model
  prefdisco chat agent=PATH [key=value ...]       talk with an agent in the terminal, in the user's seat
  prefdisco study agent=PATH [key=value ...]      the same in the browser, with ratings: for participants of a study
  prefdisco people STUDY [RUN] [key=value ...]    people against simulated users and against a judge
  prefdisco validate FILE                         check a file of scenarios, ours or published, or of episodes
  prefdisco --version

`prefdisco COMMAND --help` lists the keys of a command."""

MOST_FAULTS = 100  # printed by validate
EXPECTED_ERRORS = (ConfigError, DataError, ModelError, RunError)
C = TypeVar("C", bound=Config)


@contextmanager
def friendly(name: str = "prefdisco") -> Iterator[None]:
    """Print the errors that a user can cause as `name: error: ...` and exit with 2; all others keep their traceback.

    Works as `with friendly():` and as the decorator `@friendly()`. Ctrl-C exits with 130.
    """
    try:
        yield
    except EXPECTED_ERRORS as error:
        close_bars()
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command continues where it stopped", file=sys.stderr)
        raise SystemExit(130) from None


def close_bars() -> None:
    """End the progress bars that an error left standing, so that its line is a line of its own."""
    if "tqdm" in sys.modules:
        for bar in list(getattr(sys.modules["tqdm"].tqdm, "_instances", ())):
            bar.close()


def configure(model_class: type[C], argv: Sequence[str], usage: str) -> tuple[C, bool]:
    """(the configuration that `argv` describes, whether --dry-run was given). --help prints and exits with 0."""
    words, dry_run, wants_help = parse_words(argv)
    if wants_help:
        print(help_text(model_class, usage))
        raise SystemExit(0)
    return load(model_class, words), dry_run


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(run folders, the words that configure)."""
    folders = [word for word in argv if "=" not in word and not word.startswith("-")]
    return folders, [word for word in argv if word not in folders]


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point of the `prefdisco` command; `argv` defaults to the process's own."""
    command, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    with friendly():
        if command in ("--help", "-h"):
            print(USAGE)
        elif command == "--version":
            print(f"prefdisco {__version__}")
        elif command in COMMANDS:
            COMMANDS[command](arguments)
        else:
            raise ConfigError(f"{COMMAND_LINE}: unknown command {command!r}; commands are {', '.join(COMMANDS)}")
    return 0


def evaluate(argv: Sequence[str], usage: str = "usage: prefdisco evaluate agent=PATH [key=value ...]") -> None:
    """Evaluate an agent as `argv` says; prints the table and the run folder."""
    config, dry_run = configure(EvaluateConfig, argv, usage)
    if dry_run:
        print(config.to_yaml(), end="")
        return
    from prefdisco.evaluate import run_evaluation  # brings torch

    run_evaluation(config)


def compare(argv: Sequence[str]) -> None:
    """Print the figures of several runs side by side, with their mean and its interval."""
    if not argv or argv[0] in ("--help", "-h"):
        print("usage: prefdisco compare RUN [RUN ...]")
        return
    from prefdisco.report.runs import compare as table

    print(table(argv))


def show(argv: Sequence[str]) -> None:
    """Print the same few episodes of several runs under each other."""
    folders, words = split(argv)
    settings, _ = configure(ShowConfig, words, "usage: prefdisco show RUN [RUN ...] [key=value ...]")
    if not folders:
        raise ConfigError(f"{COMMAND_LINE}: expected a run folder: prefdisco show RUN [RUN ...]")
    from prefdisco.report.transcripts import transcripts

    print(transcripts(folders, settings))


def report(argv: Sequence[str]) -> None:
    """Write the report of several runs; prints its folder."""
    folders, words = split(argv)
    settings, dry_run = configure(ReportConfig, words, "usage: prefdisco report RUN [RUN ...] [key=value ...]")
    if not folders:
        raise ConfigError(f"{COMMAND_LINE}: expected a run folder: prefdisco report RUN [RUN ...]")
    if dry_run:
        print(settings.to_yaml(), end="")
        return
    from prefdisco.report.folder import write_reports

    print(write_reports(folders, settings))


def release(argv: Sequence[str]) -> None:
    """Make a finished training run a folder to publish; with push=, upload it."""
    from prefdisco.release.config import ReleaseConfig

    folders, words = split(argv)
    settings, dry_run = configure(ReleaseConfig, words, "usage: prefdisco release RUN [key=value ...] [--dry-run]")
    if len(folders) != 1:
        raise ConfigError(f"{COMMAND_LINE}: expected one run folder: prefdisco release RUN [key=value ...]")
    from prefdisco.release.pipeline import release as publish  # brings torch

    print(publish(Path(folders[0]), settings, dry_run))


def merge(argv: Sequence[str]) -> None:
    """Write the mean of the weights of two checkpoints; prints its folder."""
    from prefdisco.merging import MergeConfig  # brings torch
    from prefdisco.merging import merge as between

    folders, words = split(argv)
    settings, dry_run = configure(MergeConfig, words, "usage: prefdisco merge FIRST SECOND out=FOLDER [share=0.75]")
    if len(folders) != 2:
        raise ConfigError(f"{COMMAND_LINE}: expected two checkpoints: prefdisco merge FIRST SECOND out=FOLDER")
    first, second = folders
    print(settings.to_yaml() if dry_run else between(first, second, settings))


def validate(argv: Sequence[str]) -> None:
    """Read a file of scenarios or episodes to its end and print how many there are, or every fault."""
    if argv and argv[0] in ("--help", "-h"):
        print("usage: prefdisco validate FILE\n\nFILE holds scenarios, ours or published, or the episodes of a run")
        return
    if len(argv) != 1:
        raise ConfigError(f"{COMMAND_LINE}: expected one file: prefdisco validate FILE")
    from prefdisco.validation import episode_faults, is_episodes

    path = Path(argv[0])
    if is_published(path):
        complain(path, faults(path))
        count, what = sum(1 for _ in read_records(path)), "scenarios"
    elif is_episodes(path):
        complain(path, episode_faults(path))
        count, what = sum(1 for _ in read_jsonl(path, Episode)), "episodes"
    else:
        count, what = sum(1 for _ in read_jsonl(path, Scenario)), "scenarios"
    print(f"{path}: {count} {what}")


def complain(path: Path, found: Iterator[str]) -> None:
    """Print the faults of a file; raise DataError with their number where there are any."""
    lines = list(islice(found, MOST_FAULTS + 1))
    if lines:
        print("\n".join(lines[:MOST_FAULTS]))
        more = " at least" if len(lines) > MOST_FAULTS else ""
        raise DataError(f"{path}:{more} {min(len(lines), MOST_FAULTS)} faults")


def agree(argv: Sequence[str]) -> None:
    """Print how far the judges of two evaluations of the same dialogues agree."""
    if len(argv) != 2 or "--help" in argv or "-h" in argv:
        print("usage: prefdisco agree RUN RUN\n\nThe second made with `prefdisco evaluate episodes=RUN judge=...`")
        return
    from prefdisco.agreement import agree as agreement
    from prefdisco.agreement import table
    from prefdisco.evaluate import EPISODES, load_episodes

    first, second = (list(load_episodes(Path(folder) / EPISODES).values()) for folder in argv)
    for folder, episodes in zip(argv, (first, second), strict=True):
        if not episodes:
            raise DataError(f"{folder}: no episodes there")
    print(table(agreement(first, second)))


def elicit(argv: Sequence[str]) -> None:
    """Interview simulated people offline as `argv` says; prints the table and the page it is in."""
    config, dry_run = configure(ElicitConfig, argv, "usage: prefdisco elicit [key=value ...] [--dry-run]")
    if dry_run:
        print(config.to_yaml(), end="")
        return
    from prefdisco.elicitation.offline import run_elicitation

    run_elicitation(config)


def build(argv: Sequence[str]) -> None:
    """Make a benchmark as `argv` says; with --dry-run, say what it would cost."""
    from prefdisco.build.config import BuildConfig

    usage = "usage: prefdisco build task=NAME model=provider/NAME [key=value ...] [--dry-run]"
    config, dry_run = configure(BuildConfig, argv, usage)
    from prefdisco.build.estimate import estimate
    from prefdisco.build.pipeline import build as make
    from prefdisco.llm.models import load_model
    from prefdisco.tasks.loading import load_problems

    model = load_model(config.model, "builder", config.remote)  # first: a model that cannot do it is refused at once
    problems = load_problems(config.task, config.limit, config.seed, config.path)
    if dry_run:
        print(f"{config.to_yaml()}\n{estimate(config, problems).text(price_of(config.model, config.remote))}")
        return
    scenarios = run(make(config, model, problems, config.folder))
    print(f"{len(scenarios)} scenarios\n\n{config.folder}")


def price_of(model: str, options: RemoteOptions) -> Callable[[int, int], float | None]:
    """What so many tokens read and written cost in dollars; None where nobody knows."""
    if model.startswith("server/"):
        return lambda read, written: (read * options.price_in + written * options.price_out) / 1e6
    from prefdisco.llm.providers import Provider

    return Provider(model, options).price


def chat(argv: Sequence[str]) -> None:
    """Talk with an agent in the terminal."""
    from prefdisco.people.config import ChatConfig

    config, dry_run = configure(ChatConfig, argv, "usage: prefdisco chat agent=PATH [key=value ...]")
    if dry_run:
        print(config.to_yaml(), end="")
        return
    from prefdisco.people.chat import run_chat

    run_chat(config)


def study(argv: Sequence[str]) -> None:
    """Serve a study in the browser; with --dry-run, say what would be served."""
    from prefdisco.people.config import StudyConfig

    config, dry_run = configure(StudyConfig, argv, "usage: prefdisco study agent=PATH [key=value ...] [--dry-run]")
    from prefdisco.people.server import plan, run_study

    if dry_run:
        print(plan(config))
        return
    run_study(config)


def people(argv: Sequence[str]) -> None:
    """Compare the people of a study with simulated users, and their ratings with a judge's grades."""
    from prefdisco.people.config import PeopleConfig

    folders, words = split(argv)
    config, _ = configure(PeopleConfig, words, "usage: prefdisco people STUDY [RUN] [key=value ...]")
    if not 1 <= len(folders) <= 2:
        raise ConfigError(f"{COMMAND_LINE}: expected one or two run folders: prefdisco people STUDY [RUN]")
    from prefdisco.people.compare import compare as against

    print(against(config, *folders))


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "evaluate": evaluate,
    "compare": compare,
    "show": show,
    "report": report,
    "release": release,
    "merge": merge,
    "agree": agree,
    "elicit": elicit,
    "build": build,
    "chat": chat,
    "study": study,
    "people": people,
    "validate": validate,
}


if __name__ == "__main__":
    sys.exit(main())
