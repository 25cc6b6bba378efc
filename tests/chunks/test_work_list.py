"""Chunks of lists: bounded, complete, the same whatever the row groups, and shared out evenly."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.chunks.work_list import Chunk, chunks_of, evened, listed_chunks, read_chunk
from pulmospark.core import limits
from pulmospark.spark.executor import shares_of


def _list(folder: Path, sizes: list[int], group: int = limits.LIST_GROUP_ROWS) -> Path:
    path = folder / "list.parquet"
    table = pa.table(
        {"size_bytes": pa.array(sizes, pa.int64()), "uri": [str(n) for n in range(len(sizes))]}
    )
    pq.write_table(table, path, row_group_size=group)
    return path


@given(
    st.lists(
        st.integers(0, limits.CHUNK_BYTES_MAX // 3)
        | st.sampled_from([0, 1, limits.CHUNK_BYTES_MAX, limits.CHUNK_BYTES_MAX * 2]),
        max_size=40,
    ),
    st.integers(0, 600),
)
def test_chunks_are_bounded_and_lose_nothing(sizes: list[int], empty: int) -> None:
    sizes = sizes + [0] * empty
    with tempfile.TemporaryDirectory() as folder:
        chunks = listed_chunks([_list(Path(folder), sizes)])
        uris = [uri for chunk in chunks for uri in read_chunk(chunk, ["uri"])["uri"].to_pylist()]
    assert uris == [str(n) for n in range(len(sizes))]
    cut = [sizes[chunk.first : chunk.first + chunk.rows] for chunk in chunks]
    for own in cut:
        assert 1 <= len(own) <= limits.CHUNK_FILES_MAX
        assert sum(own) <= limits.CHUNK_BYTES_MAX or len(own) == 1
    for own, following in itertools.pairwise(cut):
        full = len(own) == limits.CHUNK_FILES_MAX
        assert full or sum(own) + following[0] > limits.CHUNK_BYTES_MAX


def test_rows_of_several_row_groups_and_pieces(tmp_path: Path) -> None:
    path = _list(tmp_path, [1] * 100, group=40)
    chunks = listed_chunks([path], 30)
    assert [(c.row_group, c.first, c.rows) for c in chunks] == [
        *((0, 0, 30), (0, 30, 10)),
        *((1, 0, 30), (1, 30, 10)),
        (2, 0, 20),
    ]
    pieces = chunks[2].cut(4)
    assert [(piece.first, piece.rows) for piece in pieces] == [(0, 8), (8, 8), (16, 8), (24, 6)]
    read = [row for piece in pieces for row in read_chunk(piece)["uri"].to_pylist()]
    assert read == [str(n) for n in range(40, 70)]
    assert Chunk("x", 0, 3, 5).cut(16) == [Chunk("x", 0, 1, n) for n in (5, 6, 7)]


@pytest.mark.parametrize(
    ("count", "size_bytes", "sizes"),
    [
        (2000, 120_000, [250] * 8),
        (60, 120_000, [30, 30]),
        (1, 120_000, [1]),
        (257, 120_000, [129, 128]),
        (12, 2**24, [3] * 4),
        (11, 2**24, [3, 3, 3, 2]),
        (256 * 15 + 10, 120_000, [241] * 15 + [235]),  # as many as two slots take eight times
        (256 * 17, 120_000, [256] * 15 + [64] * 8),  # a long one
        (3, 2**25 + 1, [1] * 3),
    ],
)
def test_a_short_list_is_shared_out_evenly(
    count: int, size_bytes: int, sizes: list[int], tmp_path: Path
) -> None:
    chunks = evened([_list(tmp_path, [size_bytes] * count)], 2)
    assert [chunk.rows for chunk in chunks] == sizes


def test_a_list_that_bytes_cut_anyway_is_left_as_it_is(tmp_path: Path) -> None:
    """Shared out by rows it would take a third round of two slots."""
    sizes = [30, 40, 1, 30, 20, 20, 1, 30, 1]
    path = _list(tmp_path, [size * 2**20 for size in sizes])
    assert [chunk.rows for chunk in listed_chunks([path], 3)] == [1, 2, 2, 3, 1]
    assert [chunk.rows for chunk in evened([path], 2)] == [1, 2, 2, 4]


def test_the_last_chunks_of_a_long_list_are_small(tmp_path: Path) -> None:
    count = 256 * 19 + 135
    path = _list(tmp_path, [1] * count)
    chunks = evened([path], 2)
    assert [chunk.rows for chunk in chunks] == [256] * 18 + [64] * 4 + [34] * 3 + [33]
    uris = [uri for chunk in chunks for uri in read_chunk(chunk, ["uri"])["uri"].to_pylist()]
    assert uris == [str(n) for n in range(count)]


def test_chunks_may_have_fewer_rows_at_most(tmp_path: Path) -> None:
    path = _list(tmp_path, [1] * 42)
    assert [chunk.rows for chunk in evened([path], 2, 5)] == [5] * 8 + [2]
    assert [chunk.rows for chunk in evened([path], 4, 8)] == [6] * 7
    assert evened([_list(tmp_path, [])], 2) == []


@given(st.integers(0, 3000), st.integers(1, 64))
def test_each_chunk_is_in_one_task_and_the_last_tasks_are_small(count: int, at_once: int) -> None:
    shares = shares_of(count, at_once)
    assert [chunk for start, size in shares for chunk in range(start, start + size)] == list(
        range(count)
    )
    sizes = [size for _, size in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert all(1 <= size <= limits.TASK_CHUNKS_MAX for size in sizes)
    # None is more than a quarter of what a slot still has to do.
    assert all(size == 1 or 4 * at_once * size <= count - start for start, size in shares)
    assert sizes[-at_once:] == [1] * min(count, at_once)


def _ends(sizes: Sequence[int], joins: Sequence[int]) -> int:
    """When the last task ends, if a slot that is free takes the next one; a chunk takes 1."""
    free = sorted(joins)
    for size in sizes:
        heapq.heappush(free, heapq.heappop(free) + size)
    return max(free)


@given(st.integers(1, 3000), st.integers(1, 63), st.integers(0, 50))
def test_slots_that_join_a_job_share_what_is_left(count: int, more: int, later: int) -> None:
    """The tasks are made for the one slot that there is at first."""
    sizes = [size for _, size in shares_of(count, 1)]
    joins = [0] + [later] * more
    alone = min(count, later)
    spread = alone + (count - alone) / len(joins)
    assert _ends(sizes, joins) <= max(spread + limits.TASK_CHUNKS_MAX, later)


def test_each_row_group_is_a_chunk(tmp_path: Path) -> None:
    for name, rows in (("a", 10), ("b", 2)):
        table = pa.table({"number": range(rows)})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
    first, second = (str(tmp_path / f"{name}.parquet") for name in "ab")
    assert chunks_of([Path(first), Path(second)]) == [
        Chunk(first, 0, 3),
        Chunk(first, 1, 3),
        Chunk(first, 2, 3),
        Chunk(first, 3, 1),
        Chunk(second, 0, 2),
    ]
    assert chunks_of([]) == []


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = _list(tmp_path, [1] * 8, group=4)
    piece = Chunk(str(path), 1, 2, 1)
    assert read_chunk(piece)["uri"].to_pylist() == ["5", "6"]
    assert read_chunk(Chunk(str(path), 1, 4))["uri"].to_pylist() == ["4", "5", "6", "7"]
    assert read_chunk(piece, ("size_bytes",)).column_names == ["size_bytes"]
    _list(tmp_path, [1] * 9, group=3)
    assert read_chunk(piece)["uri"].to_pylist() == ["4", "5"]
    assert read_chunk(Chunk(str(path), 1, 3)).column_names == ["size_bytes", "uri"]


def test_a_list_is_read_once_for_the_chunks_of_a_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _list(tmp_path, [1] * 30, group=10)
    read: list[int] = []
    opened: list[object] = []
    row_group, open_file = pq.ParquetFile.read_row_group, pq.ParquetFile.__init__

    def counted(file: pq.ParquetFile, number: int, **settings: object) -> pa.Table:
        read.append(number)
        return row_group(file, number, **settings)

    def with_footer(file: pq.ParquetFile, *args: object, **settings: object) -> None:
        opened.append(settings["metadata"])
        open_file(file, *args, **settings)

    columns: list[object] = []

    def sizes_alone(file: pq.ParquetFile, number: int, **settings: object) -> pa.Table:
        columns.append(settings["columns"])
        return row_group(file, number, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetFile, "read_row_group", sizes_alone)
        chunks = listed_chunks([path], 5)
    assert columns == [["size_bytes"]] * 3
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(pq.ParquetFile, "__init__", with_footer)
    for chunk in chunks:
        assert read_chunk(chunk).num_rows == 5
    assert read == [0, 1, 2]
    footer, *others = opened
    assert footer is None
    assert len(others) == 3
    assert all(other is not None for other in others)
