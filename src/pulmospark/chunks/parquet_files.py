"""Parquet files on a disk and in a store, opened alike."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

from pulmospark.core import store_limits
from pulmospark.store.light_parts import whole_of
from pulmospark.store.object_file import ObjectFile, state_of_object
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

Place = Path | StoreUri
"""of a file or folder: a path, or an address in a store"""


def place_of(text: str) -> Place:
    """The path or address that ``str`` gave."""
    return parse_uri(text) if is_store_uri(text) else Path(text)


def state_of(place: Place) -> tuple[int, int]:
    """Time in ns and size in bytes, of an object what stands for them: another file has others.

    Raises:
        OSError: there is no such file.
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    if isinstance(place, StoreUri):
        return state_of_object(place)
    facts = os.stat(place)  # noqa: PTH116
    return facts.st_mtime_ns, facts.st_size


@contextlib.contextmanager
def open_parquet(
    place: Place,
    metadata: pq.FileMetaData | None = None,
    state: tuple[int, int] | None = None,
) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; of an object only what is asked for is read, in few requests.

    Args:
        place: of the file.
        metadata: its footer, if it is known.
        state: of :func:`state_of`, if it is known.

    Raises:
        OSError: it cannot be read.
        pyarrow.ArrowInvalid: it is not a Parquet file.
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    if isinstance(place, StoreUri):
        with (
            ObjectFile(place, state) as source,
            pq.ParquetFile(source, metadata=metadata, pre_buffer=True) as file,
        ):
            yield file
        return
    with pq.ParquetFile(place, metadata=metadata) as file:
        yield file


class _Known:
    """What a process knows of a Parquet file in a store."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state: tuple[int, int] | None = None
        self.metadata: pq.FileMetaData | None = None


@lru_cache(maxsize=store_limits.FOOTERS_KEPT)
def _known(_uri: StoreUri) -> _Known:
    return _Known()


@contextlib.contextmanager
def open_unchanging(place: Place) -> Iterator[pq.ParquetFile]:
    """As :func:`open_parquet`, of a file that never changes, such as a table's part.

    A process asks for an object's state and footer once, however many threads open it.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(place, StoreUri):
            known = _known(place)
            with known.lock:
                known.state = known.state or state_of(place)
                file = stack.enter_context(open_parquet(place, known.metadata, known.state))
                known.metadata = file.metadata
        else:
            file = stack.enter_context(open_parquet(place))
        yield file


@contextlib.contextmanager
def open_whole(part: Place) -> Iterator[pq.ParquetFile]:
    """Open a part of a table that may be a light one, with its pixels; as :func:`open_parquet`."""
    with open_parquet(whole_place(part)) as file:
        yield file


def whole_place(part: Place) -> Place:
    """Where a part of a table has its pixels; elsewhere than a light part.

    Raises:
        OSError: it cannot be read.
    """
    return whole_of(part) if isinstance(part, Path) else part
