"""Predictions and rejects as Parquet tables."""

from __future__ import annotations

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
            folder = output.folder / table
            chunks.link_parts(output.parts[table], folder, numbered=True)
            if not output.parts[table]:
                chunks.write_empty(schema, folder)
