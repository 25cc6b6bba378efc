"""One writer of a folder in a store at a time: a lock that ends with its process.

A store has no locks. The holder writes an object again every few seconds; where it has not changed
for ``store_limits.LEASE_S`` of the other's own clock, another process takes it over. The exchange
is a conditional write, so that of several only one has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator

from pulmospark.core import store_limits
from pulmospark.core.errors import PulmosparkError, SourceUnavailableError, UsageError
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.lease import this_machine
from pulmospark.store.store import Store, open_store
from pulmospark.store.uri import StoreUri

_HELD: set[StoreUri] = set()
"""leases of this process"""


class Lease:
    """A lease that is held; see :func:`hold_lease`."""

    def __init__(self, uri: StoreUri, etag: str | None) -> None:
        self._uri, self._etag = uri, etag
        self._stop = threading.Event()
        self._lost = False
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._beating.start()

    def check(self) -> None:
        """Check that no other process has taken it over; to be called before publishing.

        Raises:
            ConflictError: one has.
        """
        if self._lost:
            raise ConflictError(
                f"{self._uri}: another process took over, because this one gave no sign of life "
                f"for {store_limits.LEASE_S:g} s: run the command again when that one has ended"
            )

    def end(self) -> None:
        """Stop the signs of life."""
        self._stop.set()
        self._beating.join()

    def _beat(self) -> None:
        while not self._stop.wait(store_limits.LEASE_BEAT_S):
            try:
                self._etag = open_store(self._uri).put_if(
                    self._uri.key, _content(), self._etag or ""
                )
            except (ConflictError, ObjectMissingError):
                self._lost = True
                return
            except SourceUnavailableError:
                continue  # the next one may pass; the work itself says more


@contextlib.contextmanager
def hold_lease(uri: StoreUri) -> Iterator[Lease]:
    """Hold an object as a lock while the block runs; it is deleted at the end.

    Args:
        uri: of the object.

    Raises:
        UsageError: another process holds it.
        SourceUnavailableError: the store fails, or does not allow to write there.
    """
    store = open_store(uri)
    if uri in _HELD:
        raise _busy(uri, f"process {os.getpid()} on {platform.node()}")
    _HELD.add(uri)
    try:
        lease = Lease(uri, _taken(store, uri))
        try:
            yield lease
        finally:
            lease.end()
            with contextlib.suppress(PulmosparkError):
                if not lease._lost:
                    store.delete(uri.key)
    finally:
        _HELD.discard(uri)


def _taken(store: Store, uri: StoreUri) -> str | None:
    with contextlib.suppress(ConflictError):
        return store.put_new(uri.key, _content())
    try:
        before = store.head(uri.key)
        owner = store.get(uri.key, 1000)
        if not _has_ended(owner):
            _wait(store, uri, before.etag, owner)
        return store.put_if(uri.key, _content(), before.etag or "")
    except ObjectMissingError:
        return store.put_new(uri.key, _content())
    except ConflictError:
        raise _busy(uri, "another process") from None


def _wait(store: Store, uri: StoreUri, etag: str | None, owner: bytes) -> None:
    """Wait until its holder should have given a sign of life.

    Raises:
        UsageError: it has given one.
    """
    end = time.monotonic() + store_limits.LEASE_S
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, store_limits.LEASE_BEAT_S / 2))
        if store.head(uri.key).etag != etag:
            raise _busy(uri, _shown(owner))


def _busy(uri: StoreUri, owner: str) -> UsageError:
    return UsageError(
        f"{uri}: is in use by {owner}: wait until that command has ended, or choose another --out"
    )


def _content() -> bytes:
    # Another each time, so that its etag changes.
    return json.dumps([this_machine(), os.getpid(), platform.node(), uuid.uuid4().hex]).encode()


def _shown(owner: bytes) -> str:
    try:
        _, process, host, _ = json.loads(owner)
    except ValueError:
        return "another process"
    return f"process {process!s:.20} on {host!s:.100}"


def _has_ended(owner: bytes) -> bool:
    """Whether the holder was a process that this machine would still see, and is gone."""
    try:
        machine, process, *_ = json.loads(owner)
        if machine is None or machine != this_machine():
            return False
        if process == os.getpid():
            return True  # this process knows what it holds: it was an earlier one of this number
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (ValueError, TypeError, OSError, OverflowError):
        return False
    return False
