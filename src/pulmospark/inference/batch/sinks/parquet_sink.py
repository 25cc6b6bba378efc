"""Predictions and rejects as Parquet tables, which are Delta tables as well."""

from __future__ import annotations

from pathlib import Path

from pulmospark import chunks
from pulmospark.core import schemas
from pulmospark.inference.batch.sinks.base import Output, ResultSink

SCHEMAS = {"predictions": schemas.PREDICTIONS, "rejects": schemas.REJECTS}


class ParquetSink(ResultSink):
    """Links the parts that the tasks wrote into the tables' folders; copies no row."""

    name = "parquet"

    def begin(self, output: Output) -> None:
        """Publish the parts, numbered in the order of the images."""
        for table, schema in SCHEMAS.items():
            parts = [place for place in output.parts[table] if isinstance(place, Path)]
            chunks.publish_table(parts, output.folder / table, schema, numbered=True)
