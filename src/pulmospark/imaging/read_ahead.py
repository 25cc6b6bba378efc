"""Reads the files of a chunk, on demand or ahead in a thread."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from pulmospark.core import limits
from pulmospark.core.prefetch import ahead
from pulmospark.imaging.read_file import read_bytes, read_objects
from pulmospark.imaging.rejection import Rejected
from pulmospark.store.uri import is_store_uri

Row = dict[str, Any]
"""of the manifest"""

Fetched = tuple[Row, bytes | Rejected | None]
"""``None``: the listing found a problem, and the file is not read"""


def fetch(rows: Iterable[Row], inbox: str | None = None) -> Iterator[Fetched]:
    """Read each file on demand; ``inbox`` as in ``read_file.read_bytes``."""
    return ((row, None if row["problem"] else read_bytes(row["uri"], inbox)) for row in rows)


def fetch_stored_ahead(rows: Sequence[Row]) -> Iterator[Fetched]:
    """Read files on demand, and objects of stores ahead of the caller."""
    stored = any(is_store_uri(row["uri"]) for row in rows)
    return fetch_ahead(rows) if stored else fetch(rows)


def fetch_ahead(rows: Iterable[Row], inbox: str | None = None) -> Iterator[Fetched]:
    """A thread reads the files of the next group while the caller works on the current one.

    This hides network latency, and costs nothing on a local disk. Objects of a store are read with
    ``limits.STORE_REQUESTS`` requests at once. Holds two groups in memory, each
    of ``limits.FETCH_BYTES`` or one file.
    """
    for group in ahead(map(partial(_fetched, inbox=inbox), _groups(rows)), 1):
        yield from group


def begun(fetched: Iterator[Fetched]) -> Iterator[Fetched]:
    """The same files, once the first group of them is there."""
    first = next(fetched, None)
    return fetched if first is None else itertools.chain([first], fetched)


def _fetched(group: list[Row], inbox: str | None) -> list[Fetched]:
    if not all(is_store_uri(row["uri"]) for row in group):
        return list(fetch(group, inbox))
    # Several requests at once: each waits longer for the store than it takes to be read.
    read = read_objects((row["uri"], row["size_bytes"]) for row in group if not row["problem"])
    return [(row, None if row["problem"] else next(read)) for row in group]


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        if group and (
            len(group) == limits.FETCH_FILES or size + row["size_bytes"] > limits.FETCH_BYTES
        ):
            yield group
            group, size = [], 0
        group.append(row)
        size += row["size_bytes"]
    if group:
        yield group
