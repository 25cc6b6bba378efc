"""Find the image that ends its worker, by splitting failing chunks until one image is left.

A worker ends without an error message when the system ends it for want of memory, or when a
decoder's native code crashes. Spark then gives the whole job up, and knows no more than that a
process is gone. Their logs say which chunks were at work. These are run in one task, one after
the other: the first that is not done is the one that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pulmospark.chunks.jobs import Jobs
from pulmospark.chunks.task import Unit, Work, write_parts
from pulmospark.chunks.work_list import read_chunk
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError


@runtime_checkable
class Rejecting(Work, Protocol):
    """Work on files, each of which may be rejected."""

    def rejects(self, rows: pa.Table, detail: str) -> Mapping[str, pa.Table]:
        """The output for rows that each ended their worker."""
        ...


class Isolation:
    """Splits chunks that end their workers.

    Args:
        jobs: of the run.

    Attributes:
        pieces: of each chunk that was taken apart, by its place; in their order, all done.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.pieces: dict[int, list[Unit]] = {}
        self._jobs = jobs
        self._failed_jobs = 0
        self._in_a_row = 0
        self._done = 0

    def take_apart(self, suspects: Sequence[Unit]) -> None:
        """Find the running chunk that ends its worker, and the image in it.

        Where none does when it is alone, all of them are done: it was their number.

        Raises:
            PlatformError: an image that cannot be rejected ended its worker, or so many
                did that it is the machine's fault.
            PulmosparkError: what a task raised.
        """
        self._count_failure()
        culprit = suspects[0] if len(suspects) == 1 else self._jobs.run_alone(suspects)
        if culprit is None:
            return
        waiting, kept = _cut(culprit), []
        tries = 0
        while (culprit := self._jobs.run_alone(waiting)) is not None:
            self._count_failure()
            place = waiting.index(culprit)
            kept += waiting[:place]
            rest = waiting[place + 1 :]
            if culprit.chunk.rows > 1:
                waiting = [*_cut(culprit), *rest]
                continue
            tries = tries + 1 if place == 0 and tries else 1
            if tries < limits.ENDED_TRIES:
                waiting = [culprit, *rest]
                continue
            self._reject(culprit)
            kept.append(culprit)
            waiting, tries = rest, 0
        self.pieces[waiting[0].place if waiting else kept[0].place] = [*kept, *waiting]

    def _count_failure(self) -> None:
        self._failed_jobs += 1
        if self._failed_jobs > limits.FAILED_JOBS_MAX:
            raise PlatformError(
                f"{self._failed_jobs} jobs failed because their workers ended, over the "
                f"limit of {limits.FAILED_JOBS_MAX}: {_MEMORY}"
            )

    def _reject(self, unit: Unit) -> None:
        """Write an image's reject in place of its output, under the same name."""
        if len(self._jobs.done) > self._done:
            self._in_a_row = 0
        self._in_a_row += 1
        rows = read_chunk(unit.chunk, self._jobs.work.columns)
        name = (
            str(rows["uri"][0])
            if "uri" in rows.column_names
            else f"row {unit.chunk.first} of row group {unit.chunk.row_group} of {unit.chunk.path}"
        )
        ended = f"ended the worker that read it, {limits.ENDED_TRIES} times, alone in its task"
        work = self._jobs.work
        if not isinstance(work, Rejecting) or self._in_a_row > limits.ENDED_IN_A_ROW_MAX:
            several = f" (image {self._in_a_row} in a row)" if self._in_a_row > 1 else ""
            raise PlatformError(f"{name}: {ended}{several}: {_MEMORY}")
        files = self._jobs.files
        with files.errors():
            parts = write_parts(files, work.key(rows), lambda: work.rejects(rows, ended))
        self._jobs.done[unit.name] = parts
        self._done = len(self._jobs.done)


_MEMORY = (
    "give the workers more memory, or run fewer at once with --master local[1], then rerun the "
    "command"
)


def _cut(unit: Unit) -> list[Unit]:
    return [Unit(unit.place, piece) for piece in unit.chunk.cut(limits.ISOLATION_PIECES)]
