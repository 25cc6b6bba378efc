"""The bytes of an archive, read by offset: of a file on this machine, or an object of a store."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass

from pulmospark.core import archive_limits
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.store.failures import ConflictError
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri


@dataclass(frozen=True)
class FileBytes:
    """Of a file that stays as it is: a changed one is an error, not other bytes."""

    path: str
    size: int
    modified_ns: int

    def read(self, start: int, length: int) -> bytes:
        """Bytes from an offset; fewer at the end.

        Raises:
            OSError: the machine fails, or the file was changed.
        """
        handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(handle, "rb", buffering=0) as file:
            facts = os.fstat(handle)
            if (facts.st_size, facts.st_mtime_ns) != (self.size, self.modified_ns):
                raise OSError(errno.ESTALE, "was changed while it was read", self.path)
            file.seek(start)
            pieces = []
            while length > 0 and (piece := file.read(length)):
                pieces.append(piece)
                length -= len(piece)
        return b"".join(pieces)


@dataclass(frozen=True)
class ObjectBytes:
    """Of an object that stays as it is."""

    uri: StoreUri
    size: int
    modified_ns: int
    etag: str | None

    def read(self, start: int, length: int) -> bytes:
        """Bytes from an offset; fewer at the end.

        Raises:
            SourceUnavailableError: the store fails, or the object was changed.
        """
        length = min(length, self.size - start)
        if length <= 0:
            return b""
        try:
            return open_store(self.uri).get_range(self.uri.key, start, length, self.etag)
        except ConflictError:
            raise SourceUnavailableError(
                f"{self.uri}: was changed while it was read: rerun the command"
            ) from None


ArchiveBytes = FileBytes | ObjectBytes


def archive_bytes(archive: str) -> ArchiveBytes:
    """The bytes of an archive as it is now.

    Args:
        archive: absolute path, or an address in a store.

    Raises:
        OSError: there is no such file.
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    if is_store_uri(archive):
        stored = open_store(uri := parse_uri(archive)).head(uri.key)
        return ObjectBytes(uri, stored.size_bytes, stored.modified_ns, stored.etag)
    facts = os.stat(archive)  # noqa: PTH116 - once for each file in it
    return FileBytes(archive, facts.st_size, facts.st_mtime_ns)


class Headers(io.RawIOBase):
    """An archive as a file for ``tarfile``, which reads headers and seeks over contents.

    A header that wants more than ``ARCHIVE_HEADER_BYTES_MAX`` is refused: ``tarfile`` would read
    it into memory whatever it says.
    """

    def __init__(self, source: ArchiveBytes) -> None:
        """Begin before the first header."""
        self._source = source
        self._place = 0
        self._start, self._held = 0, b""

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, without reading."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.size}
        self._place = base[whence] + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Bytes of a header.

        Raises:
            EOFError: it is too long.
        """
        if not 0 <= size <= archive_limits.ARCHIVE_HEADER_BYTES_MAX:
            raise EOFError(f"a header of {size:,} bytes")
        end = self._place + size
        if not self._start <= self._place or end > self._start + len(self._held):
            # Contents of images are skipped, and small ones read with the next header.
            self._start = self._place
            self._held = self._source.read(
                self._place, max(size, archive_limits.ARCHIVE_HEADER_BYTES_MAX // 16)
            )
        data = self._held[self._place - self._start : end - self._start]
        self._place += len(data)
        return data
