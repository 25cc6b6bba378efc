"""The Spark side of a stream on the driver: its query, what it brings, and what goes wrong.

Spark's own checkpoint lives as long as the query: what outlasts a process is the state alone,
and a new query begins with the first entry that is not committed.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]

from pulmospark.core import limits, schemas
from pulmospark.core.errors import EnvironmentProblem, PulmosparkError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.source import NAME, ImagesSource, SourceSpec
from pulmospark.inference.stream.store import Committed, StreamStore, arrival_of
from pulmospark.inference.stream.tasks import CHANGED, from_bytes
from pulmospark.spark.chunks import error_from
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
"""what a file may look like while it is being copied"""

Heard = Callable[[Committed, Sequence[Arrival], Sequence[Arrival]], None]
IsYoung = Callable[[Arrival], bool]
"""whether a file changed so lately that it may still be on its way"""


class StreamQuery:
    """A streaming query that is begun anew when its job fails.

    Args:
        spark: the session.
        store: of the output.
        spec: of the source.
        source: name of the inbox in the tables.
        is_young: asked of files that cannot be read whole. Called from another thread.
        heard: told each entry that is committed: counts, files that have their row, files
            that are given back. Called from another thread.
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

    def start(self) -> None:
        """Begin with the first entry that is not committed."""
        self._forget_checkpoints()
        # A name of its own: the JVM of a driver that was killed may still write to the last one.
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
        """Let Spark write down what it has done: stopped before, it would call that an error."""
        if self._query is not None and self._failure is None:
            with contextlib.suppress(Exception):
                self._query.processAllAvailable()

    def stop(self) -> None:
        """End the query; nothing where Spark is gone already."""
        query, self._query = self._query, None
        if query is not None:
            with contextlib.suppress(Exception):
                query.stop()
        self._forget_checkpoints()

    def _forget_checkpoints(self) -> None:
        for old in self._inner.glob("checkpoint-*"):
            shutil.rmtree(old, ignore_errors=True)

    def failed(self) -> bool:
        """Whether what runs has failed.

        Raises:
            EnvironmentProblem: Spark itself is gone.
        """
        if self._failure is not None:
            return True
        with jvm_errors():
            return self._query is None or not self._query.isActive

    def begin_anew(self) -> None:
        """Start again after a failure; an entry that fails again and again is taken apart.

        Raises:
            PulmosparkError: what a task said, or that nothing gets better.
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
            raise cause  # no image's fault: none is taken apart for it
        if self._failures > limits.STREAM_RESTARTS_MAX or self._ended >= limits.STREAM_ENDED_MAX:
            raise EnvironmentProblem(
                f"Spark's jobs fail again and again: {cause.message}", detail=cause.detail
            )
        for entry in self._store.state.open_entries()[:1]:  # the one that was worked on
            self._take_apart(entry)
        self.start()

    def _take_apart(self, entry: int) -> None:
        """Find the image that ends its worker: halve what fails twice, reject what is left."""
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
            self._failures, self._ended = 0, self._ended + 1  # the image's, and it is gone

    def _on_batch(self, frame: DataFrame, batch_id: int) -> None:
        del batch_id  # the state's entries say what is what, whatever Spark counts
        try:
            found = frame.toArrow().to_pylist()
            for entry in sorted({row["entry"] for row in found}):
                self._commit(entry, [row for row in found if row["entry"] == entry])
        # Raised, it would come back from Java, wrapped; the main thread looks at it.
        except Exception as error:  # noqa: BLE001
            self._failure = error

    def _commit(self, entry: int, found: Sequence[Mapping[str, Any]]) -> None:
        for row in found:
            if row["error"]:
                raise error_from(row["error"])
        arrivals = self._store.state.arrivals(entry)
        pieces: dict[str, list[pa.Table]] = {}
        for row in found:
            if row["name"]:
                pieces.setdefault(row["name"], []).append(from_bytes(row["rows"]))
        scored = {name: pa.concat_tables(tables_) for name, tables_ in pieces.items()}
        told, done, again = commit(self._store, entry, scored, self._is_young)
        if arrivals:
            self._failures = self._ended = 0
        self._heard(told, done, again)


def commit(
    store: StreamStore, entry: int, scored: dict[str, pa.Table], is_young: IsYoung
) -> tuple[Committed, list[Arrival], list[Arrival]]:
    """Commit what was found of an entry's files, but for those that are on their way still.

    Args:
        store: of the output.
        entry: one that is not committed.
        scored: table -> rows; changed.
        is_young: asked of files that cannot be read whole.

    Returns:
        The counts, the files that have their row, and those that are given back.
    """
    arrivals = store.state.arrivals(entry)
    again = put_back(scored, arrivals, is_young)
    told = store.commit(entry, scored, again)
    done = [one for one in arrivals if one.uri not in again]
    return told, done, [one for one in arrivals if one.uri in again]


def put_back(
    scored: dict[str, pa.Table], arrivals: Sequence[Arrival], is_young: IsYoung
) -> set[str]:
    """Take out of the rows of an entry those of files that seem to be on their way still.

    Args:
        scored: table -> rows; changed.
        arrivals: the files of the entry.
        is_young: asked of files that cannot be read whole.

    Returns:
        Their paths: files that changed while they were read, and files that changed lately and
        could not be read whole.
    """
    changed = scored.pop(CHANGED, None)
    again = set() if changed is None else set(changed["uri"].to_pylist())
    if "rejects" in scored:
        by_uri = {one.uri: one for one in arrivals}
        again |= {
            row["uri"]
            for row in scored["rejects"].select(["uri", "reason"]).to_pylist()
            if row["reason"] in PASSING and is_young(by_uri[row["uri"]])
        }
    if again:
        paths = {one.uri for one in arrivals}
        for name, rows in scored.items():
            kept = [arrival_of(uri, paths) not in again for uri in rows["uri"].to_pylist()]
            scored[name] = rows.filter(pa.array(kept, pa.bool_()))
    return again


@contextlib.contextmanager
def jvm_errors() -> Iterator[None]:
    """Turn the end of Spark's JVM into one line."""
    try:
        yield
    except (Py4JError, OSError) as error:
        raise EnvironmentProblem(
            "Spark has ended: run the same command again, and the stream goes on where it was",
            detail=str(error),
        ) from error
