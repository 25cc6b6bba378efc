"""Executors on this machine, without Spark: a pool of processes, and this process itself."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from pulmospark.chunks.executor import WorkerEndedError
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.chunks.task import Task, UnitRow, error_from
from pulmospark.chunks.worker_check import Expected
from pulmospark.core.errors import PlatformError
from pulmospark.core.worker_process import WorkerProcess, start_workers


class _OnThisMachine:
    """What the executors on this machine share: nothing can differ between driver and worker."""

    slots = 1
    has_gpus = False
    is_here = True

    def executor_for(self, images: int) -> Self:
        """This one, for any number."""
        del images
        return self

    def for_networks(self) -> Self:
        """The same: a task needs no more for a network."""
        return self

    def sharing(self, store: SharedStore | None) -> Self:
        """The same: workers see this machine's copy of a run in a store."""
        del store
        return self

    def seen(self, folder: Path) -> Place:
        """The folder itself."""
        return folder

    def shares(self, count: int) -> Sequence[tuple[int, int]]:
        """One chunk a task: handing one out costs next to nothing."""
        return [(place, 1) for place in range(count)]

    def check(self, *, reads: Sequence[str] = (), folder: Place | None = None) -> None:
        """Nothing: workers have what this process has."""

    def expected(self, reads: Sequence[str]) -> Expected | None:
        """``None``: workers are on this machine."""
        del reads
        return None


class ThisProcess(_OnThisMachine):
    """Runs chunks in this process, one after the other, for a few images at a time.

    An image that ends its worker ends this process.
    """

    def __init__(self) -> None:
        self._cancelled: set[str] = set()

    def run(self, task: Task, shares: int, tag: str) -> list[UnitRow]:
        """See :class:`pulmospark.chunks.executor.Executor`."""
        rows: list[UnitRow] = []
        try:
            for row in task.outcomes_of(range(shares)):
                rows.append(row)
                if tag in self._cancelled or row.error is not None:
                    break
        except MemoryError as error:
            raise WorkerEndedError(_ended("out of memory")) from error
        return rows

    def cancel(self, tag: str) -> None:
        """End the job after the chunk in progress."""
        self._cancelled.add(tag)


class LocalPool(_OnThisMachine):
    """Runs chunks in processes on this machine, several threads in each.

    Decoders and networks work outside Python's interpreter lock, so the threads of a process run
    at the same time. As with Spark, a chunk that ends its process costs that process alone.

    The processes end with it.

    Args:
        slots: tasks that run at the same time; ``None``: one for each core.
        workers: processes that were started for it, in place of ``slots``.
    """

    def __init__(
        self, slots: int | None = None, *, workers: Sequence[WorkerProcess] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._workers = list(workers or start_workers(slots))
        self.slots = sum(len(worker.connections) for worker in self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def run(self, task: Task, shares: int, tag: str) -> list[UnitRow]:
        """See :class:`pulmospark.chunks.executor.Executor`."""
        del tag  # one job runs at a time
        with self._lock:
            self._workers = [worker.alive() for worker in self._workers]
            lanes = [(w, each) for w in self._workers for each in w.connections][:shares]
        # Each has a share before one has two, which it holds although another may be idle.
        further = iter(range(len(lanes), shares))
        stop = threading.Event()

        def follow(first: int, lane: tuple[WorkerProcess, Connection]) -> list[UnitRow]:
            try:
                return list(_rows(lane, task, itertools.chain((first,), further), stop))
            except BaseException:
                stop.set()  # the other lanes finish their chunk, and take no other
                raise

        with ThreadPoolExecutor(len(lanes), thread_name_prefix="chunks-lane") as pool:
            outcomes = [pool.submit(follow, *each) for each in enumerate(lanes)]
        failures = [error for each in outcomes if (error := each.exception()) is not None]
        # What a task raised says more than that a process has ended.
        for failure in sorted(failures, key=lambda error: isinstance(error, WorkerEndedError)):
            raise failure
        return [row for each in outcomes for row in each.result()]

    def cancel(self, tag: str) -> None:
        """End the processes at once; the next job starts others."""
        del tag
        with self._lock:
            for worker in self._workers:
                worker.kill()


def _rows(
    lane: tuple[WorkerProcess, Connection],
    task: Task,
    numbers: Iterator[int],
    stop: threading.Event,
) -> Iterator[UnitRow]:
    """Hand shares to a thread of a worker until none is left or the job is at its end."""
    worker, connection = lane
    try:
        connection.send(task)
        # Where a worker takes the next share while it is at one, it has to have it.
        under_way, most, left = 0, 1 + task.is_overlapped, True
        failure: str | None = None
        while left or under_way:
            while left and under_way < most:
                share = None if stop.is_set() else next(numbers, None)
                connection.send(share)
                left = share is not None
                under_way += left
            if not under_way:
                break
            reply = connection.recv()
            under_way -= 1
            yield from reply.rows
            failure = failure or reply.error
            if failure is not None or any(row.error is not None for row in reply.rows):
                stop.set()
        if failure is not None:
            raise error_from(failure)
    except (EOFError, OSError) as error:
        raise WorkerEndedError(_ended(worker.last_words())) from error


def _ended(how: str) -> PlatformError:
    return PlatformError(
        f"a worker process ended without an error message ({how}), probably out of memory: give "
        "the command more, or run fewer tasks at once with --master local[1], then rerun the "
        "command"
    )
