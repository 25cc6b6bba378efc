"""The tables of a stream's output: each batch is in them once, whatever was killed and when.

    stream.json                   record of the stream
    predictions/, rejects/,       Delta tables, to which each batch adds at most one file; on a
    repeats/                      disk also readable without the log
    _stream/arrivals/             Delta table: one row per file, and the commits of the stream

A batch is committed in four steps:

1. Its parts are written; on a disk aside, so that no reader sees them yet.
2. Its files' rows are written, and added to ``arrivals`` with the batch's number as application
   transaction: the log's entry is the commit. Two streams cannot commit the same number.
3. The index of this machine learns of it (:mod:`.ledger`).
4. Its parts are added to their tables, with the same number.

If killed before step 2, the batch never happened. If killed later, the next start repeats steps 3
and 4, on any machine: a table that has the number has the part.
"""

from __future__ import annotations

import io
import re
import threading
import uuid
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks import part_bytes
from pulmospark.core import schemas
from pulmospark.core import stream_limits as limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.rows import file_of
from pulmospark.inference.stream.ledger import Arrival, StreamState
from pulmospark.inference.stream.upkeep import keep_up, warn_without_checkpoints
from pulmospark.store.append_log import AppendLog, NewFile
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.places import Place

INNER = "_stream"
"""folder for everything other than tables; readers skip it because of its name"""
ARRIVALS = f"{INNER}/arrivals"
APPLICATION = "pulmospark-stream"
"""whose transactions the batches are, in the tables' logs"""

