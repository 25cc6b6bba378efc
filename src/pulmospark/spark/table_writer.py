"""``df.write.format("pulmospark")``: a DataFrame as the next version of a Delta table.

Tasks write Parquet files where no reader of the table looks, and return their names; the driver
commits those of the tasks that ended well, as one entry of the log. So readers of the log see all
rows or none, whatever was killed. On a disk the files lie in a hidden folder until the commit; in
a store, where nothing can be renamed, under names that no version has.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql.datasource import DataSourceArrowWriter, WriterCommitMessage

from pulmospark.chunks.compaction import group_rows_of, regrouped, write_options
from pulmospark.chunks.parquet_files import Place
from pulmospark.core import files, lake_limits
from pulmospark.core.delta_log import LOG, delta_type
from pulmospark.core.errors import InputError, PulmosparkError, UsageError
from pulmospark.lake.append import commit_files, is_committed
from pulmospark.lake.table import find_table
from pulmospark.store.append_log import NewFile
from pulmospark.store.probe import is_probe
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


def table_writer(place: Place, schema: StructType, *, replace: bool) -> TableWriter:
    """The writer of a DataFrame, once the table is checked.

    Args:
        place: folder of the table, or its address; created if missing.
        schema: of the DataFrame.
        replace: whether it replaces the table's rows and columns; else its rows are added.

    Raises:
        UsageError: a column's type is none of a table's.
        InputError: the table has other columns, or is partitioned, or something else is there.
        PlatformError: deltalake is missing, or the disk fails.
        SourceUnavailableError: the store fails.
    """
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415 - pandas

    columns = to_arrow_schema(schema, timezone="UTC")
    for field in columns:
        try:
            delta_type(field.type)
        except TypeError:
            raise UsageError(
                f"{place}: column {field.name!r} has type {field.type}, which the format "
                "pulmospark does not write: cast it, or drop it"
            ) from None
    table = find_table(place)
    if table is None:
        _check_empty(place)
    elif partitions := table.metadata().partition_columns:
        raise InputError(
            f"{place}: is partitioned by {', '.join(partitions)}, which the format pulmospark "
            "does not write: save to another table"
        )
    elif not replace:
        columns = _as_table(columns, table.to_pyarrow_dataset().schema, place)
    return TableWriter(place, columns, replace=replace)


@dataclass
class _Written(WriterCommitMessage):
    """Files that a task has written."""

    files: tuple[NewFile, ...]


class TableWriter(DataSourceArrowWriter):
    """Writes files in tasks, and commits them on the driver.

    Args:
        place: folder of the table, or its address.
        schema: of the files.
        replace: whether they replace the table's rows and columns.
    """

    def __init__(self, place: Place, schema: pa.Schema, *, replace: bool) -> None:
        self._place, self._schema, self._replace = place, schema, replace
        self._tag = f"spark-{uuid.uuid4().hex[:12]}"
        """names the files of this write, and its transaction"""

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        """Write a task's rows; holds one file of ``lake_limits.SINK_PART_BYTES``.

        Raises:
            InputError: a column that must not be null is.
            PlatformError: no space, or no right to write there.
            SourceUnavailableError: the store fails.
        """
        context = TaskContext.get()
        task = f"{context.partitionId() if context else 0:06}-{uuid.uuid4().hex[:12]}"
        written = []
        for number, (content, rows) in enumerate(self._contents(iterator)):
            name = f"{self._tag}-{task}-{number:04}.parquet"
            self._put(name, content)
            written.append(NewFile(name, len(content), rows))
        return _Written(tuple(written))

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Make the files of all tasks the table's next version.

        Raises:
            ConflictError: other writers committed faster, again and again.
            InputError: the table was given other columns meanwhile.
            PlatformError: the disk fails.
            SourceUnavailableError: the store fails.
        """
        written = [file for each in messages if isinstance(each, _Written) for file in each.files]
        if isinstance(self._place, Path):
            with files.disk_errors(self._place):
                self._place.mkdir(parents=True, exist_ok=True)
                for file in written:
                    if not (self._place / file.name).exists():  # as when it is asked for again
                        (self._aside / file.name).rename(self._place / file.name)
        commit_files(
            self._place, written, self._schema, app_id=self._app_id, replace=self._replace
        )
        with contextlib.suppress(PulmosparkError):  # of attempts that failed: no version has them
            self._sweep({file.name for file in written})

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:  # noqa: ARG002
        """Remove what the tasks wrote, those that failed included.

        Where a commit was asked for and the store did not answer, the files may be the table's:
        they stay if nobody knows.

        Raises:
            PlatformError: the disk fails.
            SourceUnavailableError: the store fails.
        """
        if not is_committed(self._place, self._app_id):
            self._sweep(set())

    @property
    def _app_id(self) -> str:
        return f"pulmospark.{self._tag}"

    @property
    def _aside(self) -> Path:
        """Folder of files on a disk before the commit; readers skip names with an underscore."""
        assert isinstance(self._place, Path)
        return self._place / f"_{self._tag}"

    def _put(self, name: str, content: bytes) -> None:
        if isinstance(self._place, StoreUri):
            open_store(self._place).put((self._place / name).key, content)
            return
        with files.disk_errors(self._place):
            self._aside.mkdir(parents=True, exist_ok=True)
            with files.whole_file(self._aside / name) as target:
                target.write_bytes(content)

    def _sweep(self, kept: set[str]) -> None:
        """Remove this write's files but for those that are kept."""
        if isinstance(self._place, StoreUri):
            store = open_store(self._place)
            listed = store.list(f"{self._place.prefix}{self._tag}")
            for uri in [entry.uri for entry in listed if entry.uri.name not in kept]:
                store.delete(uri.key)
            return
        with files.disk_errors(self._place):
            shutil.rmtree(self._aside, ignore_errors=True)
            for path in self._place.glob(f"{self._tag}-*"):
                if path.name not in kept:
                    path.unlink(missing_ok=True)

    def _contents(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[bytes, int]]:
        """The content of each file, and its rows."""
        schema, sink, rows, size = self._schema, pa.BufferOutputStream(), 0, 0
        writer: pq.ParquetWriter | None = None
        tables = (self._checked(batch) for batch in batches)
        for group in regrouped(tables, schema, group_rows_of(schema)):
            if writer is None:
                sink, rows, size = pa.BufferOutputStream(), 0, 0
                writer = pq.ParquetWriter(sink, schema, **write_options(schema))
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
            size += group.nbytes
            if size >= lake_limits.SINK_PART_BYTES:
                writer.close()
                writer = None
                yield sink.getvalue().to_pybytes(), rows
        if writer is not None:
            writer.close()
            yield sink.getvalue().to_pybytes(), rows

    def _checked(self, batch: pa.RecordBatch) -> pa.Table:
        columns = []
        for field in self._schema:
            column = batch.column(field.name).cast(field.type)
            if column.null_count and not field.nullable:
                raise InputError(
                    f"{self._place}: column {field.name!r} must not be null, but is in "
                    f"{column.null_count:,} of {len(column):,} rows: fill or filter them"
                )
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=self._schema)


