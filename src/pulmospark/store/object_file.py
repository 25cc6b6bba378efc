"""An object as a file for readers that seek, such as Parquet's."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from pulmospark.core import store_limits
from pulmospark.store.store import Store, open_store
from pulmospark.store.uri import StoreUri


class ObjectFile(io.RawIOBase):
    """Reads ranges of an object, each with one request; a small object as a whole.

    obstore's own reader raises other errors than :class:`Store`, and reads in equal pieces.

    Args:
        uri: of the object.
        state: its time in ns and size in bytes; ``None``: they are asked for.

    Raises:
        ObjectMissingError: there is none.
        SourceUnavailableError: the store fails.

    Example:
        >>> pq.ParquetFile(ObjectFile(uri), pre_buffer=True).read_row_group(3)  # doctest: +SKIP
    """

    def __init__(self, uri: StoreUri, state: tuple[int, int] | None = None) -> None:
        self._store: Store = open_store(uri)
        self._uri = uri
        if state is None:
            stored = self._store.head(uri.key)
            state = (stored.modified_ns, stored.size_bytes)
        self._modified_ns, self._size = state
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place; no request."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, or all that are left, with one request."""
        left = max(self._size - self._at, 0)
        length = left if size is None or size < 0 else min(size, left)
        if not length:
            return b""
        data = self._bytes(self._at, length)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """As :meth:`read`, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _bytes(self, start: int, length: int) -> bytes:
        if self._size > store_limits.WHOLE_BYTES_MAX:
            return self._store.get_range(self._uri.key, start, length)
        return _whole(self._uri, self._modified_ns, self._size)[start : start + length]


@lru_cache(maxsize=4)
def _whole(uri: StoreUri, _modified_ns: int, _size: int) -> bytes:
    """Kept, because a footer is read first, and then the rows."""
    return open_store(uri).get(uri.key)
