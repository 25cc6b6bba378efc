"""A session that starts while something else is done."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.spark.background_start import started_early


@contextlib.contextmanager
def _session(told: list[str], go: threading.Event, *, fails: str = "") -> Iterator[Any]:
    go.wait(10)
    if fails == "start":
        raise PlatformError("no Java")
    told.append("started")
    yield "the session"
    told.append("stopped")
    if fails == "stop":
        raise ConnectionRefusedError("the JVM is gone")


def test_it_starts_while_something_else_is_done() -> None:
    told: list[str] = []
    go = threading.Event()
    with started_early(_session(told, go)) as session:
        told.append("something else")
        go.set()
        with session as spark:
            told.append(str(spark))
    assert told == ["something else", "started", "the session", "stopped"]


def test_an_error_meanwhile_stops_it_and_stands() -> None:
    told: list[str] = []
    go = threading.Event()
    go.set()
    with pytest.raises(UsageError, match="no bundle"), started_early(_session(told, go)):
        raise UsageError("no bundle")
    assert told == ["started", "stopped"]


@pytest.mark.parametrize("fails", ["start", "stop"])
def test_an_error_on_its_way_is_not_hidden_by_sparks_own(fails: str) -> None:
    go = threading.Event()
    go.set()
    with (
        pytest.raises(UsageError, match="first"),
        started_early(_session([], go, fails=fails)),
    ):
        raise UsageError("first")


def test_a_session_that_does_not_start_says_so() -> None:
    go = threading.Event()
    go.set()
    with (
        pytest.raises(PlatformError, match="no Java"),
        started_early(_session([], go, fails="start")) as session,
        session,
    ):
        pass


def test_what_comes_first_is_done_before_the_session_is_given() -> None:
    told: list[str] = []
    go = threading.Event()
    go.set()
    with (
        started_early(_session(told, go), first=lambda _: told.append("first")) as session,
        session,
    ):
        told.append("work")
    assert told == ["started", "first", "work", "stopped"]
