"""Chunks: ranges of rows of Parquet files, on a disk or in a store, and how executors read them.

A table of images is cut at its row groups. A list of files has row groups of
``limits.LIST_GROUP_ROWS`` rows, each of many chunks: a file's footer takes some 15 kB of memory
for each row group in each process that reads from it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.parquet_files import Place, open_parquet, place_of, state_of
from pulmospark.core import limits
from pulmospark.core.arrays import Ints
from pulmospark.store.light_parts import whole_of

State = tuple[int, int]
"""of an object, what stands for its time and its size"""
States = Mapping[str, State]
"""address -> state"""
_PIECES_AT_END = 4
"""of a chunk: a slot waits for the others no longer than one takes"""


@dataclass(frozen=True)
class Chunk:
    """Rows of one row group of one Parquet file.

    Attributes:
        path: of the file, or its address in a store.
        row_group: number of the row group.
        rows: how many.
        first: place of the first of them in the row group.
        state: of an object, from :func:`.parquet_files.state_of`, so that no reader has to ask
            for it; ``None``: the file is on a disk.
    """

    path: str
    row_group: int
    rows: int
    first: int = 0
    state: State | None = None

    def cut(self, pieces: int) -> list[Chunk]:
        """The same rows in chunks of about the same size, ``pieces`` at most, none empty."""
        size = -(-self.rows // pieces)
        return [
            replace(self, first=self.first + start, rows=min(size, self.rows - start))
            for start in range(0, self.rows, size)
        ]


def chunks_of(files: Sequence[Place]) -> list[Chunk]:
    """The row groups of Parquet files, on a disk or in a store, as chunks in order.

    Those of a light part are of the file in the store.
    """
    chunks = []
    for place in (whole_of(file) if isinstance(file, Path) else file for file in files):
        state = _state(place)
        with open_parquet(place, state=state) as file:
            groups = map(file.metadata.row_group, range(file.num_row_groups))
            chunks += [
                Chunk(str(place), index, group.num_rows, state=state)
                for index, group in enumerate(groups)
            ]
    return chunks


def _state(place: Place, states: States | None = None) -> State | None:
    if isinstance(place, Path):
        return None
    return (states or {}).get(str(place)) or state_of(place)


def listed_chunks(
    files: Sequence[Place],
    rows_max: int = limits.CHUNK_FILES_MAX,
    bytes_max: int = limits.CHUNK_BYTES_MAX,
    states: States | None = None,
) -> list[Chunk]:
    """The rows of lists of files (``core.schemas.MANIFEST``) as chunks, in order.

    Args:
        files: the lists, on a disk or in a store.
        rows_max: files of a chunk.
        bytes_max: bytes of a chunk's files together, but for a larger file, which is alone.
        states: of the lists in a store, as far as they are known.
    """
    chunks = []
    for path in files:
        state = _state(path, states)
        with open_parquet(path, state=state) as file:
            for group in range(file.num_row_groups):
                sizes = _read(file, group, ["size_bytes"])["size_bytes"].to_numpy()
                chunks += [
                    Chunk(str(path), group, end - start, start, state)
                    for start, end in _cuts(sizes, rows_max, bytes_max)
                ]
    return chunks


def evened(
    files: Sequence[Place],
    slots: int,
    rows_max: int = limits.CHUNK_FILES_MAX,
    states: States | None = None,
) -> list[Chunk]:
    """As :func:`listed_chunks`, but split so that all slots finish at about the same time.

    A short list is shared out; of a long one the last chunk of each slot is cut into pieces.
    """
    usual = listed_chunks(files, rows_max, states=states)
    if len(usual) > slots * limits.TASK_CHUNKS_MAX:
        pieces = [piece for chunk in usual[-slots:] for piece in chunk.cut(_PIECES_AT_END)]
        return usual[:-slots] + pieces
    if not usual:
        return []
    rows = sum(chunk.rows for chunk in usual)
    known = {chunk.path: chunk.state for chunk in usual if chunk.state is not None}
    even = listed_chunks(files, -(-rows // (slots * -(-len(usual) // slots))), states=known)
    # More of them than slots take at once: the files' sizes already limit the chunks.
    return even if -(-len(even) // slots) == -(-len(usual) // slots) else usual


def _cuts(sizes: Ints, rows_max: int, bytes_max: int) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of each chunk."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + bytes_max, side="right"))
        end = min(max(end, start + 1), start + rows_max, len(sizes))
        yield start, end
        start = end


def read_chunk(chunk: Chunk, columns: Sequence[str] | None = None) -> pa.Table:
    """A chunk's rows.

    Memory holds one footer, and of a list of files one row group.

    Args:
        chunk: which.
        columns: to read; ``None``: all.

    Raises:
        OSError: the file cannot be read.
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    # A file that was written anew has another footer and other rows.
    at = (chunk.path, *(chunk.state or state_of(place_of(chunk.path))))
    names = None if columns is None else tuple(columns)
    whole = _footer(*at).row_group(chunk.row_group).num_rows
    if chunk.rows == whole:
        return _rows(at, chunk.row_group, names)
    return _kept_rows(at, chunk.row_group, names).slice(chunk.first, chunk.rows)


def reads_of(listed: Sequence[Chunk]) -> list[str]:
    """Paths of ``limits.PREFLIGHT_SAMPLES`` files of a list, spread evenly over it."""
    last, count = len(listed) - 1, limits.PREFLIGHT_SAMPLES
    places = {round(last * n / (count - 1)) for n in range(count)} if listed else set()
    paths = []
    for place in sorted(places):
        rows = read_chunk(listed[place], ["uri", "problem"])
        paths += [row["uri"] for row in rows.to_pylist() if not row["problem"]][:1]
    return paths


_At = tuple[str, int, int]


@functools.lru_cache(maxsize=1)
def _footer(path: str, modified_ns: int, size: int) -> pq.FileMetaData:
    """Read once per worker: with hundreds of row groups that takes long."""
    with open_parquet(place_of(path), state=(modified_ns, size)) as file:
        return file.metadata


def _rows(at: _At, row_group: int, columns: tuple[str, ...] | None) -> pa.Table:
    with open_parquet(place_of(at[0]), _footer(*at), at[1:]) as file:
        return _read(file, row_group, None if columns is None else list(columns))


def _read(file: pq.ParquetFile, row_group: int, columns: list[str] | None) -> pa.Table:
    """In this thread: pyarrow's own would each keep megabytes, and workers use a core each."""
    return file.read_row_group(row_group, columns=columns, use_threads=False)


@functools.lru_cache(maxsize=1)
def _kept_rows(at: _At, row_group: int, columns: tuple[str, ...] | None) -> pa.Table:
    """Cached, because the next chunk is mostly of the same row group."""
    return _rows(at, row_group, columns)
