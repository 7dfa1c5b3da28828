"""`prefdisco chat`: one dialogue in the terminal, with a person in the user's seat.

What was chosen and said goes to chat.jsonl before it counts, so the same command goes on with a dialogue that was
interrupted. The episode is an ordinary one, appended to episodes.jsonl.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from pathlib import Path

from prefdisco.conditions import parse_condition, problem_text
from prefdisco.config import ConfigError
from prefdisco.dialogue import play
from prefdisco.evaluate import spent
from prefdisco.files import RunError, claim, lock
from prefdisco.grading import graded
from prefdisco.judges import Judge, load_judge
from prefdisco.llm.base import Model, Sampling
from prefdisco.llm.loops import run
from prefdisco.llm.models import load_model
from prefdisco.llm.remote import Account
from prefdisco.people.config import PERSON, ChatConfig
from prefdisco.people.journal import Journal
from prefdisco.people.rated import PersonJudge, referee_of
from prefdisco.people.seat import Answer, Kept, NothingSaid, Person, Taken, answer_of
from prefdisco.people.stated import MOST, SCALE, Stated, Unstated, check, scenario_of
from prefdisco.people.store import Store
from prefdisco.people.terminal import Left, Terminal
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Episode, Preference, Scenario
from prefdisco.users import STOP, is_pocket
from prefdisco.world import Offer, offers_of, understanding

SHOWN = 5  # scenarios to choose from
HELP = "Answer in your own words. An empty line: no preference. /stop: no more questions."


def run_chat(config: ChatConfig, terminal: Terminal | None = None) -> None:
    """Let a person talk with the agent once; what was said so far is kept whenever they leave."""
    terminal = terminal or Terminal()
    condition = parse_condition(config.condition)
    if condition.swapped:
        raise ConfigError("condition=swapped: somebody else would have to answer; choose another")
    scenarios = load_scenarios(config.scenarios, config.limit)
    if config.judge == "auto":
        config = config.model_copy(update={"judge": "exact" if is_pocket(scenarios) else PERSON})
    judge = load_judge("exact", scenarios) if config.judge == "exact" else None
    run_dir = config.folder("chat")
    with lock(run_dir):
        account = Account(config.remote, spent=spent(run_dir))
        referee = referee_of(
            config.referee, scenarios, lambda name: load_model(name, "referee", config.remote, account=account)
        )
        agent = load_model(config.agent, "agent", config.remote, batch_size=1, account=account)
        claim(run_dir, config.to_yaml(), config.decisive())
        chat = Chat(config, terminal, scenarios, agent, judge, referee, run_dir)
        try:
            run(chat.talk())
        except Left:
            terminal.say("What was said is kept; the same command goes on from here.")
            print(run_dir)


class Chat:
    """One dialogue: chosen, talked through, graded, stored."""

    def __init__(
        self,
        config: ChatConfig,
        terminal: Terminal,
        scenarios: Sequence[Scenario],
        agent: Model,
        judge: Judge | None,
        referee: Judge,
        run_dir: Path,
    ) -> None:
        self.config, self.terminal, self.scenarios, self.agent = config, terminal, scenarios, agent
        self.judge, self.referee, self.run_dir = judge, referee, run_dir
        self.attribute_of = understanding(scenarios)
        self.journal = Journal(run_dir / "chat.jsonl")
        self.id = ""
        self.taken: list[Taken] = []
        self.given: list[Answer] = []

    async def talk(self) -> None:
        """The whole dialogue, from where it stopped."""
        scenario = self._unfinished() or self._begin()
        self._show(scenario)
        episode = await self._play(scenario)
        if episode.error is not None:
            raise RunError(f"the agent failed: {episode.error}; what was said is kept, run the same command again")
        self.terminal.quote("Its answer", episode.response or "(no text)", "cyan")
        if self.config.thinking and episode.thinking:
            self.terminal.quote("It thought", episode.thinking, "dim")
        elif episode.thinking:
            words = len(episode.thinking.split())
            self.terminal.say(f"({words} words of thinking are folded; thinking=true shows them)", "dim")
        judge = self.judge or PersonJudge(self._rate(scenario), self.referee)
        done = await graded(episode, scenario, judge)
        if done.error is not None:
            raise RunError(f"the answer could not be graded: {done.error}; run the same command again")
        Store(self.run_dir).add(scenario, [done])
        self.journal.write(self.id, "played")
        self._verdict(scenario, done)

    def _unfinished(self) -> Scenario | None:
        """The scenario of the dialogue that the last run did not end, unless another one is asked for."""
        found: Scenario | None = None
        for event in self.journal:
            match event.what:
                case "stated":
                    found, self.id = Scenario.model_validate(event.data), event.participant
                    self.taken, self.given = [], []
                case "turn":
                    self.taken.append(Taken.model_validate(event.data))
                case "answered":
                    self.given.append(Answer.model_validate(event.data))
                case "played":
                    found = None
        if found is not None and self.config.scenario in ("", found.id):
            self.terminal.say("Going on with the dialogue that was interrupted.", "dim")
            return found
        self.taken, self.given = [], []
        return None

    def _begin(self) -> Scenario:
        """A new dialogue, which the person chooses."""
        chosen = self._choose()
        self.id = f"c{secrets.token_hex(6)}"
        if self.config.role == "self":
            chosen = self._state(chosen)
        else:
            # Each chat is a dialogue of its own: the same scenario can be played again.
            chosen = chosen.model_copy(update={"id": f"{chosen.id}/{self.id}"})
        self.journal.write(self.id, "stated", data=chosen.model_dump(mode="json"))
        return chosen

    def _choose(self) -> Scenario:
        """The scenario called for, or one of a few."""
        if self.config.scenario:
            found = next((each for each in self.scenarios if each.id == self.config.scenario), None)
            if found is None:
                raise ConfigError(
                    f"scenario={self.config.scenario}: not among the first {len(self.scenarios)} of "
                    f"{self.config.scenarios}; raise limit, or leave it out to choose one"
                )
            return found
        by_problem = {scenario.problem.id: scenario for scenario in self.scenarios}
        few = random.Random(self.config.seed).sample(list(by_problem.values()), min(SHOWN, len(by_problem)))
        for number, scenario in enumerate(few, 1):
            self.terminal.quote(f"{number}  {scenario.problem.domain}", problem_text(scenario.problem))

        def read(text: str) -> Scenario:
            if text and not (text.isdecimal() and 1 <= int(text) <= len(few)):
                raise ValueError(f"A number from 1 to {len(few)}, please.")
            return few[int(text or 1) - 1]

        return self.terminal.ask(f"Which problem? [1-{len(few)}, default 1]", read)

    def _state(self, scenario: Scenario) -> Scenario:
        """The scenario of the person's own preferences on this problem."""
        offers = offers_of(self.scenarios)[scenario.problem.id]
        self.terminal.quote("The problem", problem_text(scenario.problem))
        self.terminal.rows([[o.attribute.name, " | ".join(o.labels), o.attribute.description] for o in offers])
        self.terminal.say(
            "What matters to you in the answer? One a line: NAME VALUE IMPORTANCE(1-5), such as "
            f"`{offers[0].attribute.name} {next(iter(offers[0].labels))} 4`. An empty line ends. The agent does not "
            "see it."
        )
        stated: dict[str, Stated] = {}
        while True:
            try:
                words = self.terminal.line(f"[{len(stated)} of at most {MOST}]")
                if not words:
                    return scenario_of(scenario.problem, self.id, stated, offers)
                name, preference = preference_of(words, offers)
                check({**stated, name: preference}, offers)
                stated[name] = preference
            except Unstated as error:
                self.terminal.say(str(error), "yellow")

    def _show(self, scenario: Scenario) -> None:
        """What the person has to know."""
        self.terminal.quote("The problem", problem_text(scenario.problem), "cyan")
        if scenario.persona.type != PERSON:
            self.terminal.quote("You are", scenario.persona.description)
        self.terminal.say("What matters to you, and how much (the agent does not see this):")
        self.terminal.rows([wanted(preference) for preference in scenario.profile])
        self.terminal.say(f"\n{HELP}", "dim")

    async def _play(self, scenario: Scenario) -> Episode:
        """The dialogue; turns and answers that there are already are not asked for again."""
        exchanged = len(self.given)

        def keep(turn: Taken) -> None:
            self.journal.write(self.id, "turn", data=turn.model_dump(mode="json"))

        async def ask(question: str) -> Answer:
            self.terminal.quote("\nThe agent asks", question, "cyan")
            answer = self.terminal.ask(">", lambda text: self._answer(text, question, scenario))
            self.journal.write(self.id, "answered", data=answer.model_dump())
            return answer

        if exchanged:
            self.terminal.say(f"({exchanged} of its questions have your answer already)", "dim")
        config = self.config
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        agent, user = Kept(self.agent, self.taken, keep), Person(self.given, ask)
        return await play(
            scenario, parse_condition(config.condition), agent, user, sampling, config.seed, config.budget
        )

    def _answer(self, text: str, question: str, scenario: Scenario) -> Answer:
        """What was typed, with the preference that it tells by the person's own account."""
        if text == "/stop":
            return Answer(text=STOP)
        if not text:
            return Answer(text="No preference.")
        try:
            answer = answer_of(text, None, scenario)
        except NothingSaid:
            raise ValueError("In words, please.") from None
        names = [preference.attribute for preference in scenario.profile]
        about = self.attribute_of(question)
        guess = names.index(about) + 1 if about in names else 0

        def read(said: str) -> str | None:
            if said and not (said.isdecimal() and int(said) <= len(names)):
                raise ValueError(f"A number from 0 to {len(names)}, please.")
            number = int(said) if said else guess
            return names[number - 1] if number else None

        listed = ", ".join(f"{number} {plain_name(name)}" for number, name in enumerate(names, 1))
        told = self.terminal.ask(f"  Which preference does that tell? 0 none, {listed} [{guess}]", read)
        return answer.model_copy(update={"revealed": told})

    def _rate(self, scenario: Scenario) -> dict[str, int]:
        """The person's ratings of the answer."""
        self.terminal.say("How well does it suit you? 1 the opposite, 3 neither, 5 fully.")

        def read(text: str) -> int:
            if not (text.isdecimal() and int(text) in SCALE):
                raise ValueError("A number from 1 to 5, please.")
            return int(text)

        return {
            preference.attribute: self.terminal.ask(f"  {plain_name(preference.attribute)}: {preference.value}", read)
            for preference in scenario.profile
        }

    def _verdict(self, scenario: Scenario, episode: Episode) -> None:
        """Whether it was right, and how well it suits."""
        right = "right" if episode.correct else f"wrong: {scenario.problem.answer} is right"
        self.terminal.say(f"\nThe answer is {right}.", "green" if episode.correct else "red")
        self.terminal.rows(
            [[*wanted(p), f"{g.score} of 5"] for p, g in zip(scenario.profile, episode.grades, strict=True)]
        )
        self.terminal.say(f"It suits you {episode.graded_alignment:.2f} of 5.")
        print(f"\n{self.run_dir}")


def preference_of(words: str, offers: Sequence[Offer]) -> tuple[str, Stated]:
    """A line such as `tone formal 4`. Raises Unstated."""
    parts = words.replace("=", " ").split()
    importance = int(parts.pop()) if len(parts) > 2 and parts[-1].isdecimal() else 3
    name, value = parts[0], " ".join(parts[1:])
    offer = next((offer for offer in offers if offer.attribute.name == name), None)
    if offer is None:
        raise Unstated(f"There is no {name!r} above.")
    if value not in offer.labels:
        raise Unstated(f"{name}: choose one of {', '.join(offer.labels)}.")
    if importance not in SCALE:
        raise Unstated("The importance is a number from 1 to 5.")
    return name, Stated(value, importance)


def wanted(preference: Preference) -> list[str]:
    """A preference as a row: name, value, weight."""
    return [plain_name(preference.attribute), plain_name(preference.value), f"{100 * preference.weight:.0f}%"]


def plain_name(name: str) -> str:
    """A name in words."""
    return name.replace("_", " ")
