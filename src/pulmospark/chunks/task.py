"""Code that runs on the workers: process a share chunk by chunk, and log each.

The driver of a job that failed has no answer from its tasks. So each worker process keeps a log
in the run's folder: what it has begun and not ended is what ended the process, and what it has
ended need not be done again.

Where the work folder is in a store, the next chunk is read, and the one before written, while a
chunk is worked on (:mod:`.overlap`).
"""

from __future__ import annotations

import functools
import gc
import json
import platform
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

import pulmospark
from pulmospark.chunks.overlap import overlapped, setting
from pulmospark.chunks.work_folder import WorkFolder
from pulmospark.chunks.work_list import Chunk, read_chunk
from pulmospark.chunks.worker_check import Expected, check_worker
from pulmospark.core import errors
from pulmospark.core.errors import PlatformError, PulmosparkError, SourceUnavailableError

ENDED = "ended"
"""in place of an error: the chunk ended the process that an earlier attempt ran in"""
PartFacts = list[tuple[str, str, int]]
"""table, file name and rows of each part"""


class Work(Protocol):
    """The work on a chunk; a frozen dataclass of plain values, sent to the workers."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Columns to read; ``None``: all."""
        ...

    def key(self, chunk: pa.Table) -> str:
        """Name of the chunk's output: differs wherever the output would."""
        ...

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """The output: table name -> rows."""
        ...


@runtime_checkable
class Prefetching(Work, Protocol):
    """Work that reads more than its chunk, and can begin to while another chunk is worked on."""

    def prefetch(self, chunk: pa.Table) -> Any:
        """Begin to read; called in another thread than the work."""
        ...

    def work_on(self, chunk: pa.Table, fetched: Any) -> Mapping[str, pa.Table]:
        """The output, as of a call, from what :meth:`prefetch` returned."""
        ...


class Name(NamedTuple):
    """Names a unit."""

    place: int
    """of its chunk among those of the run"""
    first: int
    """row, in the row group"""
    rows: int


@dataclass(frozen=True)
class Unit:
    """The unit of logging and retries: a chunk, or a piece of one.

    Attributes:
        place: of the chunk among those of the run.
        chunk: its rows, or some of them.
    """

    place: int
    chunk: Chunk

    @property
    def name(self) -> Name:
        """Another for each piece of a chunk."""
        return Name(self.place, self.chunk.first, self.chunk.rows)


class UnitRow(NamedTuple):
    """The outcome of a unit.

    Attributes:
        name: of the unit.
        parts: that it wrote.
        error: from :func:`error_row`, or ``ENDED``; ``None``: it has succeeded.
    """

    name: Name
    parts: PartFacts
    error: str | None


class _Begun(NamedTuple):
    """A unit whose rows were read."""

    unit: Unit
    rows: pa.Table | None = None
    key: str = ""
    kept: PartFacts | None = None
    """parts that an earlier run wrote"""
    fetched: Any = None
    """of :meth:`Prefetching.prefetch`"""
    error: BaseException | None = None
    """raised so far"""
    ended: bool = False
    """whether it has ended a process"""


class _Worked(NamedTuple):
    """A unit that was worked on."""

    begun: _Begun
    tables: Mapping[str, pa.Table]
    error: BaseException | None = None


