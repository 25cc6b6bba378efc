"""Rows of a manifest as tables; knows no layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice

import pyarrow as pa

from pulmospark.core import limits
from pulmospark.core.schemas import MANIFEST
from pulmospark.layouts.base import ManifestRow

_COLUMNS = tuple(field.name for field in fields(ManifestRow))


def row_groups(rows: Iterable[ManifestRow]) -> Iterator[pa.Table]:
    """Rows in order, as tables of at most ``limits.LIST_GROUP_ROWS`` rows."""
    left = iter(rows)
    while group := list(islice(left, limits.LIST_GROUP_ROWS)):
        yield table_of(group)


def table_of(rows: Sequence[ManifestRow]) -> pa.Table:
    """Rows as a table of ``core.schemas.MANIFEST``."""
    columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    return pa.Table.from_pydict(columns, schema=MANIFEST)
