"""Tries out whether a store heeds conditions: one that ignores them loses commits unseen."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable

from pulmospark.core import store_limits
from pulmospark.core.errors import PlatformError, SourceUnavailableError
from pulmospark.store.failures import ConflictError
from pulmospark.store.store import Store, in_parallel
from pulmospark.store.uri import StoreUri

_NAME = "_probe-"


def is_probe(uri: StoreUri) -> bool:
    """Whether an object is what :func:`probe` writes; a killed process leaves it."""
    return uri.name.startswith(_NAME)


def probe(store: Store, folder: str) -> None:
    """Check that a store heeds conditions; writes and deletes an object below a folder.

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
    key = f"{folder.rstrip('/')}/{_NAME}{uuid.uuid4().hex}".lstrip("/")
    etag = store.put_new(key, b"1")

    def is_refused(write: Callable[[], object]) -> bool:
        try:
            write()
        except ConflictError:
            return True
        return False

    try:
        writes = (
            lambda: store.put_new(key, b"2"),
            lambda: store.put_if(key, b"2", f"{etag or ''}0"),
        )
        return all(in_parallel(is_refused, writes))
    finally:
        with contextlib.suppress(SourceUnavailableError):  # what was found out is what counts
            store.delete(key)
