"""A folder of tables, on a disk or in a store, by keys relative to it.

What is written is durable when the call returns, and :meth:`Place.create` never replaces: a Delta
log needs no more. Keys are names that this program gives; none comes from outside.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pulmospark.core import files
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.patience import patiently
from pulmospark.store.prefetch import read_many
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri


class Place(ABC):
    """A folder on a disk or in a store."""

    renames = False
    """whether a file can be written elsewhere first, and appear by :meth:`rename`"""

    @abstractmethod
    def __str__(self) -> str:
        """Its path or address."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the files of a folder, sorted; none if there is no such folder."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of a file.

        Raises:
            ObjectMissingError: there is none.
        """

    @abstractmethod
    def read_many(self, keys: Iterable[str]) -> Iterator[bytes]:
        """Contents of files, in order.

        Raises:
            ObjectMissingError: one is missing.
        """

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Write a file, over one that is there."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Write a file where none is.

        Raises:
            ConflictError: another one is there.
        """

    def rename(self, key: str, target: str) -> None:
        """Give a file another key, over one that is there; only where ``renames`` is true.

        Raises:
            ObjectMissingError: there is no such file.
        """
        raise NotImplementedError(f"{self}: {key} cannot become {target}: a store has no rename")

    def remove(self, key: str) -> None:
        """Remove a file that was written aside; only where ``renames`` is true."""
        raise NotImplementedError(f"{self}: {key}: nothing is written aside in a store")

    def read(self, key: str) -> bytes:
        """The content of a file.

        Raises:
            ObjectMissingError: there is none.
        """
        return next(self.read_many([key]))


class DiskPlace(Place):
    """A folder on a disk; its subfolders are made where they are missing.

    Args:
        folder: absolute.
    """

    renames = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def names(self, folder: str) -> list[str]:
        """See :meth:`Place.names`."""
        path = self.folder / folder
        return sorted(os.listdir(path)) if path.is_dir() else []  # noqa: PTH208 - no Paths

    def size(self, key: str) -> int:
        """See :meth:`Place.size`."""
        try:
            return (self.folder / key).stat().st_size
        except FileNotFoundError:
            raise self._missing(key) from None

    def read_many(self, keys: Iterable[str]) -> Iterator[bytes]:
        """See :meth:`Place.read_many`."""
        for key in keys:
            try:
                yield (self.folder / key).read_bytes()
            except FileNotFoundError:
                raise self._missing(key) from None

    def write(self, key: str, data: bytes) -> None:
        """See :meth:`Place.write`."""
        aside = self._aside(key, data)
        with files.disk_errors(self.folder):
            os.replace(aside, self.folder / key)  # noqa: PTH105 - the atomic one
            sync(aside.parent)

    def create(self, key: str, data: bytes) -> None:
        """See :meth:`Place.create`: a link is never made over a name that is there."""
        aside = self._aside(key, data)
        try:
            os.link(aside, self.folder / key)
        except FileExistsError:
            raise ConflictError(
                f"{self.folder / key}: was written by another process at the same time"
            ) from None
        except OSError as error:
            with files.disk_errors(self.folder):
                raise error
        finally:
            aside.unlink(missing_ok=True)
        sync(aside.parent)

    def rename(self, key: str, target: str) -> None:
        """See :meth:`Place.rename`."""
        to = self.folder / target
        with files.disk_errors(self.folder):
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.replace(self.folder / key, to)  # noqa: PTH105
            except FileNotFoundError:
                raise self._missing(key) from None
            sync(to.parent)

    def remove(self, key: str) -> None:
        """See :meth:`Place.remove`."""
        with files.disk_errors(self.folder):
            (self.folder / key).unlink()

    def _aside(self, key: str, data: bytes) -> Path:
        """A file with the content, on the disk, next to the place of the key."""
        target = self.folder / key
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        with files.disk_errors(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        return aside

    def _missing(self, key: str) -> ObjectMissingError:
        return ObjectMissingError(f"{self.folder / key}: no such file")


class StorePlace(Place):
    """A folder in a store; its failures are waited out for ``limits.STORE_PATIENCE_S``.

    Args:
        uri: the folder.
    """

    def __init__(self, uri: StoreUri) -> None:
        self.uri = uri
        self._store = open_store(uri)

    def __str__(self) -> str:
        return str(self.uri)

    def names(self, folder: str) -> list[str]:
        """See :meth:`Place.names`."""
        prefix = (self.uri / folder).prefix
        keys = patiently(lambda: [entry.uri.key for entry in self._store.list(prefix)])
        return sorted(key[len(prefix) :] for key in keys)

    def size(self, key: str) -> int:
        """See :meth:`Place.size`."""
        return patiently(lambda: self._store.head((self.uri / key).key).size_bytes)

    def read_many(self, keys: Iterable[str]) -> Iterator[bytes]:
        """See :meth:`Place.read_many`."""
        for data in read_many((self.uri / key, 0) for key in keys):
            if isinstance(data, ObjectMissingError):
                raise data
            yield data

    def read(self, key: str) -> bytes:
        """See :meth:`Place.read`."""
        return patiently(lambda: next(self.read_many([key])))

    def write(self, key: str, data: bytes) -> None:
        """See :meth:`Place.write`."""
        patiently(lambda: self._store.put((self.uri / key).key, data))

    def create(self, key: str, data: bytes) -> None:
        """See :meth:`Place.create`."""
        patiently(lambda: self._store.put_new((self.uri / key).key, data))


def place_of(where: Path | StoreUri) -> Place:
    """The place of a path or an address."""
    return StorePlace(where) if isinstance(where, StoreUri) else DiskPlace(where)


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    descriptor: Any = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
