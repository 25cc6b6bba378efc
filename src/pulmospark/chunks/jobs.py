"""Run jobs over shares of chunks, follow their workers' logs, and cancel them early."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from array import array
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pulmospark.chunks.executor import Executor, WorkerEndedError
from pulmospark.chunks.task import (
    ENDED,
    Name,
    PartFacts,
    Task,
    Unit,
    UnitRow,
    Work,
    error_from,
    line_of,
)
from pulmospark.chunks.work_folder import WorkFolder
from pulmospark.chunks.worker_check import Expected
from pulmospark.core import limits, store_limits
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.progress import Progress


@dataclass
class Logs:
    """The logs of a run's workers, read incrementally.

    Attributes:
        files: the work folder of the run.
        done: parts of each unit that has ended.
        begun: units that were begun and have not ended.
        errors: what tasks raised that no other try would mend.
        faults: what tasks raised for their machine's sake.
    """

    files: WorkFolder
    done: dict[Name, PartFacts] = field(default_factory=dict)
    begun: set[Name] = field(default_factory=set)
    errors: list[PulmosparkError] = field(default_factory=list)
    faults: list[PulmosparkError] = field(default_factory=list)
    _read: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Read new log lines."""
        for name, news in self.files.news(self._read):
            whole = news[: news.rfind(b"\n") + 1]  # a line may be half written
            self._read[name] = self._read.get(name, 0) + len(whole)
            for line in whole.splitlines():
                event, unit, content = json.loads(line)
                self._take(event, Name(*unit), content)

    def _take(self, event: str, name: Name, content: Any) -> None:
        if event == "begin":
            self.begun.add(name)
            return
        self.begun.discard(name)
        if event == "end":
            self.done[name] = [(table, file, rows) for table, file, rows in content]
        else:
            (self.errors if event == "error" else self.faults).append(error_from(content))


@dataclass
class Jobs:
    """Runs the jobs of one run of chunks, one after the other.

    Attributes:
        executor: runs the tasks.
        work: what is done with a chunk.
        files: the work folder of the run.
        progress: called with the number of rows done.
        wanted: of a worker; ``None``: it is on this machine.
    """

    executor: Executor
    work: Work
    files: WorkFolder
    progress: Progress
    wanted: Expected | None

    def __post_init__(self) -> None:
        self._logs = Logs(self.files)
        self._rows_done = 0
        self._counted: set[Name] = set()
        self._ended_idle = 0

    @property
    def done(self) -> dict[Name, PartFacts]:
        """Parts of each finished unit, over all jobs."""
        return self._logs.done

    def run_shares(
        self, units: Sequence[Unit], shares: Sequence[tuple[int, int]], *, alone: bool = False
    ) -> list[Unit]:
        """Run units in one job, one task per share.

        Args:
            units: what to do.
            shares: first unit and number of units of each task.
            alone: whether a unit that has ended one worker is left, not tried in another.

        Returns:
            Empty where all are done. Else a worker has ended, and these units were begun.

        Raises:
            PulmosparkError: what a task raised first, or the executor gave the job up.
        """
        self._logs.begun.clear()
        before = len(self.done)
        failure = self._job(units, shares, alone=alone)
        if failure is not None:  # else the answers of all tasks are there
            self._logs.look()
        if self._logs.errors:
            raise self._logs.errors[0]
        if failure is None:
            return [unit for unit in units if unit.name not in self.done]
        error = failure.failure if isinstance(failure, WorkerEndedError) else failure
        if self._logs.faults and _names(error, self._logs.faults[-1]):
            raise self._logs.faults[-1] from failure
        begun = [unit for unit in units if unit.name in self._logs.begun - self.done.keys()]
        if not isinstance(failure, WorkerEndedError):
            raise error from failure
        if begun:
            return begun
        # A worker that had begun nothing was ended from outside, or cannot start.
        self._ended_idle = 1 if len(self.done) > before else self._ended_idle + 1
        if self._ended_idle >= limits.ENDED_TRIES:
            raise error from failure
        left = [unit for unit in units if unit.name not in self.done]
        again = ((0, len(left)),) if alone else self.executor.shares(len(left))
        return self.run_shares(left, again, alone=alone) if left else []

    def run_alone(self, units: Sequence[Unit]) -> Unit | None:
        """Run units in one task, one after the other, and nothing else.

        Returns:
            The one that ended its worker, those after it not done; ``None``: all are done.
        """
        left = [unit for unit in units if unit.name not in self.done]
        if left and self.run_shares(left, ((0, len(left)),), alone=True):
            return next(unit for unit in left if unit.name not in self.done)
        return None

    def _job(
        self, units: Sequence[Unit], shares: Sequence[tuple[int, int]], *, alone: bool
    ) -> WorkerEndedError | PulmosparkError | None:
        """Run a job to its end or first error; returns why the executor gave it up."""
        plan, offsets = self._plan(units, shares)
        task = Task(
            work=self.work,
            files=self.files,
            offsets=offsets,
            plan=plan,
            wanted=self.wanted,
            marks=uuid.uuid4().hex if alone else None,
        )
        tag = f"pulmospark-{uuid.uuid4().hex}"
        with ThreadPoolExecutor(1, thread_name_prefix="chunks-job") as pool:
            job = pool.submit(self.executor.run, task, len(shares), tag)
            try:
                self._follow(job, units, tag)
            except BaseException:
                self.executor.cancel(tag)  # or the pool would wait for the job's end
                raise
        try:
            rows = job.result()
        except (WorkerEndedError, PulmosparkError) as failure:
            return failure
        for row in rows:
            if row.error == ENDED:
                continue
            if row.error:
                raise error_from(row.error)
            self.done[row.name] = row.parts
        return None

    def _follow(self, job: Future[list[UnitRow]], units: Sequence[Unit], tag: str) -> None:
        """Report progress until a job has ended; cancel it at the first error."""
        finished = threading.Event()
        job.add_done_callback(lambda _: finished.set())
        mine = {unit.name for unit in units}
        cancelled = False
        while not finished.wait(self.files.look_s):
            self._logs.look()
            for name in (self.done.keys() & mine) - self._counted:
                self._counted.add(name)
                self._rows_done += name.rows
            self.progress.to(self._rows_done)
            if self._logs.errors and not cancelled:
                cancelled = True
                self.executor.cancel(tag)

    def _plan(
        self, units: Sequence[Unit], shares: Sequence[tuple[int, int]]
    ) -> tuple[bytes | None, bytes]:
        """The plan if it is sent, else it is written; the start and end of each share's lines."""
        lines = (b"".join(map(line_of, units[at : at + size])) for at, size in shares)
        if not self.files.overlaps or len(units) > store_limits.SENT_UNITS_MAX:
            return None, array("q", self.files.write_plan(lines)).tobytes()
        sent = list(lines)
        offsets = array("q", itertools.accumulate(map(len, sent), initial=0))
        return b"".join(sent), offsets.tobytes()


def _names(error: PulmosparkError, fault: PulmosparkError) -> bool:
    """Whether a job failed because of a fault that a task wrote down."""
    return type(fault).__name__ in f"{type(error).__name__} {error.message} {error.detail}"
