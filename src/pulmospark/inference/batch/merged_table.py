"""Merges the small parts of a table in a store into fewer files, while their rows pass by."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.compaction import place_name, regrouped, write_options
from pulmospark.chunks.parquet_files import Place
from pulmospark.core import lake_limits
from pulmospark.core.hashing import value_id
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri


class MergedTable:
    """Files of ``lake_limits.COMPACT_ROWS`` rows and the rest; none without rows.

    The same parts give the same files under the same names, so that a run that was killed while it
    published writes them over its own. Memory holds the rows of one file.

    Args:
        address: folder of the table.
        schema: of the table.
    """

    def __init__(self, address: StoreUri, schema: pa.Schema) -> None:
        self._address, self._schema = address, schema
        self._parts: list[str] = []
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._files: dict[str, int] = {}

    def add(self, part: Place, rows: pa.Table) -> None:
        """Take the rows of the next part.

        Raises:
            SourceUnavailableError: the store fails.
        """
        self._parts.append(part.name)
        self._tables.append(rows)
        self._rows += rows.num_rows
        if self._rows >= lake_limits.COMPACT_ROWS:
            self._write()

    def end(self) -> dict[str, int]:
        """Write the rest; name of each file -> its rows, in order.

        Raises:
            SourceUnavailableError: the store fails.
        """
        if self._rows:
            self._write()
        return self._files

    def _write(self) -> None:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, self._schema, **write_options(self._schema)) as writer:
            for rows in regrouped(self._tables, self._schema, lake_limits.COMPACT_GROUP_ROWS):
                writer.write_table(rows, row_group_size=rows.num_rows)
        name = place_name(f"{value_id(self._parts)}.parquet", len(self._files))
        uri = self._address / name
        open_store(uri).put(uri.key, sink.getvalue().to_pybytes())
        self._files[name] = self._rows
        self._parts, self._tables, self._rows = [], [], 0
