"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.spark.session import spark_session


def shared_folder() -> Path:
    """The folder with real images and weights, beside the repository unless told otherwise."""
    default = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("PULMOSPARK_SHARED", default))


def _need(folder: Path) -> Path:
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder}: real data must be there in CI")
        pytest.skip(f"{folder}: no real data on this machine")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real, public images."""
    return _need(shared_folder() / "data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Real ImageNet weights."""
    return _need(shared_folder() / "weights")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session(os.environ.get("PULMOSPARK_TEST_MASTER", "local[2]")) as session:
        yield session
