"""Code that runs on the workers: process a share chunk by chunk, and log each.

The driver of a job that failed has no answer from its tasks. So each worker process keeps a log
in the run's folder: what it has begun and not ended is what ended the process, and what it has
ended need not be done again.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

import pulmospark
from pulmospark.chunks.parts import write_part
from pulmospark.chunks.work_list import Chunk, read_chunk
from pulmospark.chunks.worker_check import Expected, check_worker
from pulmospark.core import errors
from pulmospark.core.errors import PlatformError, PulmosparkError, SourceUnavailableError
from pulmospark.core.files import disk_errors, write_bytes

PLAN = "plan.jsonl"
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


@dataclass(frozen=True)
class Task:
    """What an executor sends to its workers; its size is independent of the list.

    Attributes:
        work: what to do.
        folder: for the parts.
        run: folder of this run, with the plan and the workers' logs.
        offsets: int64, where the lines of each share begin in the plan, and where they end.
        wanted: of a worker, before it begins; ``None``: it is on the driver's machine.
        marks: name of the job where a chunk that has ended one process is not tried in
            another; ``None``: Spark tries it again.
    """

    work: Work
    folder: str
    run: str
    offsets: bytes
    wanted: Expected | None = None
    marks: str | None = None

    def outcomes(self, share: int) -> Iterator[UnitRow]:
        """Run the units of a share, up to the first error.

        Args:
            share: its number.

        Yields:
            The row of each unit, when it has ended.

        Raises:
            SourceUnavailableError: this machine cannot read the plan or a chunk.
        """
        for unit in self._units(share):
            parts, error = self._run(unit)
            yield UnitRow(unit.name, parts, error)
            if error is not None:
                return  # the job is at its end

    def _units(self, share: int) -> list[Unit]:
        start, end = np.frombuffer(self.offsets, np.int64)[share : share + 2].tolist()
        plan = Path(self.run) / PLAN
        try:
            with plan.open("rb") as file:
                file.seek(start)
                lines = file.read(end - start).splitlines()
        except OSError as error:
            raise SourceUnavailableError(
                f"{platform.node()}: cannot read {plan}, written by the driver: "
                f"{error.strerror}: mount the output's folder there at the same path"
            ) from error
        return [unit_from(line) for line in lines]

    def _run(self, unit: Unit) -> tuple[PartFacts, str | None]:
        with disk_errors(Path(self.folder)):
            if self.marks is not None and self._was_begun(unit):
                return [], ENDED
            log = Path(self.run) / log_name()
            write_down(log, "begin", unit)
        try:
            if self.wanted is not None:
                check_worker(self.wanted)
            parts = self._parts(unit)
        except MemoryError:
            raise  # as though the system had ended the process: the chunk is taken apart
        except SourceUnavailableError as error:
            # Raised, so that Spark tries it again, on another machine where it can.
            write_down(log, "fault", unit, error_row(error))
            raise
        except Exception as error:  # noqa: BLE001 - handed to the driver, which raises it
            # Raised, Spark would try a lost cause four times and bury its line in a Java stack.
            text = error_row(error)
            write_down(log, "error", unit, text)
            return [], text
        write_down(log, "end", unit, parts)
        if self.marks is not None:
            self._mark(unit, "ended").touch()
        return parts, None

    def _was_begun(self, unit: Unit) -> bool:
        """Whether an earlier attempt began the chunk and did not return; marks it as begun."""
        try:
            self._mark(unit, "begun").touch(exist_ok=False)
        except FileExistsError:
            return not self._mark(unit, "ended").exists()
        return False

    def _mark(self, unit: Unit, event: str) -> Path:
        return Path(self.run) / f"{self.marks}-{'-'.join(map(str, unit.name))}.{event}"

    def _parts(self, unit: Unit) -> PartFacts:
        rows = _rows_of(unit.chunk, self.work.columns)
        with disk_errors(Path(self.folder)):
            return write_parts(Path(self.folder), self.work.key(rows), lambda: self.work(rows))


def _rows_of(chunk: Chunk, columns: Sequence[str] | None) -> pa.Table:
    try:
        return read_chunk(chunk, columns)
    except OSError as error:
        raise SourceUnavailableError(
            f"{platform.node()}: cannot read {chunk.path}: {error.strerror or error}; check that "
            "machine's mounts, then rerun the command"
        ) from error


def write_parts(folder: Path, key: str, work: Callable[[], Mapping[str, pa.Table]]) -> PartFacts:
    """Write the result of ``work()``, unless an earlier run has."""
    record = folder / f"{key}.done"
    if record.is_file():
        kept = json.loads(record.read_text(encoding="utf-8"))
        return [(table, name, rows) for table, name, rows in kept]
    parts: PartFacts = []
    for table, rows in work().items():
        if rows.num_rows:
            name = f"{table}-{key}.parquet"
            write_part(rows, folder / name)
            parts.append((table, name, rows.num_rows))
    write_bytes(record, json.dumps(parts).encode())
    return parts


def line_of(unit: Unit) -> bytes:
    """A unit as a line of the plan."""
    return json.dumps([unit.place, *astuple(unit.chunk)]).encode() + b"\n"


def unit_from(line: bytes) -> Unit:
    """The unit that :func:`line_of` wrote."""
    place, *chunk = json.loads(line)
    return Unit(place, Chunk(*chunk))


def log_name() -> str:
    """Name of this process's log, unique even if machines share a name."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:16]
    return f"{host}-{os.getpid()}.log"


def write_down(log: Path, event: str, unit: Unit, content: Any = None) -> None:
    """Append a line to a worker's log."""
    line = json.dumps([event, unit.name, content]).encode() + b"\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


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
