"""The output folder of a stream: tables that are consistent for any reader at any time.

    stream.json                   record of the stream
    predictions/, rejects/,       one Parquet file per entry and table, complete as soon as it
    repeats/                      appears, and never changed
    _stream/                      lock, state, staged parts, engine

An entry is committed in three steps:

1. Its parts are written to ``_stream/staged`` and synced to disk.
2. One transaction records in the state that the entry is committed, and its images.
3. Its parts are renamed into their tables.

If killed before step 2, the entry is scored again and its staged parts are deleted. If killed
later, the next start repeats step 3, which skips parts that are already renamed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks import parts_of, write_empty, write_part
from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locks import hold_lock
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.rows import file_of
from pulmospark.inference.stream.ledger import Arrival, DamagedStateError, StreamState

RECORD = "stream.json"
"""marks a folder as the output of a stream"""
INNER = "_stream"
"""folder for everything other than tables; readers skip it because of its name"""
STATE = "state.sqlite"

SCHEMAS = {
    "rejects": schemas.REJECTS,
    "repeats": schemas.REPEATS,
    "predictions": schemas.PREDICTIONS,
}
"""table -> schema, in the order in which an entry's parts appear"""


@dataclass(frozen=True)
class Committed:
    """Counts of a committed entry."""

    entry: int
    images: int
    """new rows of predictions"""
    rejects: int
    repeats: int
    """images that already have a row"""
    again: int
    """incomplete files, to be read again later"""


class StreamStore:
    """The folder, while its lock is held. Created by :func:`open_store`."""

    def __init__(self, folder: Path, state: StreamState, step: Callable[[str], None]) -> None:
        self.folder, self.state = folder, state
        self._lock = threading.Lock()
        self._step = step
        self._staged = folder / INNER / "staged"

    def commit(
        self, entry: int, scored: Mapping[str, pa.Table], again: Collection[str] = ()
    ) -> Committed:
        """Commit the results of an entry's files, and publish them.

        Args:
            entry: not committed yet.
            scored: table -> rows, of ``predictions`` and ``rejects``.
            again: paths of files to be taken again later.

        Raises:
            ValueError: a file of the entry has no row, or duplicate rows.
            PlatformError: no space, or no right to write there.
        """
        with self._lock:  # of two entries with the same image only one may count it as new
            return self._commit(entry, scored, again)

    def _commit(
        self, entry: int, scored: Mapping[str, pa.Table], again: Collection[str]
    ) -> Committed:
        arrivals = {arrival.uri: arrival for arrival in self.state.arrivals(entry)}
        _check_complete(entry, scored, arrivals, again)
        rows = dict(scored)
        rows |= self._new_and_repeated(rows, arrivals)
        parts = [table for table in SCHEMAS if table in rows and rows[table].num_rows]
        with files.disk_errors(self.folder):
            for table in parts:
                staged = self._staged / _name(table, entry)
                write_part(rows[table].select(SCHEMAS[table].names).cast(SCHEMAS[table]), staged)
                _sync(staged)
                self._step(f"{table} staged")
            _sync(self._staged)
            images = rows["predictions"]["image_id"].to_pylist() if "predictions" in rows else []
            self._step("staged")
            self.state.commit(entry, parts, images, [arrivals[uri] for uri in again])
            self._step("committed")
            self._publish(entry, parts)
        counts = {table: rows[table].num_rows if table in rows else 0 for table in SCHEMAS}
        return Committed(
            entry, counts["predictions"], counts["rejects"], counts["repeats"], len(again)
        )

    def recover(self) -> None:
        """Publish committed parts, and delete staged parts that are not committed."""
        with files.disk_errors(self.folder):
            for entry, parts in self.state.unpublished():
                self._publish(entry, parts)
            for left in self._staged.iterdir():
                left.unlink()

    def _publish(self, entry: int, parts: Collection[str]) -> None:
        for table in parts:
            staged = self._staged / _name(table, entry)
            target = self.folder / table / _name(table, entry)
            if staged.exists():
                os.replace(staged, target)  # noqa: PTH105 - the atomic one
            elif not target.exists():
                raise InputError(
                    f"{target}: is committed but missing: restore it, or start in a new folder "
                    "with --out"
                )
            self._step(f"{table} published")
        for table in parts:
            _sync(self.folder / table)
        self.state.published(entry)
        self._step("published")

    def _new_and_repeated(
        self, scored: Mapping[str, pa.Table], arrivals: Mapping[str, Arrival]
    ) -> dict[str, pa.Table]:
        """``predictions`` of new images, ``repeats`` of the others."""
        if "predictions" not in scored:
            return {}
        predictions = scored["predictions"]
        image_ids = predictions["image_id"].to_pylist()
        seen = self.state.seen(image_ids)
        fresh = []
        for image_id in image_ids:
            fresh.append(image_id not in seen)
            seen.add(image_id)
        mask = pa.array(fresh, pa.bool_())
        again = predictions.filter(pc.invert(mask)).to_pylist()
        now = now_utc()
        repeats = [_repeat(row, arrivals[arrival_of(row["uri"], arrivals)], now) for row in again]
        return {
            "predictions": predictions.filter(mask),
            "repeats": pa.Table.from_pylist(repeats, schema=schemas.REPEATS),
        }


