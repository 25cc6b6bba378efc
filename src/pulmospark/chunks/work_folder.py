"""The folder that the driver and the workers of a run share: plan, logs, marks, records, parts.

:class:`WorkFolder` has two implementations: :class:`DiskFolder`, which every machine must mount,
and :class:`pulmospark.chunks.stored_folder.StoredFolder`, for executors that share nothing but a
store. Both resume: what a killed run has finished is found by its records.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.parts import write_part
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.core.files import disk_errors, write_bytes

PLAN = "plan.jsonl"
_RUN = ".run-"


class WorkFolder(Protocol):
    """What the driver and the workers of a run share; plain values, sent to the workers."""

    @property
    def overlaps(self) -> bool:
        """Whether reading and writing wait so long that other work is done meanwhile."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether it is certain that no earlier run has left a record."""
        ...

    @property
    def look_s(self) -> float:
        """Seconds between two looks of the driver at :meth:`news`."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turns what this folder's medium raises into one line with a remedy."""
        ...

    def part(self, file: str, table: str) -> Place:
        """Where a part lies."""
        ...

    def write_plan(self, shares: Iterable[bytes]) -> list[int]:
        """Write the lines of all shares; returns where each begins, and where the last ends."""
        ...

    def read_plan(self, start: int, end: int) -> bytes:
        """Lines of the plan.

        Raises:
            SourceUnavailableError: this machine cannot read it.
        """
        ...

    def news(self, read: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """The workers' logs that have grown.

        Args:
            read: name of a log -> bytes of it that were read.

        Yields:
            Name of a log, and its further bytes; the last line may be half written.
        """
        ...

    def write_down(self, line: bytes) -> None:
        """Append a line to this worker's log; it is there when this returns."""
        ...

    def mark(self, name: str) -> bool:
        """Leave a mark; ``False``: it was there already, of whatever process."""
        ...

    def is_marked(self, name: str) -> bool:
        """Whether a mark is there."""
        ...

    def record(self, key: str) -> bytes | None:
        """The record of a finished chunk; ``None``: it is not finished."""
        ...

    def write_record(self, key: str, content: bytes) -> None:
        """Write the record of a chunk, all of whose parts are there."""
        ...

    def write_part(self, table: str, key: str, rows: pa.Table) -> str:
        """Write a part; returns its file's name."""
        ...

    def end(self) -> None:
        """Remove plan, logs and marks of this run; records and parts stay."""
        ...


@dataclass(frozen=True)
class DiskFolder:
    """A folder that every machine sees under the same path.

    Attributes:
        folder: for records and parts.
        run: folder of this run, for plan, logs and marks.
    """

    folder: str
    run: str
    overlaps = False
    is_new = False
    look_s = 0.25

    @classmethod
    def begun(cls, folder: Path) -> DiskFolder:
        """Create the folder of a run, and remove those of killed ones.

        Raises:
            PlatformError: no space, or no right to write there.
        """
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob(f"{_RUN}*"):
                shutil.rmtree(old, ignore_errors=True)
            run = folder / f"{_RUN}{uuid.uuid4().hex}"
            run.mkdir()
        return cls(str(folder), str(run))

    @staticmethod
    def records(folder: Path) -> Iterator[bytes]:
        """The records of finished chunks."""
        with disk_errors(folder):
            yield from (record.read_bytes() for record in folder.glob("*.done"))

    def errors(self) -> AbstractContextManager[None]:
        """A full disk, or no right to write there."""
        return disk_errors(Path(self.folder))

    def part(self, file: str, table: str) -> Path:
        """All parts lie next to each other."""
        del table
        return Path(self.folder) / file

    def write_plan(self, shares: Iterable[bytes]) -> list[int]:
        """Into one file."""
        offsets = [0]
        with self.errors(), (Path(self.run) / PLAN).open("wb") as file:
            for lines in shares:
                file.write(lines)
                offsets.append(file.tell())
        return offsets

    def read_plan(self, start: int, end: int) -> bytes:
        """See :meth:`WorkFolder.read_plan`."""
        plan = Path(self.run) / PLAN
        try:
            with plan.open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError as error:
            raise SourceUnavailableError(
                f"{platform.node()}: cannot read {plan}, written by the driver: "
                f"{error.strerror}: mount the output's folder there at the same path"
            ) from error

    def news(self, read: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """A look takes as long as there are worker processes and news, whatever the archive."""
        with os.scandir(self.run) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".log")]
        for name in names:
            # Opened each time: a network disk's listing may give an old size.
            with (Path(self.run) / name).open("rb") as file:
                file.seek(read.get(name, 0))
                if further := file.read():
                    yield name, further

    def write_down(self, line: bytes) -> None:
        """In one write, so that threads of a process may share its log."""
        log = Path(self.run) / log_name()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def mark(self, name: str) -> bool:
        """An empty file, which only one process can create."""
        try:
            (Path(self.run) / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def is_marked(self, name: str) -> bool:
        """Whether the file is there."""
        return (Path(self.run) / name).exists()

    def record(self, key: str) -> bytes | None:
        """See :meth:`WorkFolder.record`."""
        record = self._record(key)
        return record.read_bytes() if record.is_file() else None

    def write_record(self, key: str, content: bytes) -> None:
        """Atomically."""
        write_bytes(self._record(key), content)

    def write_part(self, table: str, key: str, rows: pa.Table) -> str:
        """Atomically, under a name that its content decides."""
        name = f"{table}-{key}.parquet"
        write_part(rows, Path(self.folder) / name)
        return name

    def end(self) -> None:
        """See :meth:`WorkFolder.end`."""
        shutil.rmtree(self.run, ignore_errors=True)

    def _record(self, key: str) -> Path:
        return Path(self.folder) / f"{key}.done"


def log_name() -> str:
    """Name of this process's log, unique even if machines share a name."""
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:16]
    return f"{host}-{os.getpid()}.log"
