"""The pool of this machine on a work folder in a store: two shares are under way at a time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
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


def _run(
    pool: LocalPool, bucket: StoreUri, tmp_path: Path, work: Any, count: int | None = None
) -> list[Any]:
    open_store(bucket).put("numbers", (numbers_in(tmp_path) / "numbers.parquet").read_bytes())
    todo = chunks_of([bucket / "numbers"])[:count]
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


@dataclass(frozen=True)
class _Meeting(Deadly):
    """Returns once two chunks are worked on at the same time."""

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        _BARRIER.wait(30)
        return super().__call__(chunk)


_BARRIER = threading.Barrier(2)
"""of the threads of one worker process"""


def test_no_thread_takes_a_second_chunk_before_each_has_one(
    pool: LocalPool, bucket: StoreUri, tmp_path: Path
) -> None:
    """Else one thread would have both, and the other none."""
    assert len(_run(pool, bucket, tmp_path, _Meeting(), 2)) == COUNT // 2
