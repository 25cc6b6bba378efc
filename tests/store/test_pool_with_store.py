"""The pool of this machine on a work folder in a store: two shares are under way at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pulmospark.chunks import chunks_of, read_part, run_chunks
from pulmospark.chunks.local import LocalPool
from pulmospark.core.errors import SourceUnavailableError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from spark.local_works import COUNT, Deadly, RejectingDeadly, numbers_in


@pytest.fixture
def pool(bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPool]:
    """Two threads in a process, which inherits the bucket's environment."""
    del bucket
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with LocalPool(2) as pool:
        yield pool


def _run(pool: LocalPool, bucket: StoreUri, tmp_path: Path, work: Any) -> list[Any]:
    open_store(bucket).put("numbers", (numbers_in(tmp_path) / "numbers.parquet").read_bytes())
    todo = chunks_of([bucket / "numbers"])
    progress = Progress("test", 0, quiet=True)
    parts = run_chunks(pool, work, todo, bucket / "work", progress)
    rows = [read_part(part.place, ["double"]) for part in parts if part.table == "doubled"]
    return [value for each in rows for value in each["double"].to_pylist()]


def test_all_chunks_are_run_and_the_pool_serves_the_next_job(
    pool: LocalPool, bucket: StoreUri, tmp_path: Path
) -> None:
    for error in (UsageError, SourceUnavailableError):
        with pytest.raises(error, match=r"^cannot double 24$"):
            _run(pool, bucket, tmp_path, Deadly((30,), error))
    expected = [2 * number for number in range(COUNT)]
    assert _run(pool, bucket, tmp_path, Deadly()) == expected
    assert _run(pool, bucket, tmp_path, Deadly()) == expected


def test_an_image_that_ends_the_process_is_found(
    pool: LocalPool, bucket: StoreUri, tmp_path: Path
) -> None:
    doubled = _run(pool, bucket, tmp_path, RejectingDeadly((50,)))
    assert doubled == [2 * number for number in range(COUNT) if number != 50]
