"""The Spark side of a stream on the driver: its query, the results, and error handling.

Spark's checkpoint lives only as long as the query. Only the stream's state outlasts a process, and
a new query begins with the first entry that is not committed.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]

from pulmospark.chunks import error_from
from pulmospark.core import limits, schemas, stream_limits
from pulmospark.core.errors import PlatformError, PulmosparkError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.source import NAME, ImagesSource, SourceSpec
from pulmospark.inference.stream.store import Committed, StreamStore, arrival_of
from pulmospark.inference.stream.tasks import CHANGED, from_bytes
from pulmospark.spark.failures import job_failure
from pulmospark.spark.paths import spark_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

PASSING = frozenset(
    {
        RejectReason.TRUNCATED.value,
        RejectReason.UNREADABLE.value,
        RejectReason.EMPTY.value,
        RejectReason.NOT_AN_IMAGE.value,
    }
)
"""reasons for which a file may be rejected while it is being copied"""

Heard = Callable[[Committed, Sequence[Arrival], Sequence[Arrival]], None]
IsYoung = Callable[[Arrival], bool]
"""whether a file changed so recently that it may still be being copied"""


class StreamQuery:
    """A streaming query that restarts when its job fails.

    Args:
        spark: the session.
        store: of the output.
        spec: of the source.
        source: name of the inbox in the tables.
        is_young: called for files that cannot be read completely, from another thread.
        heard: called for each committed entry with its counts, the files that have their row,
            and the files given back; from another thread.
    """

    def __init__(
        self,
        spark: SparkSession,
        store: StreamStore,
        spec: SourceSpec,
        *,
        source: str,
        is_young: IsYoung,
        heard: Heard,
    ) -> None:
        self._spark, self._store, self._spec = spark, store, spec
        self._source, self._is_young, self._heard = source, is_young, heard
        self._query: StreamingQuery | None = None
        self._inner = Path(spec.state).parent
        self._failure: Exception | None = None
        self._failures = 0
        self._ended = 0
        self._unavailable: tuple[float, float] | None = None
        """since when images cannot be read, and the next pause, seconds"""

    def start(self) -> None:
        """Begin with the first entry that is not committed."""
        self._forget_checkpoints()
        # A new name: the JVM of a killed driver may still write to the last one.
        checkpoint = self._inner / f"checkpoint-{uuid.uuid4().hex}"
        self._failure = None
        with jvm_errors():
            self._spark.dataSource.register(ImagesSource)
            images = self._spark.readStream.format(NAME).option("spec", self._spec.to_json())
            self._query = (
                images.load()
                .writeStream.queryName("pulmospark")
                .option("checkpointLocation", spark_path(checkpoint))
                .foreachBatch(self._on_batch)
                .start()
            )

    def finish(self) -> None:
        """Let Spark record what it has done: stopped earlier, it would report an error."""
        if self._query is not None and self._failure is None:
            with contextlib.suppress(Exception):
                self._query.processAllAvailable()

    def stop(self) -> None:
        """End the query, if Spark is still running."""
        query, self._query = self._query, None
        if query is not None:
            with contextlib.suppress(Exception):
                query.stop()
        self._forget_checkpoints()

    def _forget_checkpoints(self) -> None:
        for old in self._inner.glob("checkpoint-*"):
            shutil.rmtree(old, ignore_errors=True)

    def failed(self) -> bool:
        """Whether the query has failed.

        Raises:
            PlatformError: Spark itself has ended.
        """
        if self._failure is not None:
            return True
        with jvm_errors():
            return self._query is None or not self._query.isActive

    def begin_anew(self) -> None:
        """Restart after a failure; an entry that fails repeatedly is split.

        Raises:
            PulmosparkError: a task's error, too many failures, or images that cannot be read for
            longer than ``STORE_PATIENCE_S``.
        """
        failure, query = self._failure, self._query
        if failure is None and query is not None:
            with contextlib.suppress(Exception):
                failure = query.exception()
        self.stop()
        if isinstance(failure, PulmosparkError):
            raise failure
        self._failures += 1
        cause = job_failure(failure or RuntimeError("the query ended without an error message"))
        if isinstance(cause, SourceUnavailableError):
            self._wait_for_source(cause)  # not caused by an image, so no entry is split
            self.start()
            return
        if self._failures > limits.STREAM_RESTARTS_MAX or self._ended >= limits.STREAM_ENDED_MAX:
            raise PlatformError(
                f"Spark's jobs fail repeatedly: {cause.message}", detail=cause.detail
            )
        for entry in self._store.state.open_entries()[:1]:  # the one in progress
            self._split(entry)
        self.start()

    def _wait_for_source(self, cause: SourceUnavailableError) -> None:
        """Pause, longer each time; raise once no image has been read for too long."""
        now = time.monotonic()
        if self._unavailable is None:
            self._unavailable = (now, stream_limits.STORE_PAUSE_S)
        since, pause_s = self._unavailable
        if now + pause_s > since + stream_limits.STORE_PATIENCE_S:
            raise cause
        time.sleep(pause_s)
        self._failures -= 1
        self._unavailable = (since, min(2 * pause_s, stream_limits.STORE_PAUSE_S_MAX))

    def _split(self, entry: int) -> None:
        """Find an image that crashes its worker: halve what fails twice, reject a single image."""
        state = self._store.state
        tries, arrivals = state.failed(entry), state.arrivals(entry)
        if len(arrivals) > 1 and tries >= 2:
            state.halve(entry)
        elif len(arrivals) == 1 and tries >= limits.STREAM_TRIES_MAX:
            row = {
                "uri": arrivals[0].uri,
                "source": self._source,
                "image_id": None,
                "size_bytes": arrivals[0].size_bytes,
                "modified_ns": arrivals[0].modified_ns,
                "reason": RejectReason.ENDED_ITS_WORKER.value,
                "detail": f"ended the worker that read it, {tries} times",
            }
            rejects = pa.Table.from_pylist([row], schema=schemas.REJECTS)
            self._heard(self._store.commit(entry, {"rejects": rejects}), arrivals, [])
            self._failures, self._ended = 0, self._ended + 1  # the image caused them

    def _on_batch(self, frame: DataFrame, batch_id: int) -> None:
        del batch_id  # the state numbers the entries, whatever Spark counts
        try:
            rows = frame.toArrow().to_pylist()
            for entry in sorted({row["entry"] for row in rows}):
                self._commit(entry, [row for row in rows if row["entry"] == entry])
        # Raised, it would return through Java, wrapped; the main thread handles it.
        except Exception as error:  # noqa: BLE001
            self._failure = error

    def _commit(self, entry: int, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            if row["error"]:
                raise error_from(row["error"])
        arrivals = self._store.state.arrivals(entry)
        pieces: dict[str, list[pa.Table]] = {}
        for row in rows:
            if row["name"]:
                pieces.setdefault(row["name"], []).append(from_bytes(row["rows"]))
        scored = {name: pa.concat_tables(tables_) for name, tables_ in pieces.items()}
        committed, done, again = commit(self._store, entry, scored, self._is_young)
        if arrivals:
            self._failures = self._ended = 0
            self._unavailable = None
        self._heard(committed, done, again)


def commit(
    store: StreamStore, entry: int, scored: dict[str, pa.Table], is_young: IsYoung
) -> tuple[Committed, list[Arrival], list[Arrival]]:
    """Commit the results of an entry's files, except those still being copied.

    Args:
        store: of the output.
        entry: not committed yet.
        scored: table -> rows; modified.
        is_young: called for files that cannot be read completely.

    Returns:
        The counts, the files that have their row, and those given back.
    """
    arrivals = store.state.arrivals(entry)
    again = put_back(scored, arrivals, is_young)
    committed = store.commit(entry, scored, again)
    done = [arrival for arrival in arrivals if arrival.uri not in again]
    return committed, done, [arrival for arrival in arrivals if arrival.uri in again]


def put_back(
    scored: dict[str, pa.Table], arrivals: Sequence[Arrival], is_young: IsYoung
) -> set[str]:
    """Remove from an entry the rows of files that seem to be still being copied.

    Args:
        scored: table -> rows; modified.
        arrivals: the files of the entry.
        is_young: called for files that cannot be read completely.

    Returns:
        Their paths: files that changed while being read, and files that changed recently and
        could not be read completely.
    """
    changed = scored.pop(CHANGED, None)
    again = set() if changed is None else set(changed["uri"].to_pylist())
    if "rejects" in scored:
        by_uri = {arrival.uri: arrival for arrival in arrivals}
        again |= {
            row["uri"]
            for row in scored["rejects"].select(["uri", "reason"]).to_pylist()
            if row["reason"] in PASSING and is_young(by_uri[row["uri"]])
        }
    if again:
        paths = {arrival.uri for arrival in arrivals}
        for name, rows in scored.items():
            kept = [arrival_of(uri, paths) not in again for uri in rows["uri"].to_pylist()]
            scored[name] = rows.filter(pa.array(kept, pa.bool_()))
    return again


@contextlib.contextmanager
def jvm_errors() -> Iterator[None]:
    """Turn the end of Spark's JVM into a one-line error."""
    try:
        yield
    except (Py4JError, OSError) as error:
        raise PlatformError(
            "Spark has ended: rerun the command, and the stream resumes where it stopped",
            detail=str(error),
        ) from error
