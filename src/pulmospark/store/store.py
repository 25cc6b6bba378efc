"""Objects of one bucket: list, read, write, and write only if nothing is there.

A failure of the store is never an image's fault: requests are retried, then raised as
``SourceUnavailableError``. Only :class:`ObjectMissingError` says that an object itself is gone.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pulmospark.core import limits, store_limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.store.client import open_client
from pulmospark.store.failures import ConflictError, ObjectMissingError, store_errors
from pulmospark.store.repeats import BrokenOffError, pause_before, repeated
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from obstore import GetOptions

Answer = TypeVar("Answer")
Item = TypeVar("Item")

_PIECE = 8 * 1024 * 1024
"""bytes of an object that are read or sent at a time"""
_WHOLE_MAX = 64 * 1024 * 1024
"""bytes of a file that is sent in one request"""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing gives it."""

    uri: StoreUri
    size_bytes: int
    modified_ns: int
    """since 1970, nanoseconds"""
    etag: str | None
    """changes with the content"""


class Store:
    """The objects of one bucket. Safe to use from several threads.

    ``limits.STORE_REQUESTS`` requests are under way at a time, however many threads make them.
    Conditional writes do not wait for a turn: they are small, and a sign of life that comes late
    costs a lease.
    """

    def __init__(self, bucket: StoreUri) -> None:
        """Open a bucket; no request is made yet.

        Args:
            bucket: any address in it.

        Raises:
            PlatformError: obstore is missing, or the credentials' files cannot be used.
        """
        self.bucket = StoreUri(bucket.scheme, bucket.bucket, "")
        self._store = open_client(self.bucket)
        self._turns = threading.BoundedSemaphore(limits.STORE_REQUESTS)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Objects whose keys begin with a prefix, page by page; memory holds one page.

        Args:
            prefix: a folder (``images/``) or the begin of a name (``images/2024``).

        Raises:
            SourceUnavailableError: the store fails.
            InputError: a key is there that no path can express (``a//b``, ``a/../b``).
        """
        last: str | None = None
        tries = 0
        while True:
            try:
                for page in self._pages(prefix, last):
                    for stored in page:
                        last, tries = stored.uri.key, 0
                        if last.startswith(prefix):
                            yield stored
                return
            except BrokenOffError as error:  # in the middle: it resumes there
                tries += 1
                pause_before(tries, error)

    @repeated
    def page(self, prefix: str, after: str | None) -> Sequence[StoredObject]:
        """One page of a listing, ``store_limits.LIST_PAGE_ROWS`` objects; fewer at the end.

        Those of the folder in which ``prefix`` lies, whatever their names begin with.

        Args:
            prefix: as for :meth:`list`.
            after: the key after which the page begins, which need not be there; ``None``: with
                the first.

        Raises:
            SourceUnavailableError: the store fails.
            InputError: a key is there that no path can express.
        """
        return next(self._pages(prefix, after), [])

    def _pages(self, prefix: str, after: str | None) -> Iterator[Sequence[StoredObject]]:
        import obstore  # noqa: PLC0415 - only where a store is used

        pages: Iterator[Sequence[Any]] | None = None
        while True:
            with self._request(prefix):  # while a page is used, another request has the turn
                pages = pages or iter(
                    obstore.list(
                        self._store,
                        _folder_of(prefix),
                        offset=after,
                        chunk_size=store_limits.LIST_PAGE_ROWS,
                    )
                )
                page = [self._found(meta) for meta in next(pages, ())]
            if not page:
                return
            yield page

    @repeated
    def head(self, key: str) -> StoredObject:
        """Size, time and etag of an object.

        Raises:
            ObjectMissingError: there is none.
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with self._request(key):
            return self._found(obstore.head(self._store, key))

    @repeated
    def get(self, key: str, bytes_max: int | None = None) -> bytes:
        """The content of an object.

        Args:
            key: of the object.
            bytes_max: at most so many bytes are read, whatever the object holds.

        Raises:
            ObjectMissingError: there is none.
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with self._request(key):
            result = obstore.get(self._store, key)
            size = result.meta["size"]
            if bytes_max is None or size <= bytes_max:
                return bytes(result.bytes())
            return bytes(obstore.get_range(self._store, key, start=0, length=bytes_max))

    @repeated
    def read(self, key: str, bytes_max: int) -> tuple[bytes, str]:
        """The content of a small object, and its etag, as of one moment.

        Raises:
            InputError: it is larger than ``bytes_max``.
            ObjectMissingError: there is none.
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with self._request(key):
            result = obstore.get(self._store, key)
            if (size := result.meta["size"]) <= bytes_max:
                return bytes(result.bytes()), result.meta["e_tag"] or ""
        raise InputError(f"{self.bucket}{key}: {size:,} bytes, over the limit of {bytes_max:,}")

    @repeated
    def save(self, key: str, target: Path) -> str | None:
        """Write an object's content to a file, a few megabytes at a time; its etag.

        Raises:
            ObjectMissingError: there is none.
            SourceUnavailableError: the store fails.
            OSError: the file cannot be written, or its folder is missing.
        """
        import obstore  # noqa: PLC0415

        with self._turns:
            with store_errors(self.bucket, key):
                result = obstore.get(self._store, key)
            # What the file lacks is not what the store lacks.
            with target.open("wb") as file, store_errors(self.bucket, key):
                for content in result.stream(min_chunk_size=_PIECE):
                    file.write(content)
        if target.stat().st_size != result.meta["size"]:
            raise SourceUnavailableError(
                f"{platform.node()}: {self.bucket}{key}: ended early: rerun the command"
            )
        return result.meta["e_tag"]

    @repeated
    def put_file(self, key: str, source: Path) -> str | None:
        """Write a file's content over an object, in parts where it is large; its etag.

        Raises:
            SourceUnavailableError: the store fails.
            OSError: the file cannot be read.
        """
        import obstore  # noqa: PLC0415

        with source.open("rb") as file, self._request(key):
            large = source.stat().st_size > _WHOLE_MAX
            return obstore.put(self._store, key, file, use_multipart=large, chunk_size=_PIECE)[
                "e_tag"
            ]

    @repeated
    def get_range(self, key: str, start: int, length: int, etag: str | None = None) -> bytes:
        """Some bytes of an object.

        Args:
            key: of the object.
            start: offset of the first.
            length: how many.
            etag: that the object must still have.

        Raises:
            ObjectMissingError: there is none.
            ConflictError: it has another etag by now.
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with self._request(key):
            if etag is None:
                return bytes(obstore.get_range(self._store, key, start=start, length=length))
            span: GetOptions = {"range": (start, start + length), "if_match": etag}
            return bytes(obstore.get(self._store, key, options=span).bytes())

    def put(self, key: str, data: bytes) -> str | None:
        """Write an object, over one that is there; its etag.

        Raises:
            SourceUnavailableError: the store fails.
        """
        return self._put(key, data, None)

    def put_new(self, key: str, data: bytes) -> str | None:
        """Write an object where none is; its etag.

        After a connection that broke the request is repeated, and may then find its own object:
        the one that is there is compared before a conflict is raised. Where two writers may write
        the same bytes, these must name the writer, or both take the object for their own.

        Raises:
            ConflictError: another object is there.
            SourceUnavailableError: the store fails.
        """
        return self._put_once(key, data, "create")

    def put_if(self, key: str, data: bytes, etag: str) -> str | None:
        """Write an object over the one with this etag; the new etag.

        As for :meth:`put_new`, an object with the same bytes is no conflict.

        Raises:
            ConflictError: it was changed meanwhile.
            SourceUnavailableError: the store fails.
        """
        return self._put_once(key, data, {"e_tag": etag})

    def _put_once(self, key: str, data: bytes, mode: Any) -> str | None:
        try:
            return self._put(key, data, mode)
        except ConflictError:
            with contextlib.suppress(ObjectMissingError):
                if self.get(key, len(data) + 1) == data:
                    return self.head(key).etag
            raise

    @repeated
    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error.

        Raises:
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with contextlib.suppress(ObjectMissingError), self._request(key):
            obstore.delete(self._store, key)

    @repeated
    def delete_below(self, prefix: str) -> None:
        """Delete all objects whose keys begin with a prefix, ``folder/``.

        Raises:
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        keys = [stored.uri.key for stored in self.list(prefix)]
        for start in range(0, len(keys), store_limits.DELETED_AT_ONCE):
            with contextlib.suppress(ObjectMissingError), self._request(prefix):
                obstore.delete(self._store, keys[start : start + store_limits.DELETED_AT_ONCE])

    @repeated
    def copy(self, source: str, target: str) -> None:
        """Copy an object within the bucket, without its bytes coming here.

        Raises:
            ObjectMissingError: there is none.
            SourceUnavailableError: the store fails.
        """
        import obstore  # noqa: PLC0415

        with self._request(source):
            obstore.copy(self._store, source, target)

    @repeated
    def _put(self, key: str, data: bytes, mode: Any) -> str | None:
        import obstore  # noqa: PLC0415

        turn = contextlib.nullcontext() if mode else self._turns
        with turn, store_errors(self.bucket, key):
            return obstore.put(self._store, key, data, mode=mode, use_multipart=False)["e_tag"]

    def _found(self, meta: Any) -> StoredObject:
        time = meta["last_modified"]
        modified = int(time.timestamp()) * 10**9 + time.microsecond * 1000
        uri = StoreUri(self.bucket.scheme, self.bucket.bucket, meta["path"])
        return StoredObject(uri, meta["size"], modified, meta["e_tag"])

    @contextlib.contextmanager
    def _request(self, key: str) -> Iterator[None]:
        """Wait for a turn; obstore's errors are raised as ours."""
        with self._turns, store_errors(self.bucket, key):
            yield


def _folder_of(prefix: str) -> str | None:
    """What obstore takes for a prefix, which ends at a slash."""
    return prefix.rpartition("/")[0] or None


def open_store(uri: StoreUri) -> Store:
    """The store of an address, opened once in each process."""
    return _opened(uri.scheme, uri.bucket, os.getpid())


@lru_cache(maxsize=32)
def _opened(scheme: str, bucket: str, _process: int) -> Store:
    # By process: a client's threads do not live on in a forked child.
    return Store(StoreUri(scheme, bucket, ""))


def is_there(uri: StoreUri) -> bool:
    """Whether an object exists.

    Raises:
        SourceUnavailableError: the store fails.
    """
    try:
        open_store(uri).head(uri.key)
    except ObjectMissingError:
        return False
    return True


def in_parallel(request: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """Answers to requests, in order, ``limits.STORE_REQUESTS`` at a time.

    Raises:
        Exception: what a request raised first.
    """
    with ThreadPoolExecutor(limits.STORE_REQUESTS, thread_name_prefix="store") as pool:
        return list(pool.map(request, items))