def arrival_of(uri: str, arrivals: Container[str]) -> str:
    """Path of the file of a row's ``uri``; a multi-frame file has several rows."""
    return uri if uri in arrivals else file_of(uri)


def _check_complete(
    entry: int,
    scored: Mapping[str, pa.Table],
    arrivals: Mapping[str, Arrival],
    again: Collection[str],
) -> None:
    """Check that each file is either scored, rejected or given back, without duplicate rows."""
    rows = {
        table: scored[table]["uri"].to_pylist() if table in scored else []
        for table in ("predictions", "rejects")
    }
    handled = [
        *{arrival_of(uri, arrivals) for uri in rows["predictions"]},
        *rows["rejects"],
        *again,
    ]
    images = len(rows["predictions"])
    if sorted(handled) != sorted(arrivals) or len(set(rows["predictions"])) != images:
        raise ValueError(f"entry {entry}: {len(arrivals)} files, but results for {len(handled)}")


def _repeat(row: Mapping[str, Any], arrival: Arrival, now: datetime) -> dict[str, Any]:
    return {
        "image_id": row["image_id"],
        "uri": row["uri"],
        "source": row["source"],
        "size_bytes": arrival.size_bytes,
        "modified_ns": arrival.modified_ns,
        "seen_at": now,
    }


def _ignore(step: str) -> None:
    del step


@contextlib.contextmanager
def open_store(
    folder: Path,
    identity: Mapping[str, Any],
    record: Callable[[], Mapping[str, Any]],
    *,
    step: Callable[[str], None] = _ignore,
) -> Iterator[StreamStore]:
    """Lock and open a stream's output folder, and recover from a killed stream.

    Args:
        folder: absolute; created if missing.
        identity: what all rows of the tables have in common, such as the bundle's id.
        record: returns the rest of the folder's record; called when it is created.
        step: called at each step of a commit, for tests that end the process there.

    Raises:
        UsageError: the folder is not a stream's output, or another stream is writing to it.
        InputError: a part of a table is missing.
        PlatformError: no space, or no right to write there.
    """
    check_folder(folder, identity)
    inner = folder / INNER
    with files.disk_errors(folder):
        (inner / "staged").mkdir(parents=True, exist_ok=True)
    with _locked(inner / "lock", folder):
        check_folder(folder, identity)
        with files.disk_errors(folder):
            for table, schema in SCHEMAS.items():
                (folder / table).mkdir(exist_ok=True)
                if not (folder / table / "empty.parquet").is_file():
                    write_empty(schema, folder / table)  # readers find the columns from the start
            if not (folder / RECORD).is_file():
                files.write_json(folder / RECORD, {"stream": dict(identity), **record()})
        with files.disk_errors(folder):
            state = _state_of(folder)
        store = StreamStore(folder, state, step)
        try:
            store.recover()
            yield store
        finally:
            store.state.close()


def check_folder(folder: Path, identity: Mapping[str, Any] | None = None) -> None:
    """Check that a folder is unused, or a stream's output.

    Args:
        folder: of the output.
        identity: of the stream; ``None``: not known yet.

    Raises:
        UsageError: it is not a stream's output, or belongs to another bundle.
    """
    if (folder / RECORD).is_file():
        stream = files.read_json(folder / RECORD).get("stream", {})
        if identity is not None and stream.get("model_id") != identity["model_id"]:
            raise UsageError(
                f"{folder}: belongs to the bundle {str(stream.get('model_id'))[:12]}, not to "
                f"{identity['model_id'][:12]}: choose another --out"
            )
        return
    if folder.exists() and (not folder.is_dir() or set(_names(folder)) - {INNER, *SCHEMAS}):
        raise UsageError(f"{folder}: is not a stream output folder: choose another --out")


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def check_free(folder: Path) -> None:
    """Check that no stream is writing to a folder.

    Raises:
        UsageError: a stream is writing to it.
    """
    lock = folder / INNER / "lock"
    if lock.is_file():
        with _locked(lock, folder):
            pass


@contextlib.contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    with files.disk_errors(folder):
        path.touch()
    with hold_lock(path, folder, writer="stream"):
        yield


def _state_of(folder: Path) -> StreamState:
    """The state; if missing or damaged, a new one rebuilt from the tables."""
    path = folder / INNER / STATE
    if path.is_file():
        # Only damage: a sound state on a faulty disk knows more than the tables.
        with contextlib.suppress(DamagedStateError):
            return StreamState(path)
    _remove(path)  # with its log, which SQLite would use for the new one
    # Under another name, so that an unfinished one is not mistaken for a complete one.
    aside = path.with_name(f"{STATE}.new")
    _remove(aside)
    state = StreamState(aside)
    last = 0
    for table in SCHEMAS:
        for part in parts_of(folder / table):
            number = part.stem.rpartition("-")[2]
            last = max(last, int(number) if number.isdigit() else 0)
            if table == "predictions":
                images = pq.read_table(part, columns=["image_id"])["image_id"].to_pylist()
                state.restore(last, images)
    state.restore(last, ())
    state.close()
    os.replace(aside, path)  # noqa: PTH105 - the atomic one
    _sync(path.parent)
    return StreamState(path)


def _remove(database: Path) -> None:
    for end in ("-wal", "-shm", ""):
        Path(f"{database}{end}").unlink(missing_ok=True)


def _name(table: str, entry: int) -> str:
    return f"{table}-{entry:010d}.parquet"


def _sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
