"""Writes a list of files, to a disk or a store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import store_limits
from pulmospark.core.files import disk_errors, whole_file
from pulmospark.core.schemas import MANIFEST
from pulmospark.store.object_file import put_object
from pulmospark.store.uri import StoreUri


class ListWriter:
    """Writes row groups of ``core.schemas.MANIFEST``.

    Attributes:
        files: that hold them, in order: one on a disk, and in a store objects of at most
            ``store_limits.LIST_ROWS_MAX`` rows.
        states: of those in a store, see :func:`pulmospark.store.object_file.state_of_object`.
    """

    def __init__(self) -> None:
        self.files: list[Path | StoreUri] = []
        self.states: dict[str, tuple[int, int]] = {}

    def write(self, group: pa.Table) -> None:
        """Append a row group."""
        raise NotImplementedError


class _OnDisk(ListWriter):
    def __init__(self, target: Path, writer: pq.ParquetWriter) -> None:
        super().__init__()
        self.files.append(target)
        self._writer = writer

    def write(self, group: pa.Table) -> None:
        self._writer.write_table(group, row_group_size=group.num_rows)


class _InStore(ListWriter):
    def __init__(self, folder: StoreUri) -> None:
        super().__init__()
        self._folder = folder
        self._groups: list[pa.Table] = []

    def write(self, group: pa.Table) -> None:
        if sum(map(len, self._groups)) + len(group) > store_limits.LIST_ROWS_MAX:
            self.flush()
        self._groups.append(group)

    def flush(self) -> None:
        if not self._groups:
            return
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, MANIFEST) as writer:
            for group in self._groups:
                writer.write_table(group, row_group_size=group.num_rows)
        uri = self._folder / f"{len(self.files):06d}.parquet"
        self.states[str(uri)] = put_object(uri, sink.getvalue().to_pybytes())
        self.files.append(uri)
        self._groups = []


@contextlib.contextmanager
def list_writer(target: Path | StoreUri) -> Iterator[ListWriter]:
    """Write a list of files.

    Memory holds a row group, and with an address those of one object.

    Args:
        target: the Parquet file, which appears atomically, its folder created if missing; or
            the address of a folder for such files.

    Raises:
        PlatformError: the disk is full, or the target's folder is not writable.
        SourceUnavailableError: the store fails.
    """
    if isinstance(target, StoreUri):
        stored = _InStore(target)
        yield stored
        stored.flush()
        return
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as aside, pq.ParquetWriter(aside, MANIFEST) as writer:
            yield _OnDisk(target, writer)
