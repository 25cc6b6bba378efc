"""Images that land while Spark starts are scored by the driver, each once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq
import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.inference.stream.ledger import StreamState
from pulmospark.inference.stream.output import STATE
from pulmospark.inference.stream.plan import StreamPlan, plan_stream
from pulmospark.inference.stream.service import run_stream
from pulmospark.inference.stream.store import INNER

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WAIT_S = 60.0


class _NoSpark(AbstractContextManager["SparkSession"]):
    """A Spark that takes until something has happened, and then does not start."""

    def __init__(self, until: Callable[[], bool]) -> None:
        self._until = until

    def __enter__(self) -> SparkSession:
        self._wait()
        raise PlatformError("no Spark today")

    def _wait(self) -> None:
        end = time.monotonic() + _WAIT_S
        while not self._until():
            assert time.monotonic() < end, "nothing was scored while Spark started"
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        raise AssertionError("it was never there")


class _UnusedSpark(_NoSpark):
    """A Spark that is there in the end, and of which nothing is asked."""

    def __enter__(self) -> SparkSession:
        self._wait()
        return cast("SparkSession", object())

    def __exit__(self, *_: object) -> None:
        pass


def _uris(out: Path, table: str = "predictions") -> list[str]:
    return sorted(
        uri
        for part in (out / table).glob(f"{table}-*.parquet")
        for uri in pq.read_table(part, columns=["uri"])["uri"].to_pylist()
    )


def test_what_lies_there_and_what_lands_has_its_row_before_spark(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    first, second, *_ = sorted(images.glob("*.*"))
    shutil.copy(first, inbox / f"first{first.suffix}")
    (inbox / "broken.png").write_bytes(b"no image")

    def then_lands() -> bool:
        if not _uris(out):
            return False
        if not (inbox / f"second{second.suffix}").exists():
            aside = tmp_path / "aside"
            shutil.copy(second, aside)
            aside.rename(inbox / f"second{second.suffix}")
        return len(_uris(out)) == 2

    plan = plan_stream(bundle, str(inbox), out)
    with pytest.raises(PlatformError, match="no Spark today"):
        run_stream(plan, _NoSpark(then_lands))
    assert [Path(uri).stem for uri in _uris(out)] == ["first", "second"]
    state = StreamState(out / INNER / STATE)
    assert not state.open_entries()
    assert not state.unpublished()
    state.close()


def test_a_stop_before_spark_is_there_asks_nothing_of_it(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    shutil.copy(images / "a.png", inbox)
    stop = threading.Event()
    lines: list[str] = []

    def is_there() -> bool:
        if _uris(out):
            stop.set()
        return stop.is_set() and not lines  # until then standard error is the log of Spark's start

    plan = plan_stream(bundle, str(inbox), out)
    result = run_stream(plan, _UnusedSpark(is_there), stop=stop, report=lines.append)
    assert (result.images, len(_uris(out))) == (1, 1)
    assert lines == [f"stream: {result.precision.line()}"]


def _left_by_another(
    bundle: Path, images: Path, folder: Path, *, here: bool
) -> tuple[StreamPlan, int]:
    """A stream whose last process left an entry, its own or Spark's, and an image that landed."""
    inbox = folder / "inbox"
    inbox.mkdir()
    plan = plan_stream(bundle, str(inbox), folder / "out")
    with pytest.raises(PlatformError):
        run_stream(plan, _NoSpark(lambda: True))
    state = StreamState(folder / "out" / INNER / STATE)
    entry = state.plan([], here=here)
    assert state.open_entries() == ([] if here else [entry])
    state.close()
    image = sorted(images.glob("*.*"))[0]
    shutil.copy(image, inbox / image.name)
    return plan, entry


def test_an_entry_that_was_not_assessable_is_not_tried_here(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    plan, entry = _left_by_another(bundle, images, tmp_path, here=True)
    out = tmp_path / "out"
    begun = time.monotonic()
    with pytest.raises(PlatformError):
        run_stream(plan, _NoSpark(lambda: time.monotonic() - begun > 2.0))
    assert not _uris(out)
    state = StreamState(out / INNER / STATE)
    assert state.open_entries() == [entry]
    state.close()


def test_an_entry_that_was_left_to_spark_hinders_nobody(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    plan, entry = _left_by_another(bundle, images, tmp_path, here=False)
    out = tmp_path / "out"
    with pytest.raises(PlatformError):
        run_stream(plan, _NoSpark(lambda: bool(_uris(out))))
    state = StreamState(out / INNER / STATE)
    assert state.open_entries() == [entry]
    state.close()
