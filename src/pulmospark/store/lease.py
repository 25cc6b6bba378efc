"""The right to write below an address in a store: one writer at a time, by conditional puts.

A store has no locks. So an object names the writer, who writes it anew every few seconds, each
time only over the version written last. Clocks are not compared: who wants to write watches the
object, and takes over once it has stayed the same for longer than a living writer would let it. A
writer that was taken over finds the object changed, and publishes nothing more.

The object is a lease alone (:func:`hold_lease`), or a record that has other content, too
(:class:`pulmospark.store.published.RunRecord`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import ConfigDict, ValidationError

from pulmospark.core import store_limits
from pulmospark.core.errors import InputError, SourceUnavailableError, UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.records import Record
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

_LOG = logging.getLogger(__name__)


class Writer(Record):
    """Who is writing below an address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str
    """of this one writing"""
    machine: str | None
    """id of the booted machine and its namespace of processes; ``None``: not known"""
    host: str
    process: int
    beat: int = 0
    """grows while the writer lives"""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host:.100}"

    @classmethod
    def myself(cls) -> Writer:
        """This process, for one writing."""
        return cls(
            token=uuid.uuid4().hex,
            machine=this_machine(),
            host=socket.gethostname(),
            process=os.getpid(),
        )

    def has_ended(self) -> bool:
        """Whether it was a process of this machine, and is certainly no longer running."""
        if self.machine is None or self.machine != this_machine() or self.process <= 0:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
        return False


class Leased(ABC):
    """An object that names its writer, with all else that it holds."""

    uri: StoreUri
    """of the object"""
    writer: Writer | None
    """who writes, as the object was read; ``None``: nobody"""
    is_gone_after = False
    """whether the object is deleted at the end, so that most often there is none"""

    @property
    def place(self) -> StoreUri:
        """What is written to, for messages."""
        return self.uri

    @abstractmethod
    def read(self) -> tuple[Self, str] | None:
        """The object as it is now, and its etag; ``None``: there is none."""

    @abstractmethod
    def content(self, writer: Writer | None) -> bytes | None:
        """The object's bytes with a writer, or without one; ``None``: it is then deleted."""


L = TypeVar("L", bound=Leased)


class Lease(Generic[L]):
    """A lease that is held; see :func:`held`."""

    def __init__(self, leased: L, writer: Writer, etag: str) -> None:
        self._leased, self._writer, self._etag = leased, writer, etag
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    @property
    def leased(self) -> L:
        """As it was written last."""
        return self._leased

    def check(self) -> None:
        """Check that no other process has taken over; to be called before publishing.

        Raises:
            ConflictError: one has.
        """
        if self._lost:
            raise self._lost_error()

    def write(self, leased: L | None = None) -> None:
        """Write the object anew.

        Args:
            leased: with other content; ``None``: with that of the last time, as a sign of life.

        Raises:
            ConflictError: another process took over.
            SourceUnavailableError: the store fails.
        """
        with self._lock:
            self.check()
            leased = leased or self._leased  # of now: content may have been written meanwhile
            writer = self._writer.model_copy(update={"beat": self._writer.beat + 1})
            self._etag = self._put(leased.content(writer))
            self._leased, self._writer = leased, writer

    def end(self) -> None:
        """Stop the signs of life, and let others write."""
        self._stop.set()
        self._thread.join()
        # It may be taken over already, or out of reach: then it ends by its silence.
        with contextlib.suppress(ConflictError, SourceUnavailableError, InputError):
            self.check()
            if (content := self._leased.content(None)) is not None:
                self._put(content)
            else:
                open_store(self._leased.uri).delete(self._leased.uri.key)

    def _put(self, content: bytes | None) -> str:
        assert content is not None, "an object with a writer has content"
        uri = self._leased.uri
        try:
            return open_store(uri).put_if(uri.key, content, self._etag) or ""
        except (ConflictError, ObjectMissingError):
            self._lost = True
            raise self._lost_error() from None

    def _lost_error(self) -> ConflictError:
        return ConflictError(
            f"{self._leased.place}: another process took over, or deleted it, while this one gave "
            "no sign of life: nothing more was published; rerun the command"
        )

    def _beat(self) -> None:
        while not self._stop.wait(store_limits.LEASE_BEAT_S):
            try:
                self.write()
            except SourceUnavailableError as error:  # perhaps not for long
                _LOG.warning("%s", error.message)
            except ConflictError:
                return  # the next check or change says so


