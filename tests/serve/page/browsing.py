"""The service in a process of its own, and visits of a browser to its page."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from browser import AXE, needed

_START_SECONDS_MAX = 120


@contextlib.contextmanager
def running_service(bundle: Path, folder: Path, *options: str) -> Iterator[str]:
    """Address of a service that is ready, as a user starts it.

    Args:
        bundle: that it serves.
        folder: for its state.
        options: more of the command line.
    """
    command = [sys.executable, "-m", "pulmospark", "serve", str(bundle), "--port", "0"]
    log = folder / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--state", str(folder / "state"), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        lines = log.read_text().splitlines()
        addresses = [line.split()[-1] for line in lines if "http://" in line]
        if addresses and _is_ready(addresses[0]):
            return addresses[0].rstrip("/")
        time.sleep(0.05)
    raise AssertionError(f"the service did not start: {log.read_text()}")


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ready") as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


@dataclass
class Visit:
    """A page that is open, and what went wrong in it."""

    page: Page
    base: str
    problems: list[str] = field(default_factory=list)
    """errors on the console, exceptions, dialogs and requests to other places"""

    def note(self, problem: str | None) -> None:
        """Add a problem, if there is one."""
        if problem is not None:
            self.problems.append(problem)

    def go(self, place: str) -> Page:
        """Open a place of the page: ``#/runs``."""
        self.page.goto(f"{self.base}/{place}")
        return self.page


@contextlib.contextmanager
def visit(browser: Browser, base: str, **context: Any) -> Iterator[Visit]:
    """A page in a context of its own; what goes wrong in it fails the test.

    Args:
        browser: that shows it.
        base: address of the service.
        context: of Playwright's ``new_context``.
    """
    fresh = browser.new_context(viewport={"width": 1300, "height": 850}, **context)
    page = fresh.new_page()
    page.set_default_timeout(20_000)
    visited = Visit(page, base)
    page.on("console", lambda line: visited.note(line.text if line.type == "error" else None))
    page.on("pageerror", lambda error: visited.note(str(error)))
    page.on("dialog", lambda dialog: visited.note(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: visited.note(
            None if request.url.startswith((base, "blob:")) else f"request: {request.url}"
        ),
    )
    try:
        yield visited
        assert visited.problems == []
    finally:
        fresh.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds in a page: rule, impact and elements. The context bypasses the CSP."""
    page.evaluate(Path(needed(AXE, "axe-core")).read_text(encoding="utf-8"))
    answer = page.evaluate("axe.run()")
    return [
        f"{found['id']} ({found['impact']}): {[node['html'][:200] for node in found['nodes']]}"
        for found in answer["violations"]
    ]
