"""What the study's server refuses, and where it listens."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from prefdisco.cli import main
from prefdisco.config import ConfigError
from prefdisco.people import server as server_module
from prefdisco.people.rated import referee_of
from prefdisco.schema import Episode, read_jsonl
from tests.hand_made import scenario
from tests.served_study import Agent, served

ROOT = Path(__file__).parent.parent


class Browserless:
    """A client that keeps one cookie and knows the form's token of the last page."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc
        self.cookie = self.token = self.body = ""

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        sent = {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded", **headers}
        body = None if form is None else urlencode({"csrf": self.token, **form})
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        self.body = response.read().decode()
        if cookie := response.getheader("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        if token := re.search(r'name="csrf" value="(\w+)"', self.body):
            self.token = token[1]
        connection.close()
        return response

    def consents(self) -> None:
        self.ask("GET", "/")
        assert self.ask("POST", "/consent", {"agree": "yes"}).status == 303
        self.ask("GET", "/")


def test_nobody_takes_part_without_consent(tmp_path: Path) -> None:
    with served(tmp_path, Agent()) as (url, study):
        client = Browserless(url)
        first = client.ask("GET", "/")
        cookie = first.getheader("Set-Cookie") or ""
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert client.ask("POST", "/consent", {}).status == 422
        assert client.ask("POST", "/preferences", {"value:tone": "formal"}).status == 403
        assert client.ask("POST", "/answer", {"text": "hello"}).status == 403
        assert not study.participants and not (tmp_path / "study.jsonl").exists()
        client.consents()
        (event,) = [json.loads(line) for line in (tmp_path / "study.jsonl").read_text().splitlines()]
        kept = (tmp_path / f"consent-{event['data']['text_sha256'][:8]}.txt").read_text()
        assert kept.strip() == study.consent and event["at"].endswith("+00:00")
        secret = client.cookie.partition("=")[2]
        assert secret not in (tmp_path / "study.jsonl").read_text()
        assert "127.0.0.1" not in (tmp_path / "study.jsonl").read_text()


def test_forms_of_others_are_refused(tmp_path: Path) -> None:
    with served(tmp_path, Agent()) as (url, study):
        ann, eve = Browserless(url), Browserless(url)
        for client in (ann, eve):
            client.consents()
        problem = re.search(r'name="problem" value="([^"]+)"', ann.body)
        assert problem is not None
        form = {"problem": problem[1], "value:tone": "formal", "importance:tone": "3"}
        assert ann.ask("POST", "/preferences", {**form, "csrf": eve.token}).status == 403
        assert ann.ask("POST", "/preferences", {**form, "csrf": ""}).status == 403
        for wrong in (
            {"value:tone": "loud"},
            {"value:nothing": "x"},
            {"importance:tone": "9"},
            {"importance:tone": "²"},
        ):
            assert ann.ask("POST", "/preferences", {**form, **wrong}).status == 422
        assert ann.ask("POST", "/preferences", {**form, "remark": "x" * 70_000}).status == 413
        assert ann.ask("POST", "/preferences", {f"f{n}": "" for n in range(400)}).status == 400
        assert ann.ask("GET", "/", Host="evil.example").status == 400
        assert ann.ask("GET", "/nothing").status == 404
        assert ann.ask("GET", "/static/../study.py").status == 404
        policy = ann.ask("GET", "/").getheader("Content-Security-Policy") or ""
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert all(
            participant.visit.phase == "state" for participant in study.participants.values() if participant.visit
        )


def test_a_full_study_takes_nobody_else(tmp_path: Path) -> None:
    with served(tmp_path, Agent(), participants=1) as (url, study):
        Browserless(url).consents()
        late = Browserless(url)
        late.ask("GET", "/")
        assert "This study is complete" in late.body
        late.ask("POST", "/consent", {"agree": "yes"})
        assert len(study.participants) == 1


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit:
        main(["study", *words])
    assert exit.value.code == 2
    return capsys.readouterr().err


def test_other_machines_are_let_in_only_where_that_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "'::'", "192.0.2.1", "example.org"):
        assert "add public=true where that is meant" in refused(["agent=pocket-base", f"host={host}"], capsys)
    main(["study", "agent=pocket-base", "--dry-run"])
    said = capsys.readouterr().out
    assert "would serve http://127.0.0.1:8421/" in said and "21 attributes" in said
    main(["study", "agent=pocket-base", "host=0.0.0.0", "public=true", "--dry-run"])


def test_what_is_missing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "consent=nowhere.txt: cannot read" in refused(["agent=pocket-base", "consent=nowhere.txt"], capsys)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["agent=pocket-base", f"port={port}", f"run={tmp_path}"]
        assert f"port={port}: cannot listen there" in refused(words, capsys)
    with pytest.raises(ConfigError, match="name one with referee="):
        referee_of("", [scenario()], lambda name: pytest.fail("no model is needed to say so"))
    monkeypatch.setattr(server_module, "find_spec", lambda name: None)
    assert "is not installed; pip install 'prefdisco[study]'" in refused(["agent=pocket-base"], capsys)


def start(run: Path) -> tuple[subprocess.Popen[str], str]:
    """The command itself, and the address that it prints."""
    words = ["study", "agent=pocket-base", "port=0", "problems=1", f"run={run}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefdisco.cli", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = re.search(r"http://\S+", process.stdout.readline())
    assert url is not None
    return process, url[0]


def test_the_command_survives_a_kill_with_the_shipped_agent(tmp_path: Path) -> None:
    process, url = start(tmp_path)
    try:
        client = Browserless(url)
        client.consents()
        problem = re.search(r'name="problem" value="([^"]+)"', client.body)
        assert problem is not None
        about = {"problem": problem[1]}
        client.ask("POST", "/preferences", {**about, "value:tone": "formal", "importance:tone": "3"})
        settle(client)
        process.kill()
        process.wait()
        process, url = start(tmp_path)
        client.address = urlsplit(url).netloc
        while (place := settle(client)).startswith("1-talk"):
            assert client.ask("POST", "/answer", {**about, "number": place.split("-")[2], "none": "1"}).status == 303
        client.ask("POST", "/ratings", {**about, **{f"{label}:tone": "4" for label in "ABC"}})
        client.ask("GET", "/")
        assert "Thank you" in client.body
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and "1 participants, 1 rated problems" in said and "discovery" in said
    assert len(list(read_jsonl(tmp_path / "episodes.jsonl", Episode))) == 3
    assert main(["validate", str(tmp_path / "episodes.jsonl")]) == 0
    assert (tmp_path / "summary.json").is_file() and (tmp_path / "report.md").is_file()


def settle(client: Browserless) -> str:
    """Wait until it is the participant's turn; where they are then."""
    for _ in range(600):
        client.ask("GET", "/status")
        place: Any = json.loads(client.body)["place"]
        if not place.endswith("-waiting"):
            client.ask("GET", "/")
            return str(place)
        time.sleep(0.1)
    raise AssertionError("the agent never answered")