@dataclass(frozen=True)
class Task:
    """What an executor sends to its workers; its size is independent of the list.

    Attributes:
        work: what to do.
        files: the work folder of this run.
        offsets: int64, where the lines of each share begin in the plan, and where they end.
        wanted: of a worker, before it begins; ``None``: it is on the driver's machine.
        marks: name of the job where a chunk that has ended one process is not tried in
            another; ``None``: Spark tries it again.
        plan: the lines of a short one; ``None``: they are in the work folder.
    """

    work: Work
    files: WorkFolder
    offsets: bytes
    wanted: Expected | None = None
    marks: str | None = None
    plan: bytes | None = None

    def outcomes(self, *shares: int) -> Iterator[UnitRow]:
        """Run the units of shares, up to the first error.

        Args:
            shares: their numbers.

        Yields:
            The row of each unit, when it has ended.

        Raises:
            SourceUnavailableError: this machine cannot read the plan or a chunk.
        """
        yield from self.outcomes_of(shares)

    @property
    def is_overlapped(self) -> bool:
        """Whether the next unit is begun while one is worked on."""
        # What ended a process must not be one of several.
        return self.files.overlaps and self.marks is None

    def outcomes_of(
        self, shares: Iterable[int], failed: threading.Event | None = None
    ) -> Iterator[UnitRow]:
        """As :meth:`outcomes`; where units overlap, shares are taken in a thread, one ahead.

        Args:
            shares: their numbers.
            failed: is set before anything is raised, so that taking a share need not be waited
                for.
        """
        failed = failed or threading.Event()
        units_of, begin = setting(failed, self._units), setting(failed, self._begin)
        finish = setting(failed, self._finish)
        units = (unit for share in shares for unit in units_of(share))
        if self.is_overlapped:
            rows = overlapped(units, begin, self._work_on, finish)
        else:
            rows = (finish(self._work_on(begin(unit))) for unit in units)
        for row in rows:
            yield row
            if row.error is not None:
                return  # the job is at its end

    def _units(self, share: int) -> list[Unit]:
        start, end = np.frombuffer(self.offsets, np.int64)[share : share + 2].tolist()
        here = self.plan
        lines = self.files.read_plan(start, end) if here is None else here[start:end]
        return [unit_from(line) for line in lines.splitlines()]

    def _begin(self, unit: Unit) -> _Begun:
        if self.is_overlapped:
            with ThreadPoolExecutor(2, thread_name_prefix="begin") as pool:
                noted = pool.submit(self._write_down, "begin", unit)
                begun = self._read(unit, pool)
                noted.result()  # before it is worked on, which may end the process
            return begun
        with self.files.errors():
            if self.marks is not None and self._was_begun(unit):
                return _Begun(unit, ended=True)
            self._write_down("begin", unit)
        return self._read(unit, None)

    def _read(self, unit: Unit, pool: ThreadPoolExecutor | None) -> _Begun:
        """A unit's rows, and its parts or what it reads.

        Args:
            unit: which.
            pool: where requests to a store overlap.
        """
        fetched = None
        try:
            if self.wanted is not None:
                check_worker(self.wanted)
            rows = _rows_of(unit.chunk, self.work.columns)
            key = self.work.key(rows)
            if pool is not None and isinstance(self.work, Prefetching):
                record = pool.submit(recorded_parts, self.files, key)
                # Where a run was killed it is finished, most likely, and nothing need be read.
                if self.files.is_new or record.result() is None:
                    fetched = self.work.prefetch(rows)
                kept = record.result()
            else:
                with self.files.errors():
                    kept = recorded_parts(self.files, key)
        except Exception as error:  # noqa: BLE001 - raised again by _finish
            return _Begun(unit, error=error)
        return _Begun(unit, rows, key, kept, fetched)

    def _work_on(self, begun: _Begun) -> _Worked:
        if begun.error is not None or begun.kept is not None or begun.ended:
            return _Worked(begun, {}, begun.error)
        try:
            with self.files.errors():
                if begun.fetched is not None and isinstance(self.work, Prefetching):
                    return _Worked(begun, self.work.work_on(begun.rows, begun.fetched))
                return _Worked(begun, self.work(begun.rows))
        except Exception as error:  # noqa: BLE001 - raised again by _finish
            return _Worked(begun, {}, error)

    def _finish(self, worked: _Worked) -> UnitRow:
        begun = worked.begun
        unit = begun.unit
        if begun.ended:
            return UnitRow(unit.name, [], ENDED)
        try:
            if worked.error is not None:
                raise worked.error
            parts = begun.kept
            if parts is None:
                with self.files.errors():
                    parts = write_tables(self.files, begun.key, worked.tables)
        except MemoryError:
            raise  # as though the system had ended the process: the chunk is taken apart
        except SourceUnavailableError as error:
            # Raised, so that Spark tries it again, on another machine where it can.
            self._write_down("fault", unit, error_row(error))
            raise
        except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
            # Raised, Spark would try a lost cause four times and bury its line in a Java stack.
            text = error_row(error)
            self._write_down("error", unit, text)
            return UnitRow(unit.name, [], text)
        self._write_down("end", unit, parts)
        if self.marks is not None:
            self.files.mark(self._mark(unit, "ended"))
        return UnitRow(unit.name, parts, None)

    def _write_down(self, event: str, unit: Unit, content: Any = None) -> None:
        self.files.write_down(json.dumps([event, unit.name, content]).encode() + b"\n")

    def _was_begun(self, unit: Unit) -> bool:
        """Whether an earlier attempt began the chunk and did not return; marks it as begun."""
        if self.files.mark(self._mark(unit, "begun")):
            return False
        return not self.files.is_marked(self._mark(unit, "ended"))

    def _mark(self, unit: Unit, event: str) -> str:
        return f"{self.marks}-{'-'.join(map(str, unit.name))}.{event}"


