"""What a task may use."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from pulmospark.spark.task_cores import task_cores


def test_outside_of_spark_it_is_one() -> None:
    assert task_cores() == 1


@pytest.mark.spark
def test_in_a_task_it_is_what_spark_gives_it(spark: SparkSession) -> None:
    def cores(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from pulmospark.spark.task_cores import task_cores

        for frame in frames:
            yield frame.assign(id=task_cores())

    asked = int(spark.conf.get("spark.task.cpus", "1") or 1)
    rows = spark.range(3).mapInPandas(cores, "id bigint").collect()
    assert {row["id"] for row in rows} == {asked}
