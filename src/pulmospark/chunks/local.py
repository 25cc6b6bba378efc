"""Executors on this machine, without Spark: a pool of processes, and this process itself."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Self

from pulmospark.chunks.executor import WorkerEndedError
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.chunks.task import Task, UnitRow, error_from
from pulmospark.chunks.worker_check import Expected
from pulmospark.core import limits, machine
from pulmospark.core.errors import PlatformError
from pulmospark.core.python_path import SAFE_PATH

_MAIN = "from pulmospark.chunks.local_worker import main; main()"
"""not ``-m``: messages name the classes of the module, which would then be ``__main__``"""
_TAIL_BYTES = 4096


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

    The processes start at once and import ``preload`` meanwhile; they end with it.

    Args:
        slots: tasks that run at the same time; ``None``: one for each core.
        preload: modules that tasks need, or ``module:function`` to call one without arguments.
    """

    def __init__(self, slots: int | None = None, *, preload: Sequence[str] = ()) -> None:
        self.slots = slots or machine.cores()
        self._preload = tuple(preload)
        self._lock = threading.Lock()
        sizes = [
            min(limits.LOCAL_THREADS_MAX, self.slots - start)
            for start in range(0, self.slots, limits.LOCAL_THREADS_MAX)
        ]
        self._workers = [_Worker(size, self._preload) for size in sizes]

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

        def follow(first: int, lane: tuple[_Worker, Connection]) -> list[UnitRow]:
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
    lane: tuple[_Worker, Connection], task: Task, numbers: Iterator[int], stop: threading.Event
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


class _Worker:
    """A process with a connection for each of its threads."""

    def __init__(self, threads: int, preload: tuple[str, ...]) -> None:
        self._preload = preload
        pairs = [Pipe() for _ in range(threads)]
        self.connections: list[Any] = [ours for ours, _ in pairs]
        theirs = [their for _, their in pairs]
        numbers = [their.fileno() for their in theirs]
        # What C libraries and a crash write there is shown only if the process ends.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _MAIN),
                *(",".join(map(str, numbers)), ",".join(preload)),
            ],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            env={**os.environ, **machine.ONE_THREAD, SAFE_PATH: "1"},
            start_new_session=True,  # Ctrl-C is for the driver, which ends the job
        )
        for their in theirs:
            their.close()

    def alive(self) -> _Worker:
        """This worker, or another if it has ended."""
        if self._process.poll() is None and not self._errors.closed:
            return self
        self.end()
        return _Worker(len(self.connections), self._preload)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End the process, and close what belongs to it."""
        self.kill()
        self._errors.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.close()

    def last_words(self) -> str:
        """How the process has ended."""
        code = self._process.wait()
        if code < 0:
            return signal.Signals(-code).name
        if self._errors.closed:
            return f"exit status {code}"
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - _TAIL_BYTES, 0))
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), f"exit status {code}")
        return last.strip()[:200]


def _ended(how: str) -> PlatformError:
    return PlatformError(
        f"a worker process ended without an error message ({how}), probably out of memory: give "
        "the command more, or run fewer tasks at once with --master local[1], then rerun the "
        "command"
    )
