"""Tests that share a file's fixtures, or a finished run, stay in one process."""

from __future__ import annotations

import os

import pytest


def test_pytest_xdist_has_read_the_groups(request: pytest.FixtureRequest) -> None:
    """It tells them by a suffix of the id; where it has none, all that is shared is made twice."""
    shared = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@test_together.py") is shared
