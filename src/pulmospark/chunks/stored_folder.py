"""A work folder in a store, for executors that share nothing else.

Objects cannot be appended to, and each request waits: so a log is a row of small objects, the last
of which is written anew with each line, and the driver lists them once a second and reads what has
grown. The answers themselves come back with the job, so that 100,000 chunks are not 100,000 reads.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyarrow as pa

from pulmospark.chunks.parts import write_part
from pulmospark.core import store_limits
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.prefetch import read_many
from pulmospark.store.store import Store, StoredObject, in_parallel, open_store
from pulmospark.store.uri import StoreUri

TAG = "tag"
"""object of a work folder with what the names of its parts end with"""
_TAG_CHARS = 12


@dataclass(frozen=True)
class StoredFolder:
    """Plan, logs, marks, records and parts as objects; see :class:`.work_folder.WorkFolder`.

    Attributes:
        folder: for records and what else an unfinished run leaves.
        tables: address below which each table has a folder for its parts.
        run: address of this run's plan, logs and marks.
        tag: ends the names of parts: a killed run finds its own again, and a later one writes no
            file that an older version of the table names.
        is_new: whether no run had begun there, so that none has left a record.
    """

    folder: StoreUri
    tables: StoreUri
    run: StoreUri
    tag: str
    is_new: bool = False
    overlaps = True
    look_s = store_limits.LOG_LOOK_S

    @classmethod
    def begun(cls, folder: StoreUri, tables: StoreUri | None = None) -> StoredFolder:
        """Begin a run: take or make the folder's tag.

        Raises:
            SourceUnavailableError: the store fails, or does not allow to write there.
        """
        tag, is_new = _tag_of(folder)
        run = folder / "runs" / uuid.uuid4().hex
        return cls(folder, tables or folder / "parts", run, tag, is_new)

    @staticmethod
    def records(folder: StoreUri) -> Iterator[bytes]:
        """The records of finished chunks."""
        listed = open_store(folder).list((folder / "done").prefix)
        for content in read_many((record.uri, record.size_bytes) for record in listed):
            if isinstance(content, bytes):
                yield content

    def errors(self) -> AbstractContextManager[None]:
        """Nothing: the store's own errors are ours already."""
        return contextlib.nullcontext()

    def part(self, file: str, table: str) -> StoreUri:
        """Below the table's folder, so that a commit of the table only has to name it."""
        return self.tables / table / file

    def write_plan(self, shares: Iterable[bytes]) -> list[int]:
        """Into one object, of some 150 bytes a chunk."""
        content, offsets = bytearray(), [0]
        for lines in shares:
            content += lines
            offsets.append(len(content))
        self._put(self.run / "plan", bytes(content))
        return offsets

    def read_plan(self, start: int, end: int) -> bytes:
        """See :meth:`.work_folder.WorkFolder.read_plan`."""
        plan = self.run / "plan"
        return self._store.get_range(plan.key, start, end - start) if end > start else b""

    def news(self, read: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Lists the logs, and reads those that have grown, several at once."""
        logs = self.run / "logs"
        grown = [
            log
            for log in self._store.list(logs.prefix)
            if log.size_bytes > read.get(log.uri.name, 0)
        ]

        def further(log: StoredObject) -> tuple[str, bytes]:
            start = read.get(log.uri.name, 0)
            return log.uri.name, self._store.get_range(log.uri.key, start, log.size_bytes - start)

        yield from in_parallel(further, grown)

    def write_down(self, line: bytes) -> None:
        """See :meth:`.work_folder.WorkFolder.write_down`."""
        _LOG.append(self.run / "logs", line)

    def mark(self, name: str) -> bool:
        """An object that only one process can create."""
        try:
            # Unlike another's: a repeated request would take an equal one for its own.
            self._store.put_new((self.run / f"marks/{name}").key, uuid.uuid4().bytes)
        except ConflictError:
            return False
        return True

    def is_marked(self, name: str) -> bool:
        """Whether the object is there."""
        return self._get(self.run / f"marks/{name}") is not None

    def record(self, key: str) -> bytes | None:
        """See :meth:`.work_folder.WorkFolder.record`."""
        return self._get(self.folder / f"done/{key}")

    def write_record(self, key: str, content: bytes) -> None:
        """As one object."""
        self._put(self.folder / f"done/{key}", content)

    def write_part(self, table: str, key: str, rows: pa.Table) -> str:
        """Where the table's commit will find it."""
        name = f"{table}-{key}-{self.tag}.parquet"
        write_part(rows, self.part(name, table))
        return name

    def end(self) -> None:
        """See :meth:`.work_folder.WorkFolder.end`; what killed runs left goes with it."""
        self._store.delete_below(self.run.parent.prefix)

    @property
    def _store(self) -> Store:
        return open_store(self.folder)

    def _put(self, uri: StoreUri, content: bytes) -> None:
        self._store.put(uri.key, content)

    def _get(self, uri: StoreUri) -> bytes | None:
        try:
            return self._store.get(uri.key)
        except ObjectMissingError:
            return None


def _tag_of(folder: StoreUri) -> tuple[str, bool]:
    """The folder's tag, and whether it is new."""
    store, key = open_store(folder), (folder / TAG).key
    tag = uuid.uuid4().hex[:_TAG_CHARS]
    try:
        store.put_new(key, tag.encode())
    except ConflictError:  # of an unfinished run
        return store.get(key).decode(), False
    return tag, True


class _Log:
    """The log object that this process is writing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: StoreUri | None = None
        self._name = ""
        self._content = b""

    def append(self, folder: StoreUri, line: bytes) -> None:
        with self._lock:
            if self._folder != folder or len(self._content) >= store_limits.LOG_BYTES_MAX:
                self._folder, self._name, self._content = folder, f"{uuid.uuid4().hex}.log", b""
            self._content += line
            open_store(folder).put((folder / self._name).key, self._content)


_LOG = _Log()
