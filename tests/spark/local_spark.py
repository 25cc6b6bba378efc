"""A stand-in for a Spark session that runs tasks in this process, one after the other.

It is for tests of the driver's side of a job: which tasks it starts, what it makes of their rows,
and of a worker that ends. What Spark itself does is tested with Spark.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

_FAILED = (
    "Job aborted due to stage failure: Task 1 in stage 0.0 failed 1 times, most recent failure: "
    "Lost task 1.0 in stage 0.0 (TID 1) (worker-7 executor 2): "
)


class Conf:
    """Settings of a session."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: str) -> str:
        return self.values.get(key, default)

    def set(self, key: str, value: str) -> None:
        self.values[key] = value


class Context:
    """The part of a SparkContext that jobs of chunks use."""

    def __init__(self, spark: LocalSpark, slots: int, master: str) -> None:
        self._spark = spark
        self.defaultParallelism = slots
        self.master = master
        self.tags: dict[int, str] = {}
        self.cancelled: list[str] = []
        status = SimpleNamespace(size=lambda: 1)
        java = SimpleNamespace(getExecutorMemoryStatus=lambda: status)
        self._jsc = SimpleNamespace(sc=lambda: java)

    def parallelize(self, numbers: range, count: int) -> _Numbers:
        assert numbers == range(count)
        return _Numbers(self._spark, count)

    def addJobTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self.tags[threading.get_ident()] = tag

    def cancelJobsWithTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self.cancelled.append(tag)


class LocalSpark:
    """A classic session.

    Attributes:
        jobs: of each job of :class:`pulmospark.spark.executor.SparkTask` s, the number of tasks,
            and the profile that it was given.
        attempts: how often a task is run whose worker ends.
    """

    def __init__(self, *, slots: int = 2, master: str = "local[2]", attempts: int = 1) -> None:
        self.conf = Conf()
        self.sparkContext = Context(self, slots, master)
        self.jobs: list[tuple[int, object]] = []
        self.attempts = attempts
        self.pause_s = 0.0

    def stopped(self) -> bool:
        """Whether the job of this thread was cancelled."""
        context = self.sparkContext
        return context.tags.get(threading.get_ident()) in context.cancelled


class ConnectSpark(LocalSpark):
    """The same by the names of Spark Connect, which has no ``sparkContext``."""

    __module__ = "pyspark.sql.connect.session"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._context = self.sparkContext
        del self.sparkContext
        self.conf.set("spark.default.parallelism", str(self._context.defaultParallelism))

    def range(self, start: int, end: int, step: int, *, numPartitions: int) -> _Indices:  # noqa: N803
        assert (start, step, numPartitions) == (0, 1, end)
        return _Indices(self, end)

    def addTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self._context.addJobTag(tag)

    def interruptTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self._context.cancelJobsWithTag(tag)

    def stopped(self) -> bool:
        return self._context.tags.get(threading.get_ident()) in self._context.cancelled


class _Numbers:
    """An RDD of the numbers of its partitions."""

    def __init__(self, spark: LocalSpark, count: int, profile: object = None) -> None:
        self._spark, self._count, self._profile = spark, count, profile
        self._task: Any = None

    def mapPartitions(self, task: Any) -> _Numbers:  # noqa: N802 - Spark's name
        self._task = task
        return self

    def withResources(self, profile: object) -> _Numbers:  # noqa: N802 - Spark's name
        self._profile = profile
        return self

    def collect(self) -> list[str]:
        """Answers of all tasks.

        Raises:
            RuntimeError: a task failed, in the words of Spark's error.
        """
        return _run(self._spark, self._count, self._profile, self._task, lambda index: [index])


class _Indices:
    """A DataFrame of the numbers of its partitions."""

    def __init__(self, spark: LocalSpark, count: int, profile: object = None) -> None:
        self._spark, self._count, self._profile = spark, count, profile
        self._task: Any = None

    def mapInArrow(  # noqa: N802 - Spark's name
        self, task: Any, schema: str, profile: object = None
    ) -> _Indices:
        assert schema == "answer string"
        self._task, self._profile = task, profile
        return self

    def collect(self) -> list[dict[str, str]]:
        """Rows of all tasks; raises as the RDD does."""

        def batches(index: int) -> list[pa.RecordBatch]:
            return [pa.RecordBatch.from_pydict({"id": pa.array([index], pa.int64())})]

        answers = _run(self._spark, self._count, self._profile, self._task, batches)
        return [row for answer in answers for row in answer.to_pylist()]


def _run(
    spark: LocalSpark, count: int, profile: object, task: Any, rows: Callable[[int], list[Any]]
) -> list[Any]:
    if type(task.function).__name__ == "SparkTask":
        spark.jobs.append((count, profile))
    return [answer for index in range(count) for answer in _answers(spark, task, rows(index))]


def _answers(spark: LocalSpark, task: Any, rows: list[Any]) -> list[Any]:
    for attempt in range(spark.attempts):
        if spark.stopped():
            raise RuntimeError("Job cancelled")
        time.sleep(spark.pause_s)
        try:
            return list(task(iter(rows)))
        except Exception as error:
            if attempt + 1 == spark.attempts:
                raise RuntimeError(_FAILED + traceback.format_exc()) from error
    raise AssertionError("no attempt was made")
