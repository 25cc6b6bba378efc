"""The state of a stream: which files it took, which images it has seen, what is in progress.

One SQLite file, written only by the driver; the planner of Spark's source reads it. An *entry* is
scored and committed as a unit: the images of a micro-batch. What is committed stands in the
tables: the state is their index, and learns from them what another machine has committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pulmospark.core.arrays import Ints
from pulmospark.core.errors import PlatformError

_WAIT_S = 30.0
_QUERY_VALUES_MAX = 500  # older versions of SQLite allow 999 values per statement
_TABLES = """
CREATE TABLE IF NOT EXISTS last (entry INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    entry INTEGER PRIMARY KEY, tries INTEGER NOT NULL DEFAULT 0, parts TEXT);
CREATE TABLE IF NOT EXISTS planned (
    entry INTEGER, place INTEGER, uri TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL, landed_ns INTEGER NOT NULL, problem TEXT,
    etag TEXT, PRIMARY KEY (entry, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS output (table_id TEXT NOT NULL, batch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS here (entry INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS taken (key INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS seen (image_id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_DAMAGE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_REMEDIES = {
    **dict.fromkeys(_DAMAGE, "delete it, and the next start rebuilds it from the tables"),
    sqlite3.SQLITE_FULL: "make room, and rerun the command",
    sqlite3.SQLITE_BUSY: "another program holds it: stop that program, and rerun the command",
}
_REMEDY = (
    "check that its disk works and that it is writable, and rerun the command, or choose another "
    "folder with --out"
)


class Arrival(NamedTuple):
    """A file that landed in the inbox, as it was when it was taken."""

    uri: str
    """absolute path, whose bytes that are not UTF-8 appear as ``\\xNN``; or an address"""
    size_bytes: int
    modified_ns: int
    """since 1970, nanoseconds"""
    landed_ns: int
    """when it got its name here, according to the file system or store; since 1970,
    nanoseconds"""
    problem: str | None = None
    """a ``RejectReason`` found while listing"""
    etag: str | None = None
    """of an object in a store, where it takes the place of the time; ``None``: a file"""

    @property
    def key(self) -> int:
        """64-bit hash of path, size and time or etag, which identify the file."""
        text = f"{self.uri}\0{self.size_bytes}\0{self.etag or self.modified_ns}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


class DamagedStateError(PlatformError):
    """The file itself is damaged; the disk, rights and other programs are not the cause."""


@contextlib.contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a file and its disk into one line.

    Raises:
        DamagedStateError: the file is not a database, or is damaged.
        PlatformError: it cannot be opened, read or written.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a bug in pulmospark
    except sqlite3.DatabaseError as error:
        # The lowest byte is the kind of error; the others say where it happened.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        kind = DamagedStateError if code in _DAMAGE else PlatformError
        raise kind(f"{path}: {error}: {_REMEDIES.get(code, _REMEDY)}") from error


class StreamState:
    """The state's file; safe to use from several threads.

    Every method raises errors of the file or its disk as :func:`state_errors` does.

    Args:
        path: the file; created if missing.
        read_only: for the planner.

    Raises:
        DamagedStateError: it is damaged.
        PlatformError: it cannot be opened, read or written.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._lock, self._path = threading.Lock(), path
        self.left_here = 0
        """entries that an earlier process was scoring itself when it ended"""
        mode = "ro" if read_only else "rwc"
        with state_errors(path):
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            if not read_only:
                try:
                    self._begin()
                except BaseException:
                    self._db.close()
                    raise

    def _begin(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # a commit survives a power failure
        self._db.executescript(_TABLES)
        with contextlib.suppress(sqlite3.OperationalError):  # a state of version 0.2 lacks it
            self._db.execute("ALTER TABLE planned ADD COLUMN etag TEXT")
        self._db.execute("INSERT INTO last SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM last)")
        # One of their images may have crashed the process: leave them to a Spark worker.
        self.left_here = self._one("SELECT count(*) FROM here")
        self._db.execute("DELETE FROM here")

    def close(self) -> None:
        """Close the file."""
        with self._held():
            self._db.close()

    def plan(self, arrivals: Sequence[Arrival], *, here: bool = False) -> int:
        """Record that these files are taken.

        Args:
            arrivals: the files.
            here: scored by this process; while it lives the entry is not open, so that Spark does
                not score it as well.

        Returns:
            The number of their entry.
        """
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            entry = self._add(arrivals)
            if here:
                self._db.execute("INSERT INTO here VALUES (?)", (entry,))
            self._db.executemany(
                "INSERT OR IGNORE INTO taken VALUES (?)", [(arrival.key,) for arrival in arrivals]
            )
        return entry

    def last(self) -> int:
        """The newest entry ever planned; 0: none."""
        return int(self._one("SELECT entry FROM last"))

    def open_entries(self, after: int = 0, upto: int | None = None) -> list[int]:
        """Entries that are neither committed nor scored here, in order."""
        end = self.last() if upto is None else upto
        rows = self._all(
            "SELECT entry FROM entries WHERE parts IS NULL AND entry > ? AND entry <= ? "
            "AND entry NOT IN (SELECT entry FROM here) ORDER BY entry",
            (after, end),
        )
        return [entry for (entry,) in rows]

    def arrivals(self, entry: int) -> list[Arrival]:
        """The files of an entry that is not committed."""
        rows = self._all(
            "SELECT uri, size_bytes, modified_ns, landed_ns, problem, etag FROM planned "
            "WHERE entry = ? ORDER BY place",
            (entry,),
        )
        return [Arrival(*row) for row in rows]

    def seen(self, image_ids: Sequence[str]) -> set[str]:
        """The subset of the images that already have a row of predictions."""
        seen: set[str] = set()
        for start in range(0, len(image_ids), _QUERY_VALUES_MAX):
            batch = [
                bytes.fromhex(image_id)
                for image_id in image_ids[start : start + _QUERY_VALUES_MAX]
            ]
            marks = ", ".join("?" * len(batch))
            rows = self._all(f"SELECT image_id FROM seen WHERE image_id IN ({marks})", batch)
            seen.update(image_id.hex() for (image_id,) in rows)
        return seen

    def commit(
        self,
        entry: int,
        batch: int,
        image_ids: Iterable[str],
        again: Collection[Arrival],
    ) -> None:
        """Record that an entry is committed.

        Args:
            entry: not committed yet.
            batch: its number in the tables, or that of the one before if it has no rows.
            image_ids: of its rows of predictions.
            again: files to be taken again later.
        """
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(entry)
            self._db.execute("UPDATE output SET batch = ?", (batch,))
            self._db.executemany(
                "INSERT INTO seen VALUES (?)",
                [(bytes.fromhex(image_id),) for image_id in image_ids],
            )
            self._db.executemany("DELETE FROM taken WHERE key = ?", [(a.key,) for a in again])

    @property
    def output(self) -> tuple[str, int] | None:
        """Id of the table of arrivals, and its last batch that is known here; ``None``: new."""
        rows = self._all("SELECT table_id, batch FROM output")
        return rows[0] if rows else None

    def learn(
        self, table_id: str, batch: int, taken: Iterable[int], image_ids: Iterable[str]
    ) -> None:
        """Take in batches of the tables that this state does not know.

        What was planned is forgotten: it may be what these batches hold.

        Args:
            table_id: of the table of arrivals.
            batch: the last one; 0: none, and what is planned stays.
            taken: keys of the files of these batches.
            image_ids: of their rows of predictions.
        """
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            query = "SELECT entry FROM entries WHERE ?"
            open_entries = self._db.execute(query, (batch > 0,)).fetchall()
            planned = [key for (entry,) in open_entries for key in self._keys(entry)]
            self._db.executemany("DELETE FROM taken WHERE key = ?", ((key,) for key in planned))
            for (entry,) in open_entries:
                self._forget(entry)
            self._db.execute("DELETE FROM output")
            self._db.execute("INSERT INTO output VALUES (?, ?)", (table_id, batch))
            self._db.executemany(
                "INSERT OR IGNORE INTO taken VALUES (?)", ((key,) for key in taken)
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO seen VALUES (?)",
                ((bytes.fromhex(image_id),) for image_id in image_ids),
            )

    def unpublished(self) -> list[tuple[int, list[str]]]:
        """Entries that version 0.2 has committed, and whose parts it may not have published."""
        rows = self._all("SELECT entry, parts FROM entries WHERE parts IS NOT NULL ORDER BY entry")
        return [(entry, json.loads(parts)) for entry, parts in rows]

    def forget(self, entry: int) -> None:
        """Remove an entry."""
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(entry)

    def clear(self) -> None:
        """Forget everything but the number of the last entry."""
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for table in ("entries", "planned", "here", "taken", "seen", "output"):
                self._db.execute(f"DELETE FROM {table}")

    def failed(self, entry: int) -> int:
        """Record that an entry's job failed; returns how often it has."""
        with self._held():
            self._db.execute("UPDATE entries SET tries = tries + 1 WHERE entry = ?", (entry,))
        return int(self._one("SELECT tries FROM entries WHERE entry = ?", (entry,)))

    def halve(self, entry: int) -> None:
        """Split an entry in two, to find an image that crashes its worker."""
        arrivals = self.arrivals(entry)
        middle = len(arrivals) // 2
        with self._held(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(entry)
            for half in (arrivals[:middle], arrivals[middle:]):
                if half:
                    self._add(half)

    def taken(self) -> Ints:
        """Keys of all files ever taken, (n,), sorted; 8 bytes each."""
        count = int(self._one("SELECT count(*) FROM taken"))
        with self._held():
            rows = self._db.execute("SELECT key FROM taken ORDER BY key")
            return np.fromiter((key for (key,) in rows), np.int64, count)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with state_errors(self._path), self._lock:
            yield

    def _add(self, arrivals: Sequence[Arrival]) -> int:
        self._db.execute("UPDATE last SET entry = entry + 1")
        (entry,) = self._db.execute("SELECT entry FROM last").fetchone()
        self._db.execute("INSERT INTO entries (entry) VALUES (?)", (entry,))
        self._db.executemany(
            "INSERT INTO planned (entry, place, uri, size_bytes, modified_ns, landed_ns, problem, "
            "etag) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(entry, place, *arrival) for place, arrival in enumerate(arrivals)],
        )
        return int(entry)

    def _forget(self, entry: int) -> None:
        for table in ("entries", "planned", "here"):
            self._db.execute(f"DELETE FROM {table} WHERE entry = ?", (entry,))

    def _keys(self, entry: int) -> list[int]:
        rows = self._db.execute(
            "SELECT uri, size_bytes, modified_ns, landed_ns, problem, etag FROM planned "
            "WHERE entry = ?",
            (entry,),
        )
        return [Arrival(*row).key for row in rows]

    def _one(self, query: str, values: Sequence[object] = ()) -> int:
        with self._held():
            row = self._db.execute(query, values).fetchone()
        return 0 if row is None else int(row[0])

    def _all(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._held():
            return self._db.execute(query, values).fetchall()
