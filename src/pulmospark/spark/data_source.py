"""Spark's format ``pulmospark``: Delta tables as DataFrames and back, without a jar.

The driver reads the table's Delta log; tasks read its Parquet files with pyarrow, from a disk or a
store, and hand Arrow batches to Spark. It is written for PySpark's Python data source API (4.0),
which knows neither filters that are on by default nor the columns that a query uses: the option
``columns`` names them. :mod:`pulmospark.spark.table_writer` writes. Spark's own ``delta`` format
is faster where its jar is at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
)

from pulmospark.chunks.parquet_files import Place, open_parquet, place_of
from pulmospark.core import lake_limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.lake.table import TableFile, files_of, open_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

_OPTIONS = frozenset({"path", "version", "columns"})
_WRITE_OPTIONS = frozenset({"path"})


def register(spark: SparkSession) -> None:
    """Register the format where PySpark does not find it by itself, as before 4.0's look-up.

    Example:
        >>> register(spark)
        >>> spark.read.format("pulmospark").load("predictions/predictions").count()
        12
    """
    spark.dataSource.register(PulmosparkTables)


class PulmosparkTables(DataSource):
    """The data source; its options are ``path``, ``version`` and ``columns``.

    Example:
        >>> tables = spark.read.format("pulmospark").option("columns", "uri,prediction")
        >>> tables.option("version", 3).load("s3://hospital/out/predictions")
        >>> frame.write.format("pulmospark").mode("append").save("s3://hospital/out/reviewed")
    """

    @classmethod
    def name(cls) -> str:
        """The name of the format."""
        return "pulmospark"

    def schema(self) -> StructType:
        """The columns of the version that is read.

        Raises:
            UsageError: no path, an unknown option, or a version that is no number.
            InputError: there is no such table, version or column.
        """
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - pandas

        return from_arrow_schema(self._opened()[0])

    def reader(self, schema: StructType) -> DataSourceReader:
        """Reader of the version's files."""
        table, files = self._opened()
        return _Reader(files, _columns(table, schema.names))

    def writer(self, schema: StructType, overwrite: bool) -> DataSourceArrowWriter:
        """Writer of a DataFrame as the table's next version.

        Args:
            schema: of the DataFrame.
            overwrite: whether it replaces the table's rows and columns; else its rows are added.

        Raises:
            UsageError: no path, an option for reading, or a column's type is none of a table's.
            InputError: the table has other columns, or is partitioned, or something else is there.
        """
        from pulmospark.spark.table_writer import table_writer  # noqa: PLC0415 - to read needs less

        _, place = self._options(_WRITE_OPTIONS)
        return table_writer(place, schema, replace=overwrite)

    def _options(self, known: frozenset[str]) -> tuple[dict[str, str], Place]:
        options = {key.lower(): str(value) for key, value in self.options.items()}
        if unknown := options.keys() - known:
            raise UsageError(
                f"format pulmospark: unknown option {min(unknown)}: its options are "
                f"{', '.join(sorted(known))}"
            )
        if "path" not in options:
            raise UsageError("format pulmospark: name a table: load(path), or save(path)")
        return options, place_of(options["path"])

    def _opened(self) -> tuple[pa.Schema, list[TableFile]]:
        options, place = self._options(_OPTIONS)
        version = options.get("version")
        if version is not None and not version.isdigit():
            raise UsageError(f"format pulmospark: version {version!r}: must be a number from 0")
        table = open_table(place, None if version is None else int(version))
        schema, files = files_of(table, place)
        if "columns" in options:
            schema = _columns(schema, [name.strip() for name in options["columns"].split(",")])
        return schema, files


def _columns(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    if missing := next((name for name in names if name not in schema.names), None):
        raise InputError(
            f"format pulmospark: no column {missing!r}: the table's columns are "
            f"{', '.join(schema.names)}"
        )
    return pa.schema([schema.field(name) for name in names])


@dataclass
class _Files(InputPartition):
    """Files that one task reads."""

    files: tuple[TableFile, ...]


class _Reader(DataSourceReader):
    def __init__(self, files: Sequence[TableFile], schema: pa.Schema) -> None:
        self._files, self._schema = tuple(files), schema

    def partitions(self) -> Sequence[InputPartition]:
        """Files of ``limits.SOURCE_TASK_BYTES`` together, at least one; in the table's order."""
        tasks: list[list[TableFile]] = []
        size = lake_limits.SOURCE_TASK_BYTES
        for file in self._files:
            if size + file.size_bytes > lake_limits.SOURCE_TASK_BYTES:
                tasks.append([])
                size = 0
            tasks[-1].append(file)
            size += file.size_bytes
        return [_Files(tuple(files)) for files in tasks] or [_Files(())]

    def read(self, partition: InputPartition) -> Iterator[Any]:
        """Arrow batches of the partition's files, in order; holds one row group."""
        assert isinstance(partition, _Files)
        for file in partition.files:
            with open_parquet(place_of(file.place)) as parquet:
                there = [name for name in self._schema.names if name in parquet.schema_arrow.names]
                for batch in parquet.iter_batches(lake_limits.SOURCE_BATCH_ROWS, columns=there):
                    yield self._in_schema(batch, file)

    def _in_schema(self, batch: pa.RecordBatch, file: TableFile) -> pa.RecordBatch:
        """A batch with the columns of the partition's folder, and nulls for later columns."""
        columns = []
        for field in self._schema:
            if field.name in file.partition:
                value = pa.scalar(file.partition[field.name])
                column = pa.repeat(value, batch.num_rows).cast(field.type)
            elif field.name in batch.schema.names:
                column = batch.column(field.name).cast(field.type)
            else:
                column = pa.nulls(batch.num_rows, field.type)
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)
