"""Tries out whether a store heeds conditions: one that ignores them loses commits unseen."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable

from pulmospark.core import store_limits
from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError
from pulmospark.store.failures import ConflictError
from pulmospark.store.prefetch import under_way
from pulmospark.store.store import Store, in_parallel
from pulmospark.store.uri import StoreUri

_NAME = "_probe-"


def is_probe(uri: StoreUri) -> bool:
    """Whether an object is what :func:`probe` writes; a killed process leaves it for a while."""
    return uri.name.startswith(_NAME)


def probe(store: Store, folder: str) -> None:
    """Check that a store heeds conditions; writes and deletes an object below a folder.

    Deletes the objects of processes that were killed in this check, too, once they are
    ``store_limits.PROBE_LEFT_S`` old.

    Raises:
        PlatformError: it ignores them.
        SourceUnavailableError: the store fails, or does not allow to write there.
    """
    # Tried again: a writer that ends may clear the folder, and the object with it.
    if not any(_heeds_conditions(store, folder) for _ in range(store_limits.PROBE_TRIES)):
        raise PlatformError(
            f"{store.bucket}: ignores conditional writes (If-None-Match, If-Match), without which "
            "two writers overwrite each other unnoticed: use a store that heeds them (S3, Azure, "
            "Google Cloud, MinIO, Ceph)"
        )


def _heeds_conditions(store: Store, folder: str) -> bool:
    begin = f"{folder.rstrip('/')}/{_NAME}".lstrip("/")
    key = f"{begin}{uuid.uuid4().hex}"
    etag = store.put_new(key, b"1")

    def is_refused(write: Callable[[], object]) -> bool:
        try:
            write()
        except ConflictError:
            return True
        return False

    left = under_way(_left_behind, store, begin, key)  # the store answers meanwhile
    try:
        writes = (
            lambda: store.put_new(key, b"2"),
            lambda: store.put_if(key, b"2", f"{etag or ''}0"),
        )
        return all(in_parallel(is_refused, writes))
    finally:
        with contextlib.suppress(SourceUnavailableError):  # what was found out is what counts
            in_parallel(store.delete, [key, *left.result()])


def _left_behind(store: Store, begin: str, own: str) -> list[str]:
    """Keys of the objects that killed processes left, of a page; by the store's clock alone.

    None where the folder cannot be listed, which is not what is checked.
    """
    try:
        page = store.page(begin, begin)
    except (InputError, SourceUnavailableError):
        return []
    times = {entry.uri.key: entry.modified_ns for entry in page if entry.uri.key.startswith(begin)}
    old_ns = store_limits.PROBE_LEFT_S * 10**9
    return [key for key, time_ns in times.items() if times.get(own, time_ns) - time_ns > old_ns]
