"""Pages can be read by everyone: axe-core finds nothing serious or moderate in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from browser import open_browser, violations
from pulmospark.report.page import render_report
from report import sample

ROOT = Path(__file__).parents[1]
_REFUSED = {"moderate", "serious", "critical"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with all its parts, and two pages of the documentation."""
    folder = tmp_path_factory.mktemp("pages")
    report = folder / "report.html"
    content = sample.content(cross_validation=sample.cross_validation(), audits=sample.audits())
    report.write_text(render_report(content), encoding="utf-8")
    site = ROOT / "build" / "site"  # of `make docs`, which `make test` runs before this
    if not (site / "index.html").is_file():
        site = folder / "site"
        subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)],
            cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        )  # fmt: skip
    return {
        "report": report,
        "code": site / "how-to" / "terminal.html",
        "tables": site / "reference" / "python.html",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
@pytest.mark.parametrize("name", ["report", "code", "tables"])
def test_axe_finds_nothing_serious_or_moderate(
    browser: Browser,
    pages: dict[str, Path],
    name: str,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    found = violations(browser, pages[name], width=width, scheme=scheme)
    assert not [each for each in found if each.impact in _REFUSED]


def test_axe_finds_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><html lang="en"><title>x</title><main><h1>x</h1>'
        '<img src="data:,"><p style="color:#aaa;background:#fff">pale</p></main>',
        encoding="utf-8",
    )
    found = {each.rule for each in violations(browser, page, width=390, scheme="light")}
    assert {"image-alt", "color-contrast"} <= found
