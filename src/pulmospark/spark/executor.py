"""The executor that runs chunks as tasks of Spark jobs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.chunks.executor import WorkerEndedError
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.chunks.task import Name, Task, UnitRow, settle_worker
from pulmospark.chunks.worker_check import Expected, expected
from pulmospark.core import limits
from pulmospark.core.arrow_start import spare_pandas
from pulmospark.spark.failures import ended_worker, job_errors, job_failure
from pulmospark.spark.gpus import executors_have_gpus, gpu_profile
from pulmospark.spark.preflight import on_this_machine, preflight, seen_here

if TYPE_CHECKING:
    from pyspark.resource import ResourceProfile
    from pyspark.sql import SparkSession

_SHARES_A_SLOT = 4


@dataclass(frozen=True)
class SparkTask:
    """The function that Spark sends to its executors."""

    task: Task

    def __call__(self, share: int) -> Iterator[str]:
        """A row for each unit of the share, up to the first error."""
        spare_pandas()
        for row in self.task.outcomes(share):
            yield json.dumps([row.name, row.parts, row.error])
            if row.error is not None:
                return  # the job is at its end
        settle_worker()


@dataclass(frozen=True)
class SparkExecutor:
    """Runs chunks in a Spark session; see :class:`pulmospark.chunks.executor.Executor`.

    Attributes:
        spark: the session.
        profile: resources of a task, such as GPUs; ``None``: those of the session.
        store: what executors on other machines share with the driver; ``None``: a file system.
    """

    spark: SparkSession
    profile: ResourceProfile | None = None
    store: SharedStore | None = None

    @property
    def slots(self) -> int:
        """Tasks that the session runs at once, as far as it reports."""
        from pulmospark.spark.session import slots  # noqa: PLC0415 - it needs pyspark

        with job_errors():
            return slots(self.spark)

    @property
    def has_gpus(self) -> bool:
        """Whether the session's executors were started with GPUs."""
        return executors_have_gpus(self.spark)

    @property
    def is_here(self) -> bool:
        """Whether the session's executors are on this machine."""
        with job_errors():
            return on_this_machine(self.spark)

    def executor_for(self, images: int) -> SparkExecutor:
        """This one, for any number."""
        del images
        return self

    def for_networks(self) -> SparkExecutor:
        """The same with a share of a GPU for each task, where executors have GPUs."""
        return replace(self, profile=gpu_profile(self.spark))

    def sharing(self, store: SharedStore | None) -> SparkExecutor:
        """The same for a run in a store."""
        return replace(self, store=store)

    def seen(self, folder: Path) -> Place:
        """The folder, or its address in the store if executors are on other machines."""
        return folder if self.store is None or self.is_here else self.store.place(folder)

    def check(self, *, reads: Sequence[str] = (), folder: Place | None = None) -> None:
        """See :func:`pulmospark.spark.preflight.preflight`."""
        preflight(self.spark, reads=reads, folder=folder)

    def expected(self, reads: Sequence[str]) -> Expected | None:
        """What a worker on another machine must have."""
        return None if self.is_here else expected(seen_here(reads))

    def shares(self, count: int) -> Sequence[tuple[int, int]]:
        """See :func:`shares_of`."""
        return shares_of(count, self.slots)

    def run(self, task: Task, shares: int, tag: str) -> list[UnitRow]:
        """Run a job of one task per share."""
        from pulmospark.spark.tasks import run_tasks  # noqa: PLC0415 - it needs pyspark

        try:
            # Of this thread. A tag of the classic session can be interrupted by its thread alone.
            if self._is_connect:
                self.spark.addTag(tag)
            else:
                self.spark.sparkContext.addJobTag(tag)
            answers = run_tasks(self.spark, SparkTask(task), shares, profile=self.profile)
        except Exception as error:
            failure = job_failure(error)
            if ended_worker(str(error)):
                raise WorkerEndedError(failure) from error
            raise failure from error
        return [_row_of(answer) for answer in answers]

    def cancel(self, tag: str) -> None:
        """Cancel the job with a tag."""
        with contextlib.suppress(Exception):  # the error that led here is what is raised
            if self._is_connect:
                self.spark.interruptTag(tag)
            else:
                self.spark.sparkContext.cancelJobsWithTag(tag)

    @property
    def _is_connect(self) -> bool:
        from pulmospark.spark.session import is_connect  # noqa: PLC0415 - it needs pyspark

        return is_connect(self.spark)


def _row_of(answer: str) -> UnitRow:
    name, parts, error = json.loads(answer)
    return UnitRow(Name(*name), [(table, file, rows) for table, file, rows in parts], error)


def shares_of(count: int, at_once: int) -> tuple[tuple[int, int], ...]:
    """Number of chunks of each task: many at first, one at the end.

    A task costs 10 to 40 ms, whatever it does; but the last ones must be small, or one slot
    works on while the others wait. So each takes a share of what is left ("guided
    self-scheduling", Polychronopoulos and Kuck 1987), at most ``limits.TASK_CHUNKS_MAX``.

    Args:
        count: chunks.
        at_once: tasks that run at the same time.

    Returns:
        First chunk and number of chunks of each task.
    """
    shares = []
    start = 0
    while start < count:
        size = (count - start) // (_SHARES_A_SLOT * at_once)
        size = max(1, min(size, limits.TASK_CHUNKS_MAX))
        shares.append((start, size))
        start += size
    return tuple(shares)
