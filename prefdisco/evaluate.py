"""Evaluation: all scenarios under all conditions with all seeds, at once, into one append-only file that a rerun
continues.

A run folder holds `episodes.jsonl`, one line an episode as it ends, and `summary.json`, written last. An episode that
failed is an error: counted, listed, and played again by the next run of the same command; its later line replaces the
earlier one.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from prefdisco.adaptivity import measure_adaptivity
from prefdisco.carried import Told, revealed_before
from prefdisco.conditions import SWAPPED, Condition, parse_condition
from prefdisco.config import ConfigError, EvaluateConfig
from prefdisco.dialogue import describe, play
from prefdisco.files import RunError, append_line, atomic_write, claim, lock, read_complete_lines
from prefdisco.grading import UNGRADED, for_persona, graded
from prefdisco.hashing import digest
from prefdisco.judges import Judge, load_judge
from prefdisco.llm.base import Identified, Model, Sampling
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.llm.loops import run, side_by_side
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.llm.scripted import ScriptedModel
from prefdisco.measures import Unit
from prefdisco.metrics import Ceiling, summarize
from prefdisco.scenarios import by_problem, ceiling_of, load_scenarios
from prefdisco.schema import DataError, Episode, Scenario, Usage, parse_line, to_json
from prefdisco.users import Shuffled, TransparentUser, User, load_user

EPISODES, SUMMARY, AGENT = "episodes.jsonl", "summary.json", "agent.json"
# What a dialogue that is graded anew starts from: what it cost to play was paid by the run that played it.
UNPAID = {"usage": Usage(), "user_usage": Usage(), "judge_usage": Usage()}
# what may differ when a run folder is continued
GROWS = ("conditions", "seeds", "limit", "batch_size", "run", "remote")
Key = tuple[str, str, int]


def run_evaluation(config: EvaluateConfig) -> dict[str, Any]:
    """`evaluate`, then print the table and the run folder."""
    from prefdisco.report.tables import table

    summary = evaluate(config)
    print(f"{table(summary)}\n\n{run_folder(config)}")
    return summary


def evaluate(config: EvaluateConfig, wait: bool = False) -> dict[str, Any]:
    """Evaluate as configured: episodes, summary and report in the run folder; returns the summary.

    The run folder (by default named after the agent and the settings) continues where an earlier run of the same
    settings stopped; more conditions, seeds or scenarios may be added. With `wait`, another process that uses it
    may finish first. Raises ConfigError, DataError, ModelError or RunError, each of one line.
    """
    parsed = [parse_condition(name) for name in config.conditions]
    scenarios = load_scenarios(config.scenarios, config.limit)
    run_dir = run_folder(config)
    with lock(run_dir, wait):
        from prefdisco.report.markdown import write_report

        account = Account(config.remote, spent=spent(run_dir))

        def model(role: str, name: str) -> Model:
            return load_model(name, role, config.remote, config.batch_size, account, config.dtype)

        user = load_user(config.user, scenarios, partial(model, "user"), config.variant)
        judge = load_judge(config.judge, scenarios, partial(model, "judge"), config.judge_mode)
        dialogues = dialogues_of(config) if config.episodes else None
        carried = carried_by(config, scenarios) if dialogues is None else None
        if dialogues is None:
            check_carried(parsed, carried)
        agent = ScriptedModel((), name=config.agent) if config.episodes else model("agent", config.agent)
        claim(run_dir, config.to_yaml(), decisive(config))  # not before the agent is there
        identify(run_dir, identity_in(config.episodes) if config.episodes else identity_of(agent))
        best = ceiling_of(scenarios, config.budget)
        episodes = run(
            evaluate_scenarios(
                scenarios,
                agent,
                user,
                judge,
                config.conditions,
                config.seeds,
                Sampling(temperature=config.temperature, max_tokens=config.max_tokens),
                config.budget,
                run_dir,
                thinking=config.thinking,
                adaptivity=config.adaptivity,
                ceiling=best,
                dialogues=dialogues,
                account=account,
                carried=carried,
            )
        )
        failed = [episode for episode in episodes if episode.error is not None]
        if len(failed) == len(episodes):
            raise RunError(f"{run_dir}: all {len(failed)} episodes failed, the first with: {failed[0].error}")
        summary = summarize(episodes, best)
        write_report(run_dir, f"Evaluation of {config.agent}", {"evaluation": summary})
    return summary


async def evaluate_scenarios(
    scenarios: Sequence[Scenario],
    agent: Model,
    user: User,
    judge: Judge,
    conditions: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    budget: int = 5,
    run_dir: str | Path | None = None,
    progress: bool = True,
    thinking: bool = True,
    adaptivity: bool = False,
    ceiling: Ceiling | None = None,
    dialogues: Mapping[Key, Episode] | None = None,
    account: Account | None = None,
    carried: Mapping[Unit, Told] | None = None,
) -> list[Episode]:
    """Play and grade every (scenario, condition, seed), all concurrently; the agent's own batching sets the pace.

    Returns one episode each, ordered by condition, seed, scenario; errors are among them, ungraded. With `run_dir`,
    episodes found there are not played again, new ones are appended as they end, without their token ids, and
    `summary.json` is written at the end (`ceiling` goes into it). `adaptivity` plays the extra pass of adaptivity.py
    under discovery, where the user allows it. With `dialogues`, played episodes are graded anew and none is played.
    Who answers for whom under `swapped` depends on the whole set of scenarios: its episodes note it, and those whose
    person has another partner by now are played again.
    `carried` is what conditions that carry tell; an episode that was told something else is played again.
    `account` is that of the remote models among the three: its cost is shown.

    It is safe to interrupt at any point. Raises DataError for scenarios or problems that share an id, and for
    dialogues that are not there, ConfigError for an unknown condition, `swapped` with one person or nothing to carry,
    RunError for a folder that cannot be written or a spending cap reached.
    """
    parsed = list({condition.name: condition for condition in map(parse_condition, conditions)}.values())
    twice = [name for name, count in Counter(scenario.id for scenario in scenarios).items() if count > 1]
    if twice:
        raise DataError(f"scenarios: {len(twice)} ids occur more than once, such as {twice[0]!r}")
    problems = by_problem(scenarios)
    path = Path(run_dir) / EPISODES if run_dir is not None else None
    done = {key: episode for key, episode in load_episodes(path).items() if episode.error is None} if path else {}
    stranger = Shuffled(user, scenarios) if dialogues is None and any(each.swapped for each in parsed) else None
    if stranger is not None:
        partner = {scenario_id: other.id for scenario_id, other in stranger.partner.items()}
        done = {k: e for k, e in done.items() if e.condition != SWAPPED or e.answered_by == partner.get(e.scenario_id)}
    if dialogues is None:
        check_carried(parsed, carried)
    if carried is not None:
        told = {unit: dict(each) for unit, each in carried.items()}
        carrying = {each.name for each in parsed if each.carries}
        done = {k: e for k, e in done.items() if e.condition not in carrying or e.carried == told.get((k[0], k[2]))}
    wanted = [(scenario.id, condition.name, seed) for condition in parsed for seed in seeds for scenario in scenarios]
    lacking = [key for key in wanted if key not in dialogues] if dialogues is not None else []
    if lacking:
        raise DataError(f"episodes: {len(lacking)} of {len(wanted)} dialogues are not there, such as {lacking[0]}")
    pace = 0.2 if sys.stderr.isatty() else 30  # seconds between two lines of a log
    finished = sum(key in done for key in wanted)
    with tqdm(
        total=len(wanted), initial=finished, desc="episodes", disable=not progress, delay=3, mininterval=pace
    ) as bar:
        evaluation = _Evaluation(
            agent,
            user,
            stranger,
            judge,
            sampling,
            budget,
            thinking,
            adaptivity,
            path,
            done,
            bar,
            dialogues,
            account,
            carried or {},
        )
        groups = [
            (condition, seed, group)
            for condition in parsed
            for seed in seeds
            for group in (problems if condition.shared else [[scenario] for scenario in scenarios])
        ]
        await side_by_side(evaluation.run(condition, seed, group) for condition, seed, group in groups)
    if evaluation.capped:
        there = sum(key in evaluation.episodes for key in wanted)
        raise RunError(
            f"{evaluation.capped}; {there} of {len(wanted)} episodes are done and kept: raise remote.max_usd and "
            "repeat the command"
        )
    episodes = [evaluation.episodes[key] for key in wanted]
    if run_dir is not None:
        write_summary(run_dir, summarize(episodes, ceiling))
    return episodes


def spent(run_dir: str | Path) -> float:
    """Dollars that the episodes of a run folder have cost so far, all roles together, failed attempts included."""
    found = read_episodes(Path(run_dir) / EPISODES)
    return sum(usage.usd for e in found for usage in (e.usage, e.user_usage, e.judge_usage))


def dialogues_of(config: EvaluateConfig) -> dict[Key, Episode]:
    """The played episodes that `config.episodes` names. Raises ConfigError for a folder of another agent or without."""
    folder = Path(config.episodes or "")
    try:
        agent = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["agent"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise ConfigError(f"episodes={folder}: not the run folder of an evaluation") from None
    if agent != config.agent:
        raise ConfigError(f"episodes={folder}: those dialogues are of agent={agent}, not of agent={config.agent}")
    played = load_episodes(folder / EPISODES)
    return {key: e for key, e in played.items() if e.error is None or e.error.startswith("judge:")}


def carried_by(config: EvaluateConfig, scenarios: Sequence[Scenario]) -> dict[Unit, Told] | None:
    """What the run that `config.carried` names revealed of the people of these scenarios; None where it names none.

    Raises ConfigError for a folder without episodes, DataError for people of whom it has not exactly one dialogue.
    """
    if config.carried is None:
        return None
    episodes = load_episodes(Path(config.carried) / EPISODES)
    if not episodes:
        raise ConfigError(f"carried={config.carried}: not the run folder of an evaluation")
    return revealed_before(episodes.values(), scenarios, config.seeds, f"carried={config.carried}")


def check_carried(conditions: Sequence[Condition], carried: Mapping[Unit, Told] | None) -> None:
    """Raise ConfigError where a condition tells what was found before, and nothing is there to tell."""
    for condition in conditions:
        if condition.carries and carried is None:
            raise ConfigError(
                f"conditions: {condition.name} tells what an earlier problem revealed; name its run with carried=RUN"
            )


def identity_of(agent: Model) -> dict[str, str] | None:
    """Hashes of the agent's weights and tokenizer; None where they are not on this machine."""
    return agent.identity() if isinstance(agent, Identified) else None


