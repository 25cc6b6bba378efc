"""One service and one browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from browser import open_browser
from bundles import write_untrained
from serve.page.browsing import Visit, running_service, visit
from serve.page.run_folders import write_run


@pytest.fixture(scope="package")
def page_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle that knows its training images."""
    images = np.random.default_rng(0).integers(0, 255, (200, 64, 64), np.uint8)
    return write_untrained(tmp_path_factory.mktemp("page") / "bundle", trained_on=images)


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "first")
    return folder


@pytest.fixture(scope="package")
def base(page_bundle: Path, runs: Path) -> Iterator[str]:
    """Address of a service that is ready."""
    with running_service(page_bundle, page_bundle.parent, "--runs", str(runs)) as address:
        yield address


# A module, not all: Playwright runs an event loop in this thread for as long as it is open, which
# other tests' own loops do not bear.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def visited(browser: Browser, base: str) -> Iterator[Visit]:
    """A page in which nothing may go wrong."""
    with visit(browser, base) as opened:
        yield opened
