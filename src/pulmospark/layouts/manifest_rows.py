"""Rows of a manifest as tables; knows no layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice

import pyarrow as pa

from pulmospark.core import limits
from pulmospark.core.schemas import MANIFEST
from pulmospark.layouts.base import ManifestRow, row_of
from pulmospark.layouts.names import FoundFile

_COLUMNS = tuple(field.name for field in fields(ManifestRow))


def row_groups(rows: Iterable[ManifestRow]) -> Iterator[pa.Table]:
    """Rows in order, as tables of at most ``limits.LIST_GROUP_ROWS`` rows."""
    left = iter(rows)
    while group := list(islice(left, limits.LIST_GROUP_ROWS)):
        yield table_of(group)


def file_groups(files: Iterable[tuple[FoundFile, str]]) -> Iterator[pa.Table]:
    """As :func:`row_groups`, of files of which only their source is known.

    A few times as fast: what is the same in all rows is made once for each table.
    """
    left = iter(files)
    while group := list(islice(left, limits.LIST_GROUP_ROWS)):
        some = table_of([row_of(*group[0])])
        columns = {
            "uri": [file.uri for file, _ in group],
            "source": [source for _, source in group],
            "size_bytes": [file.size_bytes for file, _ in group],
            "modified_ns": [file.modified_ns for file, _ in group],
            "problem": [file.problem for file, _ in group],
        }
        yield pa.table(
            [
                pa.array(columns[field.name], field.type)
                if field.name in columns
                else pa.repeat(some[field.name][0], len(group))
                for field in MANIFEST
            ],
            schema=MANIFEST,
        )


def table_of(rows: Sequence[ManifestRow]) -> pa.Table:
    """Rows as a table of ``core.schemas.MANIFEST``."""
    columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    return pa.Table.from_pydict(columns, schema=MANIFEST)