def _as_table(columns: pa.Schema, table: pa.Schema, place: Place) -> pa.Schema:
    """A DataFrame's columns as the table has them, in the table's order.

    Raises:
        InputError: the table lacks one, has one that is not nullable more, or of another type.
    """
    for field in columns:
        if field.name not in table.names:
            raise InputError(
                f"{place}: has no column {field.name!r}; its columns are "
                f"{', '.join(table.names)}: drop it, or save to another table"
            )
        if not _is_same(field.type, table.field(field.name).type):
            raise InputError(
                f"{place}: column {field.name!r} has type {table.field(field.name).type}, not "
                f"{field.type}: cast it, or save to another table"
            )
    for field in table:
        if field.name not in columns.names and not field.nullable:
            raise InputError(
                f"{place}: column {field.name!r} must not be null, and the DataFrame has no such "
                "column: add it, or save to another table"
            )
    return pa.schema([field for field in table if field.name in columns.names])


def _is_same(first: pa.DataType, second: pa.DataType) -> bool:
    """Whether two types are the same to Delta, whatever their elements are called."""
    return bool(delta_type(_nullable(first)) == delta_type(_nullable(second)))


def _nullable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_nullable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _nullable(field.type)) for field in kind])
    return kind


def _check_empty(place: Place) -> None:
    """Check that no other file lies where a table is to be created."""
    if isinstance(place, StoreUri):
        listed = (entry.uri for entry in open_store(place).list(place.prefix))
        other = next((uri.key for uri in listed if not is_probe(uri)), None)
    else:
        with files.disk_errors(place):
            there = place.iterdir() if place.is_dir() else iter(())
            other = next((path.name for path in there if path.name[0] not in "._"), None)
    if other is not None:
        raise InputError(
            f"{place}: is not empty ({other!r:.100}), and no Delta table (it has no {LOG}): save "
            "to another folder"
        )