def _rows_of(chunk: Chunk, columns: Sequence[str] | None) -> pa.Table:
    try:
        return read_chunk(chunk, columns)
    except OSError as error:
        raise SourceUnavailableError(
            f"{platform.node()}: cannot read {chunk.path}: {error.strerror or error}; check that "
            "machine's mounts, then rerun the command"
        ) from error


def write_parts(
    files: WorkFolder, key: str, work: Callable[[], Mapping[str, pa.Table]]
) -> PartFacts:
    """Write the result of ``work()``, unless an earlier run has."""
    kept = recorded_parts(files, key)
    return write_tables(files, key, work()) if kept is None else kept


def recorded_parts(files: WorkFolder, key: str) -> PartFacts | None:
    """The parts of a finished chunk; ``None``: it is not finished."""
    record = files.record(key)
    if record is None:
        return None
    return [(table, name, rows) for table, name, rows in json.loads(record)]


def write_tables(files: WorkFolder, key: str, tables: Mapping[str, pa.Table]) -> PartFacts:
    """Write the parts of a chunk, and then its record."""
    parts = [
        (table, files.write_part(table, key, rows), rows.num_rows)
        for table, rows in tables.items()
        if rows.num_rows
    ]
    files.write_record(key, json.dumps(parts).encode())
    return parts


def line_of(unit: Unit) -> bytes:
    """A unit as a line of the plan."""
    return json.dumps([unit.place, *astuple(unit.chunk)]).encode() + b"\n"


def unit_from(line: bytes) -> Unit:
    """The unit that :func:`line_of` wrote."""
    place, path, group, rows, first, state = json.loads(line)
    return Unit(place, Chunk(path, group, rows, first, state and tuple(state)))


@functools.cache  # once per worker
def settle_worker() -> None:
    """Exclude imported objects from garbage collection.

    Spark's worker collects after every task, and would traverse all objects of a few large
    libraries, which takes longer than a short task.
    """
    gc.freeze()


def error_row(error: Exception) -> str:
    """The error being handled, as text for the driver."""
    kind = error if isinstance(error, PulmosparkError) else None
    if kind is not None:
        message = kind.message
    elif isinstance(error, ImportError):
        message = (
            f"{platform.node()}: {sys.executable} cannot import {error.name or 'a module'} "
            f"({error}): install pulmospark {pulmospark.__version__} with its requirements there"
        )
    else:
        message = f"{type(error).__name__}: {error}"
    return json.dumps(
        {
            "kind": type(kind or PlatformError("")).__name__,
            "message": message,
            "detail": traceback.format_exc(),
        }
    )


def error_from(text: str) -> PulmosparkError:
    """The error that :func:`error_row` wrote down."""
    fields: dict[str, Any] = json.loads(text)
    kind: type[PulmosparkError] = getattr(errors, fields["kind"], PlatformError)
    return kind(fields["message"], detail=fields["detail"])
