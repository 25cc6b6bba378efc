"""Parquet parts: written by tasks, and combined into a table's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.compaction import compact_parts, place_name, write_options
from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.core import files, lake_limits, limits
from pulmospark.core.delta_log import schema_of, write_log
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.prefetch import read_many
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

_NUMBERS_A_GROUP = 65_536
"""rows of a row group that holds numbers alone"""


@dataclass(frozen=True)
class Part:
    """One Parquet file that a task wrote.

    Attributes:
        table: that it belongs to.
        place: a path, or an address where the work folder is in a store.
        rows: how many it has.
    """

    table: str
    place: Place
    rows: int

    @property
    def path(self) -> Path:
        """The file, of a work folder on a disk."""
        assert isinstance(self.place, Path), self.place
        return self.place


def write_part(rows: pa.Table, target: Place) -> None:
    """Write one Parquet file atomically, to a disk or a store; see `.compaction.write_options`."""
    if isinstance(target, StoreUri):
        open_store(target).put(target.key, part_bytes(rows))
        return
    with files.whole_file(target) as aside:
        _write(rows, aside)


def part_bytes(rows: pa.Table) -> bytes:
    """The content of the file that :func:`write_part` writes."""
    sink = pa.BufferOutputStream()
    _write(rows, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _write(rows: pa.Table, sink: Path | pa.BufferOutputStream) -> None:
    numbers = all(pa.types.is_integer(field.type) for field in rows.schema)
    pq.write_table(
        rows,
        sink,
        row_group_size=_NUMBERS_A_GROUP if numbers else limits.ROW_GROUP_ROWS,
        **write_options(rows.schema),
    )


def read_part(path: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file, from a disk or a store.

    ``pyarrow.parquet.read_table`` does the same, but imports ``pyarrow.dataset`` first: 0.2 s of a
    processor.

    Raises:
        OSError: it cannot be read.
        pyarrow.ArrowInvalid: it is not a Parquet file.
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    with open_parquet(path) as file:
        return file.read(None if columns is None else list(columns))


def read_parts(
    places: Sequence[Place], columns: Sequence[str]
) -> Iterator[tuple[Place, pa.Table]]:
    """Read Parquet files one after the other, those in a store ahead of the caller.

    Args:
        places: of the files.
        columns: to read.

    Yields:
        Each place, and its rows.

    Raises:
        OSError: a file cannot be read.
        ObjectMissingError: an object is not there.
        SourceUnavailableError: the store fails.
    """
    fetched = read_many((place, 0) for place in places if isinstance(place, StoreUri))
    for place in places:
        if not isinstance(place, StoreUri):
            # In this thread: they are small, and pyarrow's own would each keep megabytes.
            with open_parquet(place) as file:
                rows = file.read(list(columns), use_threads=False)
            yield place, rows
            continue
        content = next(fetched)
        if isinstance(content, ObjectMissingError):
            raise content
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            yield place, file.read(list(columns), use_threads=False)


def publish_table(
    parts: Sequence[Path],
    folder: Path,
    schema: pa.Schema,
    *,
    numbered: bool = False,
    light: bool = False,
    in_store: bool = False,
) -> None:
    """Make a table of parts, which is a Delta table as well; without parts it has no rows.

    Many small parts are merged into fewer files, see :mod:`pulmospark.chunks.compaction`.

    Args:
        parts: as for :func:`link_parts`.
        folder: of the table; created if missing.
        schema: of the table; a part made before a column was added may lack it, as nulls.
        numbered: as for :func:`link_parts`.
        light: the pixels of some parts stay in a store; none is merged.
        in_store: the table is published in a store, where each file costs its readers requests.
    """
    least = lake_limits.STORED_PARTS_MIN if in_store else lake_limits.COMPACT_PARTS_MIN
    if light or len(parts) < least:
        link_parts(parts, folder, numbered=numbered)
    else:
        compact_parts(parts, folder, schema, numbered=numbered)
    if not parts:
        write_empty(schema, folder)
    write_log(folder, schema_of(folder) if light else schema)


def publish_rows(rows: pa.Table, folder: Path) -> None:
    """Make a table of rows that are in memory, which is a Delta table as well.

    Args:
        rows: all of the table's.
        folder: of the table, whose name its one file has; created if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{folder.name}.parquet"
    pq.write_table(rows, folder / name, compression="ZSTD")
    write_log(folder, rows.schema, {name: rows.num_rows})


def link_parts(parts: Sequence[Path], folder: Path, *, numbered: bool = False) -> None:
    """Hard-link parts into a table's folder, or copy them if links are not possible.

    Args:
        parts: Parquet files, in the order of their rows.
        folder: of the table; created if missing.
        numbered: their names begin with their place, so that who reads the folder in the order
            of the names, as pandas and pyarrow do, has the rows in their order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place, part in enumerate(parts):
        target = folder / (place_name(part.name, place) if numbered else part.name)
        files.link_or_copy(part, target)


def parts_of(table: Path) -> list[Path]:
    """The Parquet files of a table, sorted by name."""
    return sorted(table.glob("*.parquet"))


def write_empty(schema: pa.Schema, folder: Path) -> None:
    """Give a table without rows one part, so that its schema can be read."""
    write_part(schema.empty_table(), folder / "empty.parquet")
