"""An object as a file for readers that seek, such as Parquet's."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from pulmospark.core import store_limits
from pulmospark.core.hashing import value_id
from pulmospark.store.store import Store, open_store
from pulmospark.store.uri import StoreUri


class ObjectFile(io.RawIOBase):
    """Reads ranges of an object, each with one request; a small object as a whole.

    obstore's own reader raises other errors than :class:`Store`, and reads in equal pieces.

    Args:
        uri: of the object.
        state: from :func:`state_of_object`; ``None``: it is asked for.

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
            state = state_of_object(uri)
        version, self._size = state
        is_small = self._size <= store_limits.WHOLE_BYTES_MAX
        self._whole = _kept(uri, version, self._size) if is_small else None
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
        if self._whole is None:
            return self._store.get_range(self._uri.key, start, length)
        if not self._whole:
            self._whole.append(self._store.get(self._uri.key))
        return self._whole[0][start : start + length]


def state_of_object(uri: StoreUri) -> tuple[int, int]:
    """A number of an object's version, and its size in bytes.

    The number is of its etag, since a store's times are of seconds.

    Raises:
        ObjectMissingError: there is none.
        SourceUnavailableError: the store fails.
    """
    stored = open_store(uri).head(uri.key)
    if stored.etag is None:
        return stored.modified_ns, stored.size_bytes
    return _version_of(stored.etag), stored.size_bytes


def put_object(uri: StoreUri, content: bytes) -> tuple[int, int]:
    """Write an object that this process reads again, without a request if it is small.

    Args:
        uri: of the object.
        content: of it.

    Returns:
        What :func:`state_of_object` gives.

    Raises:
        SourceUnavailableError: the store fails.
    """
    etag = open_store(uri).put(uri.key, content)
    if etag is None:
        return state_of_object(uri)
    version = _version_of(etag)
    if len(content) <= store_limits.WHOLE_BYTES_MAX:
        _kept(uri, version, len(content)).append(content)
    return version, len(content)


def _version_of(etag: str) -> int:
    return int(value_id([etag])[:15], 16)


@lru_cache(maxsize=4)
def _kept(_uri: StoreUri, _version: int, _size: int) -> list[bytes]:
    """The content of a small object once it was read or written.

    It is kept, because a footer is read first, and then the rows.
    """
    return []
