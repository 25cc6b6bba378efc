"""The ledger: one SQLite file with each answered request, its results, and the batch jobs.

A request is answered after its line is committed, and the line is never changed or removed
(triggers refuse it). So each answered request is in the ledger exactly once, whatever is killed
and when: a request whose answer did not arrive may be sent again with the same
``Idempotency-Key``, and is then answered from the ledger.

One thread writes. It commits all that waits in one transaction, which shares the disk's time
among the requests of a moment. Readers have connections of their own (write-ahead log).
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from pulmospark.core.errors import PlatformError
from pulmospark.core.files import disk_errors

T = TypeVar("T")

FILE = "ledger.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE requests (
    id TEXT PRIMARY KEY, key TEXT UNIQUE, content TEXT NOT NULL, at REAL NOT NULL,
    source TEXT NOT NULL, model TEXT NOT NULL, images INTEGER NOT NULL, rejects INTEGER NOT NULL,
    results TEXT NOT NULL
) STRICT;
CREATE TRIGGER requests_stay BEFORE DELETE ON requests
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER requests_same BEFORE UPDATE ON requests
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, request TEXT NOT NULL,
    at REAL NOT NULL, source TEXT NOT NULL, status TEXT NOT NULL, prediction TEXT,
    study TEXT, series TEXT, slice INTEGER, image TEXT, frame INTEGER, body TEXT NOT NULL
) STRICT;
CREATE INDEX results_request ON results (request);
CREATE INDEX results_image ON results (image) WHERE image IS NOT NULL;
CREATE INDEX results_study ON results (study, seq) WHERE study IS NOT NULL;
CREATE TABLE probabilities (
    class TEXT NOT NULL, probability REAL NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (class, probability, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX probabilities_seq ON probabilities (seq);
CREATE TABLE images (
    id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT;
CREATE INDEX images_seq ON images (seq);
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
"""


class Ledger:
    """The ledger in a folder; opened once, by one process.

    Raises:
        PlatformError: no space, no right to write there, or the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._todo: queue.SimpleQueue[
            tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None
        ]
        self._todo = queue.SimpleQueue()
        self._local = threading.local()
        with disk_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            with _damaged(self.path):
                self._write = self._opened()
                _migrate(self._write, self.path)
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        # FULL: a committed line survives a power failure, too.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def write(self, change: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Have a change committed; the future is done when it is on the disk.

        Args:
            change: executes statements; what it raises undoes it alone, and is raised by the
                future.
        """
        done: Future[T] = Future()
        self._todo.put((change, done))
        return done

    def read(self) -> sqlite3.Connection:
        """A connection of the calling thread, for queries."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(f"file:{_quoted(self.path)}?mode=ro", uri=True)
            connection.row_factory = sqlite3.Row
            self._local.connection = connection
        connection = self._local.connection
        assert isinstance(connection, sqlite3.Connection)
        return connection

    def close(self) -> None:
        """Commit what waits, and close the file."""
        self._todo.put(None)
        self._thread.join()
        self._write.close()

    def _write_all(self) -> None:
        while (first := self._todo.get()) is not None:
            batch = [first]
            is_last = False
            with contextlib.suppress(queue.Empty):
                while (more := self._todo.get_nowait()) is not None:
                    batch.append(more)
                is_last = True
            self._commit(batch)
            if is_last:
                return

    def _commit(
        self, batch: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]
    ) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._write.execute("BEGIN IMMEDIATE")
            for change, done in batch:
                self._write.execute("SAVEPOINT one")
                try:
                    outcomes.append((done, change(self._write), None))
                except Exception as error:  # noqa: BLE001 - the caller's
                    self._write.execute("ROLLBACK TO one")
                    outcomes.append((done, None, error))
                self._write.execute("RELEASE one")
            self._write.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a full disk fails all of them
            with contextlib.suppress(sqlite3.Error):
                self._write.execute("ROLLBACK")
            outcomes = [(done, None, _problem(error, self.path)) for _, done in batch]
        for done, value, failure in outcomes:
            if failure is None:
                done.set_result(value)
            else:
                done.set_exception(failure)


def _problem(error: Exception, path: Path) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    return PlatformError(f"{path}: cannot be written: {error}: check the disk")


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise PlatformError(
            f"{path}: not a ledger, or damaged ({error}): choose another --state, or move it away"
        ) from error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise PlatformError(
            f"{path}: written by a newer pulmospark: install that, or choose another --state"
        )
    if version == 0:
        connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file:")
