"""Chunks whose work folder is in a store: what comes out is what a folder on a disk gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pulmospark.chunks import (
    Part,
    chunks_of,
    listed_chunks,
    read_chunk,
    read_part,
    run_chunks,
    write_part,
)
from pulmospark.chunks.local import ThisProcess
from pulmospark.chunks.overlap import overlapped
from pulmospark.chunks.stored_folder import StoredFolder
from pulmospark.core import store_limits
from pulmospark.core.errors import SourceUnavailableError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.layouts.base import row_of
from pulmospark.layouts.list_writer import list_writer
from pulmospark.layouts.manifest_rows import table_of
from pulmospark.layouts.walk import FoundFile
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from spark.local_works import COUNT, Deadly, RejectingDeadly, numbers_in


@pytest.fixture
def numbers(bucket: StoreUri, tmp_path: Path) -> StoreUri:
    content = (numbers_in(tmp_path) / "numbers.parquet").read_bytes()
    open_store(bucket).put("in/numbers.parquet", content)
    return bucket / "in/numbers.parquet"


def _run(numbers: StoreUri, work: Any, folder: StoreUri, **settings: Any) -> list[Part]:
    progress = Progress("test", 0, quiet=True)
    return run_chunks(ThisProcess(), work, chunks_of([numbers]), folder, progress, **settings)


def _column(parts: Sequence[Part], table: str, name: str) -> list[Any]:
    values = [
        read_part(part.place, [name])[name].to_pylist() for part in parts if part.table == table
    ]
    return [value for each in values for value in each]


def _keys(folder: StoreUri) -> list[str]:
    return [stored.uri.key for stored in open_store(folder).list(folder.prefix)]


def test_parts_are_those_of_all_chunks_and_are_found_again(
    numbers: StoreUri, bucket: StoreUri
) -> None:
    work, folder, tables = Deadly(), bucket / "out/_work", bucket / "out"
    parts = _run(numbers, work, folder, tables=tables)
    assert _column(parts, "doubled", "double") == [2 * n for n in range(COUNT)]
    assert len(work.calls) == 4
    tag = open_store(bucket).get("out/_work/tag").decode()
    assert {part.place for part in parts} == {
        bucket / key for key in _keys(tables / "doubled") if key.endswith(f"-{tag}.parquet")
    }
    assert _run(numbers, work, folder, tables=tables) == parts
    assert len(work.calls) == 4, "a finished chunk was run again"
    open_store(bucket).delete_below(folder.prefix)
    later = _run(numbers, work, folder, tables=tables)
    assert not {part.place for part in later} & {part.place for part in parts}


def test_the_one_that_ends_its_worker_is_found(numbers: StoreUri, bucket: StoreUri) -> None:
    open_store(bucket).put("work/runs/of-a-killed-one/plan", b"")
    parts = _run(numbers, RejectingDeadly((50,)), bucket / "work")
    assert not [key for key in _keys(bucket / "work") if "/runs/" in key]
    assert _column(parts, "doubled", "double") == [2 * n for n in range(COUNT) if n != 50]
    assert _column(parts, "rejects", "number") == [50]


@pytest.mark.parametrize("error", [UsageError, SourceUnavailableError])
def test_the_first_error_is_raised_and_what_was_done_is_kept(
    error: type[Exception], numbers: StoreUri, bucket: StoreUri
) -> None:
    with pytest.raises(error, match=r"^cannot double 48$"):
        _run(numbers, Deadly((50,), error), bucket / "work")
    assert len([key for key in _keys(bucket / "work") if "/done/" in key]) >= 1
    again = Deadly()
    assert len(_column(_run(numbers, again, bucket / "work"), "doubled", "double")) == COUNT
    assert len(again.calls) <= 3


def test_a_log_is_read_as_it_grows_and_begins_another_object(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LOG_BYTES_MAX", 20)
    files = StoredFolder.begun(bucket / "work")
    read: dict[str, int] = {}
    lines: list[bytes] = []
    for number in range(6):
        files.write_down(json.dumps([number] * 3).encode() + b"\n")
        for name, news in files.news(read):
            read[name] = read.get(name, 0) + len(news)
            lines += news.splitlines()
        assert not list(files.news(read))
    assert [json.loads(line)[0] for line in lines] == list(range(6))
    assert len(read) == 3
    files.end()
    assert _keys(bucket / "work") == ["work/tag"]


def test_only_one_process_leaves_a_mark(bucket: StoreUri) -> None:
    files = StoredFolder.begun(bucket / "work")
    assert not files.is_marked("a")
    assert [files.mark("a"), files.mark("a"), files.mark("b")] == [True, False, True]
    assert files.is_marked("a")


@dataclass(frozen=True)
class _Ahead(Deadly):
    """Its reading of a chunk waits until the chunk before is worked on."""

    def prefetch(self, chunk: pa.Table) -> Iterator[int]:
        return iter(chunk["number"].to_pylist())

    def work_on(self, chunk: pa.Table, fetched: Iterator[int]) -> Mapping[str, pa.Table]:
        assert list(fetched) == chunk["number"].to_pylist()
        return self(chunk)


def test_what_was_read_ahead_is_worked_on(numbers: StoreUri, bucket: StoreUri) -> None:
    parts = _run(numbers, _Ahead(), bucket / "work")
    assert _column(parts, "doubled", "double") == [2 * n for n in range(COUNT)]


def test_steps_overlap_in_their_order() -> None:
    """The second unit is begun before the first is worked on; else this would never end."""
    second, worked = threading.Event(), threading.Event()

    def begin(unit: int) -> int:
        if unit == 1:
            second.set()
        return unit

    def work(unit: int) -> int:
        assert second.wait(10)
        if unit == 1:
            worked.set()
        return unit * 10

    def finish(unit: int) -> int:
        assert worked.wait(10)
        return unit + 1

    assert list(overlapped(range(4), begin, work, finish)) == [1, 11, 21, 31]


def test_a_long_list_is_several_objects_with_the_chunks_of_one_file(
    bucket: StoreUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LIST_ROWS_MAX", 20)
    files = [FoundFile(f"/{number}.png", ("x",), 1000 + number, 1) for number in range(45)]
    rows = [row_of(file, "source") for file in files]
    groups = [table_of(rows[start : start + 10]) for start in range(0, 45, 10)]
    listed = {}
    for target in (tmp_path / "list.parquet", bucket / "list"):
        with list_writer(target) as writer:
            for group in groups:
                writer.write(group)
        listed[len(writer.files)] = listed_chunks(writer.files, 4)
    assert listed.keys() == {1, 3}
    uris = {
        count: [read_chunk(chunk, ["uri"])["uri"].to_pylist() for chunk in todo]
        for count, todo in listed.items()
    }
    assert uris[1] == uris[3]
    assert [uri for chunk in uris[3] for uri in chunk] == [row.uri for row in rows]


def test_an_object_that_was_replaced_is_read_again(bucket: StoreUri) -> None:
    """Within a second, and by one of the same size."""
    uri = bucket / "rows.parquet"
    for number in (1, 2):
        write_part(pa.table({"number": [number]}), uri)
        (chunk,) = chunks_of([uri])
        assert read_chunk(chunk)["number"].to_pylist() == [number]
