"""The sinks of every prediction."""

from __future__ import annotations

from pulmospark.inference.batch.sinks.base import ResultSink
from pulmospark.inference.batch.sinks.csv_sink import CsvSink
from pulmospark.inference.batch.sinks.json_sink import JsonSink
from pulmospark.inference.batch.sinks.parquet_sink import ParquetSink

SINKS: tuple[type[ResultSink], ...] = (ParquetSink, CsvSink, JsonSink)
"""in the order in which they are called"""
