"""Whether two mathematical expressions are the same, by the package math-verify in a process of its own.

Its own timeouts are signals, which only work in the main thread and never interrupt one long power of integers; so it
runs without them, in a child that is killed when it does not answer in time. Safe in threads and in coroutines.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

from prefdisco.config import ConfigError

MOST_TEXT = 1_000  # characters of an answer that are compared; more is not an answer
SECONDS = 5.0  # for one comparison; a longer one counts as different
START_SECONDS = 60.0
MEMORY = 4 << 30  # bytes that the child may map

NEEDED = "checker math: needs the package math-verify: pip install math-verify"


def require() -> None:
    """Raise ConfigError, with what to install, where math-verify is missing."""
    if find_spec("math_verify") is None:
        raise ConfigError(NEEDED)


def equal(gold: str, answer: str) -> bool:
    """Whether `answer` is mathematically `gold`, both LaTeX without delimiters. Raises ConfigError like `require`."""
    require()
    if not answer.strip() or len(answer) > MOST_TEXT:
        return False
    with _LOCK:
        return _child().compare(gold, answer)


class _Child:
    """The process, started on first use, and replaced after one that hung or died."""

    def __init__(self) -> None:
        self.owner = os.getpid()  # a fork must not share the pipes
        self.process: subprocess.Popen[bytes] | None = None

    def compare(self, gold: str, answer: str) -> bool:
        process = self.process if self.process and self.process.poll() is None else self._start()
        assert process.stdin
        try:
            process.stdin.write(json.dumps([gold, answer]).encode() + b"\n")
            reply = self._line(process, SECONDS)
        except BrokenPipeError:
            reply = None
        if reply is None:
            self.stop()
        return reply == "true"

    def stop(self) -> None:
        if self.process and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    pipe.close()
        self.process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self.stop()
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        process = self.process = subprocess.Popen(
            [sys.executable, "-m", "prefdisco.tasks.symbolic"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
        )
        ready = self._line(process, START_SECONDS)
        if ready != "ready":
            self.stop()
            raise ConfigError(f"{NEEDED} ({ready or 'it did not start'})")
        return process

    def _line(self, process: subprocess.Popen[bytes], seconds: float) -> str | None:
        """The next line of the child, or None where it ended or the time is up."""
        assert process.stdout
        line, until = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            part = process.stdout.read(4096) if ready else b""
            if not part:
                return None
            line += part
        return line.decode().strip()


_LOCK = threading.Lock()
_CHILDREN: list[_Child] = []


def _child() -> _Child:
    """This process's child; another process's, inherited by a fork, is left alone."""
    if not _CHILDREN or _CHILDREN[0].owner != os.getpid():
        _CHILDREN[:] = [_Child()]
        atexit.register(_CHILDREN[0].stop)
    return _CHILDREN[0]


def _serve() -> None:
    """What the child does: one JSON pair a line in, true or false a line out."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out, sys.stdout = sys.stdout, sys.stderr  # whatever prints must not get between the replies
    try:
        from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
    except ImportError as error:
        print(" ".join(str(error).split()), file=out, flush=True)
        return
    logging.disable(logging.CRITICAL)
    print("ready", file=out, flush=True)
    how = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    for line in sys.stdin:
        gold, answer = (
            parse(f"\\boxed{{{text}}}", extraction_config=how, parsing_timeout=None) for text in json.loads(line)
        )
        same = bool(gold) and bool(answer) and verify(gold, answer, timeout_seconds=None)
        print(json.dumps(bool(same)), file=out, flush=True)


if __name__ == "__main__":
    _serve()