def identity_in(run_dir: str | Path) -> dict[str, str] | None:
    """Whose episodes a run folder holds, as `identify` noted it; None where it did not."""
    path = Path(run_dir) / AGENT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def identify(run_dir: str | Path, identity: Mapping[str, str] | None) -> None:
    """Note in `agent.json` whose episodes a run folder holds, before the first is there.

    Raises RunError where they are of other weights, or another tokenizer, than the agent has now. A folder whose
    episodes came without the note, from an earlier version, stays without: nobody knows.
    """
    noted = identity_in(run_dir)
    if identity is None or noted == identity:
        return
    if not load_episodes(Path(run_dir) / EPISODES):
        atomic_write(Path(run_dir) / AGENT, json.dumps(identity, indent=2) + "\n")
    elif noted is not None:
        changed = next(part for part in identity if noted.get(part) != identity[part])
        raise RunError(
            f"{run_dir}: the agent's {changed} changed since these episodes were played; remove the folder to play "
            "them again, or choose run=OTHER"
        )


def load_episodes(path: str | Path) -> dict[Key, Episode]:
    """The episodes of an `episodes.jsonl` by key, the last line of each; none where there is no file. DataError."""
    return {episode.key: episode for episode in read_episodes(path)}


def read_episodes(path: str | Path) -> Iterator[Episode]:
    """Every line of an `episodes.jsonl`, those that a later one replaces included. Raises DataError."""
    for number, line in enumerate(read_complete_lines(path), 1):
        yield parse_line(line, Episode, f"{path}:{number}")


