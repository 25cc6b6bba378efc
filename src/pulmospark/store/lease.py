"""The right to write to a run folder in a store: one writer at a time, by conditional puts.

The writer's name stands in the record of the folder and is written anew every few seconds, each
time only over the version written last. Clocks are not compared: who wants to write watches the
record, and takes over once it has stayed the same for longer than a living writer would let it.
A writer that was taken over finds the record changed, and publishes nothing more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from pulmospark.core import mirror_limits
from pulmospark.core.errors import InputError, SourceUnavailableError, UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.store_uri import StoreUri
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.published import NAME, Published, Writer, read_published
from pulmospark.store.store import Store, is_probe, open_store

_LOG = logging.getLogger(__name__)


class Lease:
    """The record of a run folder, while this process may change it."""

    def __init__(self, uri: StoreUri, record: Published, etag: str) -> None:
        self._uri, self._record, self._etag = uri, record, etag
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def record(self) -> Published:
        """As it was written last."""
        return self._record

    def change(self, **changes: object) -> None:
        """Write the record with other values.

        Raises:
            ConflictError: another process took over.
            SourceUnavailableError: the store fails.
        """
        with self._lock:
            writer = self._record.writer
            beat = writer and writer.model_copy(update={"beat": writer.beat + 1})
            record = self._record.model_copy(update={"writer": beat, **changes})
            self._etag = _replace(self._uri, record, self._etag)
            self._record = record

    def beat(self) -> None:
        """Say every few seconds that this process lives, until the lease ends."""
        while not self._stop.wait(mirror_limits.WRITER_BEAT_S):
            try:
                self.change()
            except SourceUnavailableError as error:  # perhaps not for long
                _LOG.warning("%s", error.message)
            except ConflictError:
                return  # the next change says so

    def end(self) -> None:
        """Stop saying so, and let others write."""
        self._stop.set()
        # It may be taken over already, or out of reach: then it ends by its silence.
        with contextlib.suppress(ConflictError, SourceUnavailableError, InputError):
            self.change(writer=None)


@contextlib.contextmanager
def writing(uri: StoreUri, wait: Callable[[str], None] = _LOG.info) -> Iterator[Lease]:
    """Be the one writer of a run folder.

    Args:
        uri: the folder; it may be empty.
        wait: called with one line that says for whom it waits, where a writer may have been
            killed.

    Raises:
        UsageError: another process is writing there.
        InputError: something else is there.
        PlatformError: the store ignores conditional writes, or refuses to be written to.
    """
    lease = _acquired(uri, wait)
    thread = threading.Thread(target=lease.beat, name="writer", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        lease.end()
        thread.join(timeout=1)


def _acquired(uri: StoreUri, wait: Callable[[str], None]) -> Lease:
    store = open_store(uri)
    entry = read_published(uri)
    if entry is None:
        _check_empty(store, uri)
    store.probe(uri.prefix)
    myself = _myself()
    if entry is None:
        record = Published(writer=myself)
        etag = _put_new(store, uri, record)
        return Lease(uri, record, etag)
    record, etag = entry
    if record.writer is not None and not _has_ended(record.writer):
        record, etag = _watched(uri, record, etag, wait)
    taken = record.model_copy(update={"writer": myself})
    try:
        return Lease(uri, taken, _replace(uri, taken, etag))
    except ConflictError:
        raise _busy(uri, None) from None


def _check_empty(store: Store, uri: StoreUri) -> None:
    listed = (entry for entry in store.list(uri.prefix) if not is_probe(entry.uri))
    if (other := next(listed, None)) is not None:
        raise InputError(
            f"{uri}: is not empty ({other.uri.key!r:.100}), and no run's folder (it has no "
            f"{NAME}): choose another"
        )


def _put_new(store: Store, uri: StoreUri, record: Published) -> str:
    try:
        return store.put_new((uri / NAME).key, record.content()) or ""
    except ConflictError:
        raise _busy(uri, None) from None


def _watched(
    uri: StoreUri, record: Published, etag: str, wait: Callable[[str], None]
) -> tuple[Published, str]:
    """The record of a writer that may have been killed, once it has been silent for long."""
    wait(
        f"{uri}: {record.writer} wrote there last: waiting up to "
        f"{mirror_limits.WRITER_SILENCE_S:g} s to see whether it was killed"
    )
    end = time.monotonic() + mirror_limits.WRITER_SILENCE_S
    while time.monotonic() < end:
        time.sleep(min(mirror_limits.WRITER_BEAT_S / 4, 1.0))
        entry = read_published(uri)
        if entry is None or entry[1] != etag:
            if entry is not None and entry[0].writer is None:
                return entry
            raise _busy(uri, record.writer)
    return record, etag


def _busy(uri: StoreUri, writer: Writer | None) -> UsageError:
    who = "" if writer is None else f" ({writer})"
    return UsageError(
        f"{uri}: another run is writing there{who}: wait for it or stop it, or choose another "
        "--out"
    )


def _replace(uri: StoreUri, record: Published, etag: str) -> str:
    try:
        return open_store(uri).put_if((uri / NAME).key, record.content(), etag) or ""
    except (ConflictError, ObjectMissingError):
        raise ConflictError(
            f"{uri}: another process took over the run's folder, or deleted it, while this one "
            "was silent: nothing more was published; rerun the command"
        ) from None


def _myself() -> Writer:
    return Writer(
        token=uuid.uuid4().hex,
        machine=this_machine(),
        host=socket.gethostname(),
        process=os.getpid(),
    )


def this_machine() -> str | None:
    """Processes with the same id see each other's numbers: one boot, one namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return value_id([boot, os.readlink("/proc/self/ns/pid")])  # noqa: PTH115 - no path
    except OSError:  # no Linux
        return None


def _has_ended(writer: Writer) -> bool:
    """Whether a writer of this machine is certainly no longer running."""
    if writer.machine is None or writer.machine != this_machine():
        return False
    try:
        os.kill(writer.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
