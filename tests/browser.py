"""A headless Chromium for the tests of pages, driven by Playwright; what a page complains about fails the test.

The browser is the system's (`CHROMIUM`, or `chromium` on the PATH): Playwright's own download is not used. Without one
the tests are skipped, unless CI is set.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
needs_browser = pytest.mark.skipif(
    not CHROMIUM and not os.environ.get("CI"), reason="needs chromium on the PATH, or CHROMIUM=PATH"
)


@contextmanager
def browser() -> Iterator[Any]:
    """A Playwright browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield launched
        finally:
            launched.close()


class Complaints:
    """What the pages of a browser context did that they should not: console errors, exceptions, requests elsewhere."""

    def __init__(self, context: Any, own: str) -> None:
        """`own`: the prefix of addresses that may be asked for."""
        self.found: list[str] = []
        context.on("console", lambda message: self.found.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: self.found.append(str(error.error)))
        context.on(
            "request",
            lambda request: None if request.url.startswith((own, "data:", "blob:")) else self.found.append(request.url),
        )
