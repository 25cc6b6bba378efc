"""The folder of a stream's output: tables that a plain reader always finds right.

    stream.json                   what the stream is of
    predictions/, rejects/,       one Parquet file an entry and table, complete from the moment
    repeats/                      it has its name, and never changed again
    _stream/                      lock, state, staged parts, engine

An entry is committed so:

1. Its parts are written to ``_stream/staged`` and synced to disk.
2. One transaction of the state says that the entry is committed, and which images it has.
3. Its parts are renamed into their tables.

Killed before 2, the entry is scored again, and what was staged is thrown away. Killed after
it, 3 is done at the next start: to rename what is renamed already changes nothing.
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

from pulmospark.core import files, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locks import hold_lock
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.rows import file_of
from pulmospark.inference.stream.ledger import Arrival, DamagedStateError, StreamState
from pulmospark.spark.chunks import parts_of, write_empty, write_part

RECORD = "stream.json"
"""marks a folder as the output of a stream"""
INNER = "_stream"
"""folder of what is no table; readers leave it out for its name"""
STATE = "state.sqlite"

SCHEMAS = {
    "rejects": schemas.REJECTS,
    "repeats": schemas.REPEATS,
    "predictions": schemas.PREDICTIONS,
}
"""table -> schema, in the order in which an entry's parts appear"""


@dataclass(frozen=True)
class Committed:
    """What an entry became."""

    entry: int
    images: int
    """new rows of predictions"""
    rejects: int
    repeats: int
    """images that have a row already"""
    again: int
    """files that were not whole yet, and will be read another time"""


class StreamStore:
    """The folder, while its lock is held. Made by :func:`open_store`."""

    def __init__(self, folder: Path, state: StreamState, step: Callable[[str], None]) -> None:
        self.folder, self.state = folder, state
        self._lock = threading.Lock()
        self._step = step
        self._staged = folder / INNER / "staged"

    def commit(
        self, entry: int, scored: Mapping[str, pa.Table], again: Collection[str] = ()
    ) -> Committed:
        """Commit what was found of an entry's files, and publish it.

        Args:
            entry: one that is not committed.
            scored: table -> rows, of ``predictions`` and ``rejects``.
            again: paths of files that are given back, to be taken another time.

        Raises:
            ValueError: a file of the entry has no row, or two.
            EnvironmentProblem: no space, or no right to write there.
        """
        with self._lock:  # two that hold the same image must not both find it new
            return self._commit(entry, scored, again)

    def _commit(
        self, entry: int, scored: Mapping[str, pa.Table], again: Collection[str]
    ) -> Committed:
        arrivals = {one.uri: one for one in self.state.arrivals(entry)}
        _check_all_told(entry, scored, arrivals, again)
        rows = dict(scored)
        rows |= self._told_apart(rows, arrivals)
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
        """Publish what is committed, and throw away what is staged and is not."""
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
                    f"{target}: is committed, and was taken away: put it back, or begin in a new "
                    "folder with --out"
                )
            self._step(f"{table} published")
        for table in parts:
            _sync(self.folder / table)
        self.state.published(entry)
        self._step("published")

    def _told_apart(
        self, scored: Mapping[str, pa.Table], arrivals: Mapping[str, Arrival]
    ) -> dict[str, pa.Table]:
        """``predictions`` of images that are new, ``repeats`` of the others."""
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
    """Path of the file that a row's ``uri`` is of; a file of several frames has several rows."""
    return uri if uri in arrivals else file_of(uri)


def _check_all_told(
    entry: int,
    scored: Mapping[str, pa.Table],
    arrivals: Mapping[str, Arrival],
    again: Collection[str],
) -> None:
    """See that each file is scored, rejected or given back, one of these, and no row is twice."""
    rows = {
        table: scored[table]["uri"].to_pylist() if table in scored else []
        for table in ("predictions", "rejects")
    }
    told = [*{arrival_of(uri, arrivals) for uri in rows["predictions"]}, *rows["rejects"], *again]
    images = len(rows["predictions"])
    if sorted(told) != sorted(arrivals) or len(set(rows["predictions"])) != images:
        raise ValueError(f"entry {entry}: {len(arrivals)} files, and {len(told)} that are told of")


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
    """Hold the folder of a stream's output; what a killed stream left is put in order.

    Args:
        folder: absolute; made where it is missing.
        identity: what all rows of the tables have in common, the bundle's id above all.
        record: what else the folder's record says, asked for when it is made.
        step: told each step of a commit; for tests that end the process there.

    Raises:
        UsageError: the folder holds something else, or another stream is writing to it.
        InputError: a part of a table is missing.
        EnvironmentProblem: no space, or no right to write there.
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
    """See that a folder is free, or a stream's.

    Args:
        folder: of the output.
        identity: of the stream; ``None``: not known yet.

    Raises:
        UsageError: it holds something else, or belongs to another bundle.
    """
    if (folder / RECORD).is_file():
        told = files.read_json(folder / RECORD).get("stream", {})
        if identity is not None and told.get("model_id") != identity["model_id"]:
            raise UsageError(
                f"{folder}: belongs to the bundle {str(told.get('model_id'))[:12]}, and this is "
                f"{identity['model_id'][:12]}: choose another --out"
            )
        return
    if folder.exists() and (not folder.is_dir() or set(_names(folder)) - {INNER, *SCHEMAS}):
        raise UsageError(f"{folder}: holds something that is no stream's: choose another --out")


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def check_free(folder: Path) -> None:
    """See that no stream writes to a folder now.

    Raises:
        UsageError: one does.
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
    """The state; where it is missing or damaged, a new one from what the tables hold."""
    path = folder / INNER / STATE
    if path.is_file():
        # Only damage: a state that is sound on a disk that is not knows more than the tables.
        with contextlib.suppress(DamagedStateError):
            return StreamState(path)
    _remove(path)  # its log as well, which SQLite would take for the new one's
    # Aside, so that one which was killed half-way is not taken for a whole one.
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
    """Have a file, or the names in a folder, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
