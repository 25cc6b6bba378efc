"""Paths as Spark takes them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pulmospark.spark.paths import spark_path


@pytest.mark.spark
@pytest.mark.parametrize("name", ["plain", "with space", "50%25 häuser", "a+b#c"])
def test_spark_finds_what_lies_there(name: str, spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    pq.write_table(pa.table({"n": [1, 2]}), folder / "part.parquet")
    assert spark.read.parquet(spark_path(folder)).count() == 2


def test_paths_of_databricks_are_not_taken_for_local_files() -> None:
    assert spark_path(Path("/Volumes/c/s/v/x")) == "/Volumes/c/s/v/x"
    assert spark_path(Path("/dbfs/mnt/x")) == "dbfs:/mnt/x"
    assert spark_path(Path("/data/x")) == "file:///data/x"
