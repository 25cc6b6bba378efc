"""A service that the tests of this folder share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bundles import write_untrained
from serve.serving import serving

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the benchmarks


@pytest.fixture(scope="session")
def served_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with statistics of its training images."""
    images = np.random.default_rng(0).integers(0, 255, (200, 64, 64), np.uint8)
    return write_untrained(tmp_path_factory.mktemp("served") / "bundle", trained_on=images)


@pytest.fixture(scope="session")
def client(served_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that is ready."""
    with serving(served_bundle, tmp_path_factory.mktemp("state")) as (client, _):
        yield client
