"""A browser for tests, and what axe-core finds in a page.

``.ci/run`` puts both in place. Elsewhere the tests are skipped where one is missing; in CI they
fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, sync_playwright

AXE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "pulmospark-ci" / "package" / "axe.min.js"
)  # fmt: skip
_RUN = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"


@dataclass(frozen=True)
class Violation:
    """A rule of axe-core that a page breaks, and the elements that break it."""

    rule: str
    impact: str
    help: str
    elements: tuple[str, ...]


def needed(path: str | Path | None, what: str) -> str:
    """A path as text; skips the test where there is none, and fails it in CI."""
    if path is not None and Path(path).is_file():
        return str(path)
    why = f"{what} is not installed: .ci/run installs it"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = needed(next(filter(None, map(shutil.which, names)), None), "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def violations(
    browser: Browser, page: Path, *, width: int, scheme: Literal["light", "dark"]
) -> list[Violation]:
    """What axe-core finds in a page.

    Args:
        browser: as :func:`open_browser` gives it.
        page: an HTML file.
        width: of the window, pixels.
        scheme: the colours that the visitor prefers.
    """
    axe = Path(needed(AXE, "axe-core")).read_text(encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_load_state("networkidle")
        tab.evaluate(axe)
        found: list[dict[str, Any]] = tab.evaluate(_RUN)
    finally:
        context.close()
    return [
        Violation(
            rule=each["id"],
            impact=each["impact"] or "",
            help=each["help"],
            elements=tuple(str(node["target"]) for node in each["nodes"][:5]),
        )
        for each in found
    ]
