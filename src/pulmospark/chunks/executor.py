"""The seam between work on chunks and what runs it: Spark, or processes on this machine.

:class:`Executor` has two implementations that give the same parts: :mod:`.local`, and
``pulmospark.spark.executor``. Everything else about a job (plan, logs, retries of what ends a
worker, publishing) is above the seam and exists once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.chunks.task import Task, UnitRow
from pulmospark.chunks.worker_check import Expected
from pulmospark.core.errors import PulmosparkError


class WorkerEndedError(Exception):
    """A worker ended without an error message, and its job with it.

    Attributes:
        failure: the error to raise where no chunk is to blame.
    """

    def __init__(self, failure: PulmosparkError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Workers(Protocol):
    """What may run the chunks of a stage: an executor, or a choice between executors."""

    def check(self, *, reads: Sequence[str] = (), folder: Place | None = None) -> None:
        """Check before the work that workers have the package, the input and the output.

        Args:
            reads: folders, files and addresses that tasks read.
            folder: that tasks write to, created if missing, or its address.

        Raises:
            PlatformError: a worker lacks something; the line names its machine.
        """
        ...

    def executor_for(self, images: int) -> Executor:
        """The executor for so many images."""
        ...


class Executor(Workers, Protocol):
    """Runs the tasks of a job, several at a time."""

    @property
    def slots(self) -> int:
        """Tasks that run at the same time; at least 1."""
        ...

    @property
    def has_gpus(self) -> bool:
        """Whether a network runs on GPUs here."""
        ...

    @property
    def is_here(self) -> bool:
        """Whether tasks run on this machine, and see its files as this process does."""
        ...

    def for_networks(self) -> Executor:
        """The same for tasks that run a network, which get a share of a GPU where there is one."""
        ...

    def sharing(self, store: SharedStore | None) -> Executor:
        """The same for a run in a store, which is all that workers elsewhere share.

        Args:
            store: of the run; ``None``: the run is in a folder, which workers mount.
        """
        ...

    def seen(self, folder: Path) -> Place:
        """Where workers find a work folder of the driver's: under its path, or at an address."""
        ...

    def expected(self, reads: Sequence[str]) -> Expected | None:
        """What a worker must have when it begins a chunk; ``None``: it runs on this machine."""
        ...

    def shares(self, count: int) -> Sequence[tuple[int, int]]:
        """How chunks are distributed over tasks.

        Args:
            count: of chunks.

        Returns:
            First chunk and number of chunks of each task.
        """
        ...

    def run(self, task: Task, shares: int, tag: str) -> list[UnitRow]:
        """Run all shares of a task, and wait for their end.

        Args:
            task: what is run on each share.
            shares: their number; one task each.
            tag: name of the job, for :meth:`cancel`.

        Returns:
            A row for each unit that was run.

        Raises:
            WorkerEndedError: a worker ended without an error message.
            PulmosparkError: a task raised it, or the job could not be run.
        """
        ...

    def cancel(self, tag: str) -> None:
        """End a job early, from another thread than the one that runs it; never raises."""
        ...
