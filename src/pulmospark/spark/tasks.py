"""Run a function in tasks of Spark, with the least that Spark has to do for it.

On a classic session it is a job of plain RDDs: a first one with DataFrames loads and compiles
Spark SQL, two seconds of a core that chunks have no use for. Spark Connect has DataFrames alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pulmospark.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.resource import ResourceProfile
    from pyspark.sql import SparkSession

Function = Callable[[int], Iterable[str]]
"""what a task does, from its number to its answers; a frozen dataclass of plain values"""


@dataclass(frozen=True)
class _OnRows:
    function: Function

    def __call__(self, numbers: Iterable[int]) -> Iterator[str]:
        for number in numbers:
            yield from self.function(number)


@dataclass(frozen=True)
class _OnBatches:
    function: Function

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for answer in self.function(number):
                    yield pa.RecordBatch.from_arrays([pa.array([answer])], names=["answer"])


def run_tasks(
    spark: SparkSession, function: Function, count: int, *, profile: ResourceProfile | None = None
) -> list[str]:
    """Run ``function(0)`` to ``function(count - 1)``, a task each; returns all their answers.

    Args:
        spark: the session.
        function: sent to the executors.
        count: tasks.
        profile: resources of a task, such as GPUs; ``None``: those of the session.

    Raises:
        Exception: Spark's own, for :func:`pulmospark.spark.failures.job_failure`.
    """
    if is_connect(spark):
        indices = spark.range(0, count, 1, numPartitions=count)
        frame = indices.mapInArrow(_OnBatches(function), "answer string", profile=profile)
        return [row["answer"] for row in frame.collect()]
    numbers = spark.sparkContext.parallelize(range(count), count)
    answers = numbers.mapPartitions(_OnRows(function))
    if profile is not None:
        answers = answers.withResources(profile)
    return answers.collect()