SCHEMAS = {
    "rejects": schemas.REJECTS,
    "repeats": schemas.REPEATS,
    "predictions": schemas.PREDICTIONS,
}
"""table -> schema, in the order in which a batch's parts appear"""
_PART = re.compile(r"(arrivals|predictions|rejects|repeats)-(\d{10})-[0-9a-f]{8}\.parquet")


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
    """The tables of an output with their index. Created by :func:`.output.open_output`."""

    def __init__(self, place: Place, state: StreamState, step: Callable[[str], None]) -> None:
        self.state = state
        self._place, self._step = place, step
        self._lock = threading.Lock()
        self._arrivals = AppendLog(place, ARRIVALS, APPLICATION)
        self._logs = {table: AppendLog(place, table, APPLICATION) for table in SCHEMAS}

    def open(self) -> None:
        """Open the logs, publish what is committed, and bring the index up to date.

        Raises:
            InputError: a log is damaged, or a committed part is missing.
            SourceUnavailableError: the store fails.
        """
        warn_without_checkpoints(self._place)
        for table, log in self._logs.items():
            log.open(SCHEMAS[table], self._unlogged(table))
        self._arrivals.open(schemas.ARRIVALS)
        batch = self._arrivals.batch
        if batch and any(log.batch < batch for log in self._logs.values()):
            self._publish(batch, self._parts_of(batch))
        if self._place.renames:
            for left in self._place.names(f"{INNER}/staged"):
                self._place.remove(f"{INNER}/staged/{left}")
        self._learn(batch)

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
            UsageError: another stream writes to the same output.
            PlatformError: no space, or no right to write there.
            SourceUnavailableError: the store fails.
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
        batch = self._arrivals.batch
        parts: dict[str, NewFile] = {}
        if len(arrivals) > len(again):
            batch += 1
            for table in SCHEMAS:
                if table in rows and rows[table].num_rows:
                    parts[table] = self._stage(table, batch, rows[table])
                    self._step(f"{table} staged")
            self._record(batch, arrivals, rows, parts)
            self._step("committed")
        images = rows["predictions"]["image_id"].to_pylist() if "predictions" in rows else []
        self.state.commit(entry, batch, images, [arrivals[uri] for uri in again])
        self._step("indexed")
        self._publish(batch, parts)
        if parts and batch % limits.STREAM_UPKEEP_BATCHES == 0:
            keep_up(self._place, [ARRIVALS, *SCHEMAS])
        counts = {table: rows[table].num_rows if table in rows else 0 for table in SCHEMAS}
        return Committed(
            entry, counts["predictions"], counts["rejects"], counts["repeats"], len(again)
        )

    def _stage(self, table: str, batch: int, rows: pa.Table) -> NewFile:
        """Write a part where readers do not see it: aside, or where no log names it."""
        data = part_bytes(rows.select(SCHEMAS[table].names).cast(SCHEMAS[table]))
        name = _name(table, batch)
        self._place.write(self._staged(table, name), data)
        return NewFile(name, len(data), rows.num_rows)

    def _record(
        self,
        batch: int,
        arrivals: Mapping[str, Arrival],
        rows: Mapping[str, pa.Table],
        parts: Mapping[str, NewFile],
    ) -> None:
        """Commit a batch: from this point on its rows will appear, whatever happens."""
        held: dict[str, set[str]] = {}
        for table, part in parts.items():
            for uri in rows[table]["uri"].to_pylist():
                held.setdefault(arrival_of(uri, arrivals), set()).add(part.name)
        listed = [
            {
                "batch": batch,
                "uri": uri,
                "size_bytes": arrivals[uri].size_bytes,
                "modified_ns": arrivals[uri].modified_ns,
                "etag": arrivals[uri].etag,
                "parts": sorted(names),
            }
            for uri, names in held.items()
        ]
        data = part_bytes(pa.Table.from_pylist(listed, schema=schemas.ARRIVALS))
        name = _name("arrivals", batch)
        self._place.write(f"{ARRIVALS}/{name}", data)
        self._step("recorded")
        if not self._arrivals.append([NewFile(name, len(data), len(listed))], batch):
            raise UsageError(
                f"{self._place}: another stream writes there, and was faster: stop one of the two"
            )

    def _publish(self, batch: int, parts: Mapping[str, NewFile]) -> None:
        """Add the parts of a committed batch to their tables; what is there stays."""
        for table, part in parts.items():
            if self._place.renames:
                try:
                    self._place.rename(self._staged(table, part.name), f"{table}/{part.name}")
                except ObjectMissingError:
                    self._size(table, part.name)  # an earlier start has renamed it
            self._logs[table].append([part], batch)
            self._step(f"{table} published")

    def _parts_of(self, batch: int) -> dict[str, NewFile]:
        """The parts of a committed batch, in the order in which they appear."""
        names = {
            name
            for rows in self._rows(ARRIVALS, batch - 1, ["batch", "parts"])
            for row in rows
            if row["batch"] == batch
            for name in row["parts"]
        }
        parts = {}
        for name in sorted(names, key=lambda name: [*SCHEMAS].index(name.partition("-")[0])):
            table = name.partition("-")[0]
            if self._logs[table].batch < batch:
                parts[table] = NewFile(name, self._size(table, name))
        return parts

    def _size(self, table: str, name: str) -> int:
        for key in (self._staged(table, name), f"{table}/{name}"):
            try:
                return self._place.size(key)
            except ObjectMissingError:
                continue
        raise InputError(
            f"{self._place}/{table}/{name}: is committed but missing: restore it, or start in a "
            "new folder with --out"
        )

    def _staged(self, table: str, name: str) -> str:
        return f"{INNER}/staged/{name}" if self._place.renames else f"{table}/{name}"

    def _unlogged(self, table: str) -> Iterator[NewFile]:
        """Parts of version 0.2, which wrote no log; read only where there is none."""
        if self._place.renames:
            for name in self._place.names(table):
                if name.startswith(f"{table}-") and name.endswith(".parquet"):
                    yield NewFile(name, self._place.size(f"{table}/{name}"))

    def _learn(self, batch: int) -> None:
        """Have the index take in the batches that it does not know."""
        known = self.state.output
        after = known[1] if known and known[0] == self._arrivals.table_id else 0
        if known and (known[0] != self._arrivals.table_id or after > batch):
            self.state.clear()  # of an output that was there before
            known, after = None, 0
        if known and after == batch:
            return
        files = ["batch", "uri", "size_bytes", "modified_ns", "etag"]
        taken = (
            Arrival(row["uri"], row["size_bytes"], row["modified_ns"], 0, etag=row["etag"]).key
            for rows in self._rows(ARRIVALS, after, files)
            for row in rows
        )
        images = (
            row["image_id"]
            for rows in self._rows("predictions", after, ["image_id"])
            for row in rows
        )
        self.state.learn(self._arrivals.table_id, batch, taken, images)

    def _rows(self, table: str, after: int, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
        """Rows of a table, file by file, but for those of files of earlier batches."""
        log = self._arrivals if table == ARRIVALS else self._logs[table]
        names = []
        for name in log.files():
            match = _PART.fullmatch(name)  # files of several batches have names of other programs
            if match is None or int(match[2]) > after:
                names.append(name)
        for data in self._place.read_many(f"{table}/{name}" for name in names):
            with pq.ParquetFile(io.BytesIO(data)) as file:
                yield file.read(columns).to_pylist()

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


def _name(table: str, batch: int) -> str:
    """Unique: of two streams that stage the same batch neither may overwrite the other's part."""
    return f"{table}-{batch:010d}-{uuid.uuid4().hex[:8]}.parquet"
