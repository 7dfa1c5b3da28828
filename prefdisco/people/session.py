"""One participant's way through the study: every step is an event of the journal, and the state is made of the events.

A step is written, then it counts. So the same code runs when a step is taken and when a session is restored.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from prefdisco.llm.base import Model
from prefdisco.llm.limits import SpendingCapReached
from prefdisco.people.journal import Event, What
from prefdisco.people.seat import Answer, Kept, Person, Taken, answer_of
from prefdisco.people.stated import SCALE, Stated, scenario_of
from prefdisco.protocol import parse_turn, split_thinking
from prefdisco.schema import Episode, Problem, Scenario
from prefdisco.users import User
from prefdisco.world import Offer

Phase = Literal["state", "talk", "rate", "done"]
DISCOVERY = "discovery"
CONDITIONS = ("baseline", DISCOVERY, "oracle")
LABELS = "ABC"
Scores = Mapping[str, Mapping[str, int]]  # condition -> attribute -> 1..5


class Stage(Protocol):
    """What a session needs of the study around it."""

    @property
    def agent(self) -> Model: ...

    def problem(self, id: str) -> Problem:
        """The problem with this id."""
        ...

    def offers(self, problem: str) -> list[Offer]:
        """What can be preferred about a problem."""
        ...

    def order(self, participant: str, problem: str) -> list[str]:
        """The conditions in the order in which their answers are shown."""
        ...

    def write(
        self, participant: str, what: What, problem: str = "", condition: str = "", data: dict[str, Any] | None = None
    ) -> Event:
        """Write an event to the journal."""
        ...

    async def play(self, scenario: Scenario, condition: str, agent: Model, user: User) -> Episode:
        """Play a condition, as the study is configured."""
        ...

    async def record(self, scenario: Scenario, episodes: Sequence[Episode], scores: Scores) -> None:
        """Grade the episodes as they were rated and store them, unless they are stored."""
        ...


class Stale(ValueError):
    """A step that belongs to a page which is no longer the current one."""


@dataclass
class Part:
    """One condition of one problem: the turns so far, and what became of them."""

    condition: str
    taken: list[Taken] = field(default_factory=list)
    given: list[Answer] = field(default_factory=list)
    question: str | None = None  # what the person is asked now
    episode: Episode | None = None
    failed: bool = False
    task: asyncio.Task[None] | None = None
    waiting: asyncio.Future[Answer] | None = None

    @property
    def exchanges(self) -> list[tuple[str, Answer]]:
        """The questions that have their answer, with it."""
        turns = (parse_turn(split_thinking(turn.text).visible) for turn in self.taken)
        questions = [turn.text for turn in turns if turn.kind == "question"]
        return list(zip(questions, self.given, strict=False))


class Visit:
    """One problem of one participant: stated, talked about, rated."""

    def __init__(self, problem: Problem, offers: list[Offer], order: list[str]) -> None:
        self.problem, self.offers, self.order = problem, offers, order
        self.scenario: Scenario | None = None
        self.parts = {condition: Part(condition) for condition in CONDITIONS}
        self.scores: Scores | None = None

    @property
    def talk(self) -> Part:
        """The part in which the person has a say."""
        return self.parts[DISCOVERY]

    @property
    def phase(self) -> Phase:
        """Where the person is with this problem."""
        if self.scenario is None:
            return "state"
        if self.scores is not None:
            return "done"
        return "talk" if self.talk.episode is None else "rate"

    @property
    def ready(self) -> bool:
        """Whether there is an answer of every condition to rate."""
        return all(part.episode is not None for part in self.parts.values())

    @property
    def needed(self) -> list[Part]:
        """The parts that the person is waiting for now."""
        return [self.talk] if self.phase == "talk" else list(self.parts.values())

    @property
    def failed(self) -> bool:
        """Whether what the person is waiting for has failed."""
        return any(part.failed for part in self.needed)

    def apply(self, event: Event) -> None:
        """Let an event count."""
        part = self.parts.get(event.condition)
        match event.what:
            case "stated":
                stated = {name: Stated(*pair) for name, pair in event.data["preferences"].items()}
                remark = event.data.get("remark", "")
                self.scenario = scenario_of(self.problem, event.participant, stated, self.offers, remark)
            case "rated":
                self.scores = event.data["scores"]
            case "turn" if part:
                part.taken.append(Taken.model_validate(event.data))
            case "answered" if part:
                part.given.append(Answer.model_validate(event.data))
            case "failed" if part:
                part.failed = True
            case "retried" if part:
                part.failed = False
            case "played" if part:
                part.episode = Episode.model_validate(event.data)


class Participant:
    """A session. `visits` are its problems in order."""

    def __init__(self, stage: Stage, consented: Event) -> None:
        self.stage, self.id = stage, consented.participant
        self.recording = asyncio.Lock()
        self.visits = {
            problem: Visit(stage.problem(problem), stage.offers(problem), stage.order(self.id, problem))
            for problem in consented.data["problems"]
        }

    @property
    def visit(self) -> Visit | None:
        """The problem that is on, None when all are done."""
        return next((visit for visit in self.visits.values() if visit.phase != "done"), None)

    @property
    def number(self) -> int:
        """Which problem is on, from 1."""
        return 1 + sum(visit.phase == "done" for visit in self.visits.values())

    @property
    def place(self) -> str:
        """Where the participant is, in a word: another one whenever the page would look different."""
        visit = self.visit
        if visit is None:
            return "done"
        asked = "failed" if visit.failed else "asked" if visit.talk.question is not None else "waiting"
        ready = "ready" if visit.ready else asked
        return f"{self.number}-{visit.phase}-{len(visit.talk.given)}-{ready if visit.phase == 'rate' else asked}"

    def apply(self, event: Event) -> None:
        """Let an event of this participant count."""
        if visit := self.visits.get(event.problem):
            visit.apply(event)

    def happen(self, what: What, visit: Visit, condition: str = "", data: dict[str, Any] | None = None) -> None:
        """Write an event, then let it count."""
        self.apply(self.stage.write(self.id, what, visit.problem.id, condition, data))

    def current(self, problem: str, phase: Phase) -> Visit:
        """The visit that a form was made for. Raises Stale where the session is elsewhere by now."""
        visit = self.visit
        if visit is None or visit.problem.id != problem or visit.phase != phase:
            raise Stale
        return visit

    def state(self, problem: str, stated: Mapping[str, Stated], remark: str) -> None:
        """Note what matters to the person. Raises Unstated, Stale."""
        visit = self.current(problem, "state")
        made = scenario_of(visit.problem, self.id, stated, visit.offers, remark)
        preferences = {name: [value, importance] for name, (value, importance) in stated.items()}
        self.happen("stated", visit, data={"preferences": preferences, "remark": made.persona.background})
        self.wake()

    def answer(self, problem: str, number: int, text: str, revealed: str | None, stop: bool = False) -> None:
        """Answer the question that is on. Raises NothingSaid, and Stale for one that has its answer already."""
        visit = self.current(problem, "talk")
        talk = visit.talk
        if talk.waiting is None or visit.scenario is None or number != len(talk.given):
            raise Stale
        answer = answer_of(text, revealed, visit.scenario, stop)
        self.happen("answered", visit, DISCOVERY, answer.model_dump())
        talk.waiting.set_result(answer)
        talk.question = talk.waiting = None

    def retry(self, problem: str) -> None:
        """Ask the agent again where it failed. Raises Stale."""
        visit = self.visit
        if visit is None or visit.problem.id != problem:
            raise Stale
        for part in visit.parts.values():
            if part.failed:
                self.happen("retried", visit, part.condition)
        self.wake()

    async def rate(self, problem: str, scores: Scores) -> None:
        """Take the ratings of all answers, by condition, and record the episodes. Raises ValueError, Stale."""
        visit = self.current(problem, "rate")
        if not visit.ready or visit.scenario is None:
            raise Stale
        wanted = {preference.attribute for preference in visit.scenario.profile}
        for condition in CONDITIONS:
            given = scores.get(condition, {})
            if given.keys() != wanted or not set(given.values()) <= set(SCALE):
                raise ValueError("Please rate every answer on every preference.")
        whole = {condition: dict(scores[condition]) for condition in CONDITIONS}
        self.happen("rated", visit, data={"order": visit.order, "scores": whole})
        await self.settle()

    async def settle(self) -> None:
        """Record the episodes of every problem that is rated, if they are not recorded yet."""
        async with self.recording:
            for visit in self.visits.values():
                played = [part.episode for part in visit.parts.values() if part.episode is not None]
                if visit.scenario is not None and visit.scores is not None:
                    await self.stage.record(visit.scenario, played, visit.scores)

    def wake(self) -> None:
        """Let the dialogues of the problem that is on go on, those that stopped with the server included."""
        visit = self.visit
        if visit is None or visit.scenario is None:
            return
        for part in visit.parts.values():
            if part.episode is None and not part.failed and (part.task is None or part.task.done()):
                part.task = asyncio.create_task(self._play(visit, visit.scenario, part))

    async def _play(self, visit: Visit, scenario: Scenario, part: Part) -> None:
        """Play one condition to its end, from where it stopped."""
        part.question = part.waiting = None

        def keep(turn: Taken) -> None:
            self.happen("turn", visit, part.condition, turn.model_dump(mode="json"))

        async def ask(question: str) -> Answer:
            part.waiting = asyncio.get_running_loop().create_future()
            part.question = question
            return await part.waiting

        try:
            agent, user = Kept(self.stage.agent, part.taken, keep), Person(part.given, ask)
            episode = await self.stage.play(scenario, part.condition, agent, user)
            if episode.error is None:
                self.happen("played", visit, part.condition, episode.model_dump(mode="json"))
            else:
                self._failed(visit, part, episode.error)
        except SpendingCapReached as error:
            self._failed(visit, part, str(error))
        except Exception:  # the page says so and offers to try again; why, is for whoever runs the study
            traceback.print_exc(file=sys.stderr)
            part.failed = True

    def _failed(self, visit: Visit, part: Part, error: str) -> None:
        print(f"study: {self.id}, {visit.problem.id}, {part.condition}: {error}", file=sys.stderr)
        self.happen("failed", visit, part.condition, {"error": error})
