"""Merges many small parts of a table into fewer files, in the order of their rows.

A part is a chunk's result. For a reader a file costs a request, a footer and a task, so a table
of a million images should not have four thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import files, lake_limits, limits
from pulmospark.core.arrays import Mask
from pulmospark.core.hashing import value_id

_PLACE_DIGITS = 9
_BULKY = frozenset({"pixels", "features"})
"""columns of images and vectors"""


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """How the Parquet files of a table are written.

    Pixels are stored as they are (compressing them costs more than reading them) and without
    statistics, which would repeat whole images in the footer.
    """
    light = [field.name for field in schema if field.name not in _BULKY]
    return {
        "compression": {name: "ZSTD" if name in light else "NONE" for name in schema.names},
        "use_dictionary": [name for name in light if pa.types.is_string(schema.field(name).type)],
        "write_statistics": light,
    }


def group_rows_of(schema: pa.Schema) -> int:
    """Rows of a row group: few of images and vectors, of which a task holds one, else many."""
    bulky = not _BULKY.isdisjoint(schema.names)
    return limits.ROW_GROUP_ROWS if bulky else lake_limits.COMPACT_GROUP_ROWS


def file_groups(parts: Sequence[Path], *, bulky: bool) -> list[list[Path]]:
    """Which parts go into one file; a part that is large enough stays alone.

    Args:
        parts: Parquet files, in the order of their rows.
        bulky: measure them in bytes (``limits.COMPACT_BYTES``), not in rows (``COMPACT_ROWS``).

    Returns:
        The parts, in order. A group is below that size only before a large part, or alone.
    """
    least = lake_limits.COMPACT_BYTES if bulky else lake_limits.COMPACT_ROWS
    groups: list[list[Path]] = []
    open_group: list[Path] = []
    size = 0
    for part in parts:
        its_size = part.stat().st_size if bulky else pq.read_metadata(part).num_rows
        if its_size >= least and open_group:  # the large one is linked, what is before it closed
            groups.append(open_group)
            open_group, size = [], 0
        open_group.append(part)
        size += its_size
        if size >= least:
            groups.append(open_group)
            open_group, size = [], 0
    if open_group and groups and len(groups[-1]) > 1:
        groups[-1] += open_group
    elif open_group:
        groups.append(open_group)
    return groups


def regrouped(tables: Iterable[pa.Table], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The rows of tables, in tables of ``rows`` rows; the last one has the rest.

    Args:
        tables: in the order of their rows; a nullable column that one lacks is null.
        schema: of the result.
        rows: of each table.
    """
    waiting, count = [schema.empty_table()], 0
    for table in tables:
        waiting.append(_as_schema(table, schema))
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, rows)
            waiting, count = [joined.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting)


def _as_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        rows[field.name] if field.name in rows.schema.names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def rows_where(part: Path, stays: Mask | None = None) -> Iterator[pa.Table]:
    """The rows of a part that a mask selects, row group by row group.

    Args:
        part: a Parquet file.
        stays: bool (rows,); ``None``: all.
    """
    with pq.ParquetFile(part) as file:
        yield from rows_of_file(file, stays)


def rows_of_file(file: pq.ParquetFile, stays: Mask | None = None) -> Iterator[pa.Table]:
    """As :func:`rows_where`, of an open file."""
    start = 0
    for index in range(file.num_row_groups):
        # In this thread: each of pyarrow's own would keep megabytes of its pool.
        rows = file.read_row_group(index, use_threads=False)
        end = start + rows.num_rows
        chosen = rows if stays is None else rows.filter(pa.array(stays[start:end]))
        start = end
        if chosen.num_rows:
            yield chosen


def write_rows(tables: Iterable[pa.Table], target: Path) -> int:
    """Write tables of one schema to a Parquet file, each as a row group; returns the rows.

    The file appears atomically; memory holds one table.

    Args:
        tables: one or more.
        target: the file.
    """
    count = 0
    writer: pq.ParquetWriter | None = None
    with files.whole_file(target) as aside:
        try:
            for table in tables:
                options = write_options(table.schema)
                writer = writer or pq.ParquetWriter(aside, table.schema, **options)
                writer.write_table(table, row_group_size=max(1, table.num_rows))
                count += table.num_rows
        finally:
            if writer is not None:
                writer.close()
    return count


def compact_parts(
    parts: Sequence[Path], folder: Path, schema: pa.Schema, *, numbered: bool = False
) -> None:
    """Fill a table's folder from parts: small ones merged, large ones hard-linked.

    Args:
        parts: Parquet files, in the order of their rows.
        folder: of the table; created if missing.
        schema: of the table.
        numbered: see :func:`pulmospark.chunks.parts.link_parts`.
    """
    bulky = not _BULKY.isdisjoint(schema.names)
    group_rows = group_rows_of(schema)
    folder.mkdir(parents=True, exist_ok=True)
    for place, group in enumerate(file_groups(parts, bulky=bulky)):
        alone = len(group) == 1
        name = group[0].name if alone else f"{value_id([part.name for part in group])}.parquet"
        target = folder / (place_name(name, place) if numbered else name)
        if alone:
            files.link_or_copy(group[0], target)
        else:
            tables = (rows for part in group for rows in rows_where(part))
            write_rows(regrouped(tables, schema, group_rows), target)


def place_name(name: str, place: int) -> str:
    """A file's name that begins with its place: a billion of them sort by name as by number."""
    return f"{place:0{_PLACE_DIGITS}d}-{name}"
