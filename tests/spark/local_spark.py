"""A stand-in for a Spark session that runs tasks in this process, one after the other.

It is for tests of the driver's side of a job: which tasks it starts, what it makes of their rows,
and of a worker that ends. What Spark itself does is tested with Spark.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
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

    def __init__(self, slots: int, master: str) -> None:
        self.defaultParallelism = slots
        self.master = master
        self.tags: dict[int, str] = {}
        self.cancelled: list[str] = []
        status = SimpleNamespace(size=lambda: 1)
        java = SimpleNamespace(getExecutorMemoryStatus=lambda: status)
        self._jsc = SimpleNamespace(sc=lambda: java)

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
        self.sparkContext = Context(slots, master)
        self.jobs: list[tuple[int, object]] = []
        self.attempts = attempts
        self.pause_s = 0.0

    def range(self, start: int, end: int, step: int, *, numPartitions: int) -> _Indices:  # noqa: N803
        assert (start, step, numPartitions) == (0, 1, end)
        return _Indices(self, end)

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

    def addTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self._context.addJobTag(tag)

    def interruptTag(self, tag: str) -> None:  # noqa: N802 - Spark's name
        self._context.cancelJobsWithTag(tag)

    def stopped(self) -> bool:
        return self._context.tags.get(threading.get_ident()) in self._context.cancelled


class _Indices:
    def __init__(self, spark: LocalSpark, count: int) -> None:
        self._spark, self._count = spark, count

    def mapInArrow(  # noqa: N802 - Spark's name
        self,
        task: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
        schema: str,
        profile: object = None,
    ) -> _Frame:
        names = [column.split()[0] for column in schema.split(", ")]
        if type(task).__name__ == "SparkTask":
            self._spark.jobs.append((self._count, profile))
        return _Frame(self._spark, self._count, task, names)


class _Frame:
    def __init__(self, spark: LocalSpark, count: int, task: Any, names: list[str]) -> None:
        self._spark, self._count, self._task, self._names = spark, count, task, names

    def collect(self) -> list[dict[str, Any]]:
        """Rows of all tasks.

        Raises:
            RuntimeError: a task failed, in the words of Spark's error.
        """
        return [row for index in range(self._count) for row in self._rows_of(index)]

    def _rows_of(self, index: int) -> list[dict[str, Any]]:
        for attempt in range(self._spark.attempts):
            if self._spark.stopped():
                raise RuntimeError("Job cancelled")
            time.sleep(self._spark.pause_s)
            batch = pa.RecordBatch.from_pydict({"id": pa.array([index], pa.int64())})
            rows: list[dict[str, Any]] = []
            try:
                for answer in self._task(iter([batch])):
                    assert answer.schema.names == self._names
                    rows += answer.to_pylist()
            except Exception as error:
                if attempt + 1 == self._spark.attempts:
                    raise RuntimeError(_FAILED + traceback.format_exc()) from error
                continue
            return rows
        raise AssertionError("no attempt was made")