@contextlib.contextmanager
def held(
    leased: L, wait: Callable[[str], None] = _LOG.info, known: tuple[L, str] | None = None
) -> Iterator[Lease[L]]:
    """Be the one writer while the block runs.

    Args:
        leased: the object, as it is to be written where there is none.
        wait: called with one line that says for whom it waits, where a writer may have been
            killed.
        known: the object as it was read just now, and its etag.

    Raises:
        UsageError: another process is writing there.
        SourceUnavailableError: the store fails, or does not allow to write there.
    """
    lease = _acquired(leased, wait, known)
    try:
        yield lease
    finally:
        lease.end()


@contextlib.contextmanager
def hold_lease(uri: StoreUri, wait: Callable[[str], None] = _LOG.info) -> Iterator[Lease[Lock]]:
    """Hold an object as a lock while the block runs; it is deleted at the end.

    Args:
        uri: of the object.
        wait: as in :func:`held`.

    Raises:
        UsageError: another process holds it.
        SourceUnavailableError: the store fails, or does not allow to write there.
    """
    with held(Lock(uri), wait) as lease:
        yield lease


@dataclass(frozen=True)
class Lock(Leased):
    """An object that is nothing but a lease."""

    uri: StoreUri
    writer: Writer | None = None
    is_gone_after = True

    def read(self) -> tuple[Lock, str] | None:
        """See :meth:`Leased.read`; who wrote anything else is not known, but may live."""
        try:
            content, etag = open_store(self.uri).read(self.uri.key, store_limits.LEASE_BYTES_MAX)
        except ObjectMissingError:
            return None
        try:
            writer = Writer.model_validate_json(content)
        except ValidationError:
            writer = Writer(token="", machine=None, host="an unknown machine", process=0)
        return Lock(self.uri, writer), etag

    def content(self, writer: Writer | None) -> bytes | None:
        """See :meth:`Leased.content`."""
        return None if writer is None else writer.model_dump_json().encode()


def _acquired(
    leased: L, wait: Callable[[str], None], known: tuple[L, str] | None = None
) -> Lease[L]:
    store, key, writer = open_store(leased.uri), leased.uri.key, Writer.myself()
    if leased.is_gone_after and (begun := _created(leased, writer)) is not None:
        return begun
    entry = known or leased.read()
    if entry is not None and (other := entry[0].writer) is not None and not other.has_ended():
        entry = _silent(*entry, wait)
    try:
        if entry is None:
            etag = store.put_new(key, leased.content(writer) or b"")
        else:
            leased, before = entry
            etag = store.put_if(key, leased.content(writer) or b"", before)
    except (ConflictError, ObjectMissingError):
        raise _busy(leased, None) from None
    return Lease(leased, writer, etag or "")


def _created(leased: L, writer: Writer) -> Lease[L] | None:
    """The lease, with one request; ``None``: the object is there."""
    try:
        etag = open_store(leased.uri).put_new(leased.uri.key, leased.content(writer) or b"")
    except ConflictError:
        return None
    return Lease(leased, writer, etag or "")


def _silent(leased: L, etag: str, wait: Callable[[str], None]) -> tuple[L, str] | None:
    """The object of a writer that may have been killed, once it has been silent for long.

    Raises:
        UsageError: it has given a sign of life.
    """
    silence = store_limits.LEASE_S
    wait(
        f"{leased.place}: {leased.writer} wrote there last: waiting up to {silence:g} s to see "
        "whether it was killed"
    )
    end = time.monotonic() + silence
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, store_limits.LEASE_BEAT_S / 4, 1.0))
        entry = leased.read()
        if entry is None or entry[0].writer is None:
            return entry
        if entry[1] != etag:
            raise _busy(leased, leased.writer)
    return leased, etag


def _busy(leased: Leased, writer: Writer | None) -> UsageError:
    who = "" if writer is None else f" ({writer})"
    return UsageError(
        f"{leased.place}: another run is writing there{who}: wait for it or stop it, or choose "
        "another --out"
    )


def this_machine() -> str | None:
    """Processes with the same id see each other's numbers: one boot, one namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return value_id([boot, os.readlink("/proc/self/ns/pid")])  # noqa: PTH115 - no path
    except OSError:  # no Linux
        return None
