"""A study served on a free loopback port, by a thread of the test, with an agent that says what it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from prefdisco.judges import load_judge
from prefdisco.llm.base import Completion, Conversation, ModelError, Sampling
from prefdisco.people.config import StudyConfig
from prefdisco.people.pages import app_of
from prefdisco.people.server import listen
from prefdisco.people.study import Study
from prefdisco.protocol import format_final, format_question
from prefdisco.scenarios import load_scenarios
from prefdisco.schema import Usage

QUESTIONS = ("Should the tone be formal, casual or playful?", "Should the answer come first or last?")


class Agent:
    """Asks QUESTIONS under discovery, then answers; `calls` has the messages of every call. It waits for `open`, and
    fails where `broken` says so of the messages."""

    name = "agent"

    def __init__(self, questions: tuple[str, ...] = QUESTIONS, answer: str = "Answer: {n}.") -> None:
        self.questions, self.answer = questions, answer
        self.calls: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()
        self.broken: Callable[[list[str]], bool] = lambda messages: False

    async def complete(self, conversation: Conversation, sampling: Sampling) -> Completion:
        said = [message.content for message in conversation.messages]
        self.calls.append(said)
        while not self.open.is_set():
            await asyncio.sleep(0.02)
        if self.broken(said):
            raise ModelError("agent: out of order")
        asked = sum(message.role == "assistant" for message in conversation.messages)
        discovery = said[0].startswith("Learn what this person prefers")
        if discovery and asked < len(self.questions) and "final answer now" not in said[-1]:
            text = "<think>secret thoughts</think>" + format_question(self.questions[asked])
        else:
            text = "<think>secret thoughts</think>" + format_final(self.answer.format(n=len(said)))
        return Completion(text, "stop", Usage(calls=1))


@contextmanager
def served(run_dir: Path, agent: Any, **settings: Any) -> Iterator[tuple[str, Study]]:
    """(the address, the study) while it is served; a second call with the same folder is a restart."""
    config = StudyConfig(agent="agent", run=str(run_dir), **{"problems": 1, **settings})
    scenarios = load_scenarios("pocket", config.limit)
    run_dir.mkdir(parents=True, exist_ok=True)
    with listen(config.host, 0) as bound:
        study = Study(config, scenarios, agent, load_judge("exact", scenarios), run_dir)
        settings_of_server = uvicorn.Config(app_of(study), access_log=False, log_level="warning")
        server = uvicorn.Server(settings_of_server)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/", study
        finally:
            server.should_exit = True
            thread.join()


class Visitor:
    """Somebody with a browser of their own who does what the pages ask."""

    def __init__(self, context: Any, url: str) -> None:
        context.set_default_timeout(10_000)
        self.page = context.new_page()
        self.page.goto(url)

    def consents(self) -> None:
        self.page.get_by_label("I have read this").check()
        self.page.get_by_role("button", name="Begin").click()

    def states(self, **values: str) -> None:
        """Choose a value of each attribute, by the attribute's name."""
        for name, value in values.items():
            self.page.locator(f"select[name='value:{name}']").select_option(value)
        self.page.get_by_role("button", name="Talk with the assistant").click()

    def is_asked(self, question: str) -> None:
        """Wait for the question."""
        self.page.locator("#question", has_text=question).wait_for()

    def answers(self, text: str) -> None:
        """Type the answer and press Enter, in the field that has the focus."""
        self.page.wait_for_function("document.activeElement.id === 'text'")
        self.page.keyboard.type(text)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def rates(self, score: Callable[[int], int]) -> None:
        """Rate every answer on every preference: the n-th scale gets score(n)."""
        self.page.get_by_role("heading", name="How well does each answer suit you?").wait_for()
        for number, scale in enumerate(self.page.locator("fieldset.scale").all()):
            scale.locator("input").nth(score(number) - 1).check()
        with self.page.expect_navigation():
            self.page.locator("form button.main").click()