def write_summary(run_dir: str | Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`, whole or not at all."""
    atomic_write(Path(run_dir) / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")


@dataclass
class _Evaluation:
    """What the concurrent episodes of one evaluation share. `episodes` grows as they end."""

    agent: Model
    user: User
    stranger: Shuffled | None  # who answers under `swapped`
    judge: Judge
    sampling: Sampling
    budget: int
    thinking: bool
    adaptivity: bool
    path: Path | None
    episodes: dict[Key, Episode]
    bar: tqdm[Any]
    dialogues: Mapping[Key, Episode] | None = None
    account: Account | None = None
    carried: Mapping[Unit, Told] = field(default_factory=dict)  # of earlier problems, by (scenario id, seed)
    capped: str = ""  # what the spending cap said when it stopped a call
    errors: int = 0

    async def run(self, condition: Condition, seed: int, group: Sequence[Scenario]) -> None:
        """Play once for one scenario, or for all personas of a problem; grade and record those that are missing."""
        missing = [scenario for scenario in group if (scenario.id, condition.name, seed) not in self.episodes]
        if not missing:
            return
        try:
            await self.complete(condition, seed, group, missing)
        except SpendingCapReached as error:  # nothing is recorded: the next run plays it
            self.capped = str(error)

    async def complete(
        self, condition: Condition, seed: int, group: Sequence[Scenario], missing: Sequence[Scenario]
    ) -> None:
        """Play once what is missing, unless it is there to be graded anew; grade it for each persona."""
        if self.dialogues is not None:
            anew = {"error": None, **UNGRADED, **UNPAID}
            again = {scenario.id: self.dialogues[scenario.id, condition.name, seed] for scenario in missing}
            await side_by_side(self.grade(again[scenario.id].model_copy(update=anew), scenario) for scenario in missing)
            return
        kept = [self.episodes.get((scenario.id, condition.name, seed)) for scenario in group]
        played = next((episode for episode in kept if episode), None) or await self.play(missing[0], condition, seed)
        await side_by_side(self.grade(played, scenario) for scenario in missing)

    async def play(self, scenario: Scenario, condition: Condition, seed: int) -> Episode:
        if condition.carries:
            condition = replace(condition, carried=self.carried[scenario.id, seed])
        user = self.stranger if condition.swapped and self.stranger is not None else self.user
        episode = await play(scenario, condition, self.agent, user, self.sampling, seed, self.budget, self.thinking)
        if isinstance(user, Shuffled):
            return episode.model_copy(update={"answered_by": user.partner[scenario.id].id})
        measurable = self.adaptivity and condition.name == "discovery" and episode.error is None
        if not measurable or not isinstance(self.user, TransparentUser):
            return episode
        try:
            return await measure_adaptivity(
                episode, scenario, condition, self.agent, self.user, self.sampling, self.thinking
            )
        except Exception as error:  # as in play: recorded, and tried again by the next run
            return episode.model_copy(update={"error": f"adaptivity: {describe(error)}"})

    async def grade(self, played: Episode, scenario: Scenario) -> None:
        """Grade what was played for this scenario's persona, and record it."""
        episode = await graded(for_persona(played, scenario), scenario, self.judge)
        if self.path is not None:
            append_line(self.path, episode.model_copy(update={"tokens": None}).model_dump_json())
        self.episodes[episode.key] = episode
        self.errors += episode.error is not None
        if self.errors or self.account:
            usd = sum(usage.usd for usage in self.account.usage.values()) if self.account else 0.0
            self.bar.set_postfix_str(f"{self.errors} errors" + (f", ${usd:.2f}" if usd else ""), refresh=False)
        self.bar.update()


def run_folder(config: EvaluateConfig) -> Path:
    """`config.run`, or runs/evaluate-AGENT-HASH with a hash of the settings that decide what an episode is."""
    if config.run:
        return Path(config.run)
    name = re.sub(r"[^\w.-]+", "-", Path(config.agent).name).strip("-")
    return Path("runs") / f"evaluate-{name}-{digest(to_json(decisive(config)), length=6)}"


def decisive(config: EvaluateConfig) -> dict[str, Any]:
    """What decides an episode. A key that is not used is left out, so that run folders keep their names."""
    unused = () if config.carried is not None else ("carried",)
    return config.model_dump(mode="json", exclude={*GROWS, *unused})
