"""A stand-in for the Hub on 127.0.0.1: the calls that an upload by huggingface_hub makes, without its Xet storage.

It keeps what arrives as the Hub would (files by repository, one commit a call), and refuses bad tokens and owners.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

GOOD, READ_ONLY = "hf_good", "hf_read"  # tokens: of ada, and one that may not write
OWNER = "ada"


@dataclass
class Repository:
    """Files by name; `commits` are the names that each changed."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)

    def oid(self, name: str) -> str | None:
        """What the Hub compares a file by: SHA-256 of weights, git's hash of all else."""
        if name not in self.files:
            return None
        content = self.files[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The repositories, what was stored for a commit to refer to, and every call as `METHOD path`."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.broken = False  # every call fails within the server
        self.url = ""

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of one call."""
        self.calls.append(f"{method} {path.partition('?')[0]}")
        path = path.partition("?")[0]
        if self.broken:
            return 500, {}, {"error": "out of order"}
        if stored := re.fullmatch(r"/storage/(\w+)", path):
            self.stored[stored[1]] = body  # the address itself is the permission
            return 200, {}, {}
        if token not in (GOOD, READ_ONLY):
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, {"error": "Invalid token"}
        if path == "/api/repos/create":
            return self.create(json.loads(body), token)
        if path == "/api/validate-yaml":
            return 200, {}, {"errors": [], "warnings": []}
        found = re.fullmatch(r"(?:/api/models)?/([\w.-]+/[\w.-]+?)(\.git/info/lfs/objects/batch|/.*)?", path)
        if not found or found[1] not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        return self.within(found[1], found[2] or "", body)

    def create(self, asked: dict[str, Any], token: str) -> tuple[int, dict[str, str], Any]:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != OWNER or token == READ_ONLY:
            return 403, {"X-Error-Message": "You don't have the rights"}, {"error": "You don't have the rights"}
        if name in self.repositories:
            return 409, {}, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
        self.repositories[name] = Repository(private=asked["visibility"] == "private")
        return 200, {}, {"url": f"{self.url}/{name}"}

    def within(self, name: str, call: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        """A call about one repository."""
        repository = self.repositories[name]
        if call == "":
            return 200, {}, {"id": name, "private": repository.private, "sha": "0" * 40}
        if call.startswith("/revision/"):
            return 200, {}, {"id": name, "private": repository.private, "sha": f"{len(repository.commits):040d}"}
        if call.startswith("/tree/"):
            kinds = {"type": "file", "size": 0, "oid": "0" * 40}
            return 200, {}, [{**kinds, "path": path} for path in repository.files]
        if call.startswith("/preupload/"):
            return 200, {}, {
                "files": [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                        "oid": repository.oid(each["path"]),
                    }
                    for each in json.loads(body)["files"]
                ]
            }  # fmt: skip
        if call.endswith("/objects/batch"):
            return 200, {}, {
                "transfer": "basic",
                "objects": [
                    {**each, "actions": {"upload": {"href": f"{self.url}/storage/{each['oid']}"}}}
                    for each in json.loads(body)["objects"]
                ],
            }  # fmt: skip
        if call.startswith("/commit/"):
            return self.commit(name, [json.loads(line) for line in body.splitlines()])
        return 404, {}, {"error": f"no such call: {call}"}

    def commit(self, name: str, lines: list[dict[str, Any]]) -> tuple[int, dict[str, str], Any]:
        repository, changed = self.repositories[name], []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.stored[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"] and len(content) == value["size"]
                repository.files[value["path"]] = content
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
            if line["key"] != "header":
                changed.append(value["path"])
        repository.commits.append(changed)
        oid = f"{len(repository.commits):040d}"
        return 200, {}, {"commitUrl": f"{self.url}/{name}/commit/{oid}", "commitOid": oid}


@contextmanager
def hub() -> Iterator[Hub]:
    """A running stand-in; `url` is its address."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, headers, answer = state.answer(self.command, self.path, token, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = respond

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
