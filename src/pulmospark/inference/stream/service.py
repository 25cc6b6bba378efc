"""Scores images as they land in a folder or a store, with a bundle, into growing tables."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from pulmospark.core import limits
from pulmospark.core.records import Record
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.metrics import StreamMetrics
from pulmospark.inference.stream.output import STATE, open_output, work_folder
from pulmospark.inference.stream.plan import StreamPlan
from pulmospark.inference.stream.query import StreamQuery, commit, jvm_errors
from pulmospark.inference.stream.source import SourceSpec
from pulmospark.inference.stream.store import Committed, StreamStore
from pulmospark.inference.stream.tasks import StreamWork
from pulmospark.layouts.notes import printable
from pulmospark.spark.background_start import started_early
from pulmospark.spark.preflight import preflight
from pulmospark.spark.session import slots
from pulmospark.store.patience import patiently

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LINE_EVERY_S = 10.0
_CHECK_EVERY_S = 0.5


class StreamResult(Record):
    """The result of a stream, from start to stop."""

    model_config = ConfigDict(frozen=True)

    folder: Path | None
    """of the output; ``None``: it is in a store"""
    address: str | None
    """of the output in a store"""
    bundle: Path
    model_id: str
    images: int
    """scored"""
    rejects: int
    repeats: int
    """files whose image (by content) had been scored before"""
    precision: PrecisionOutcome
    """precision of the network's arithmetic, and how it was chosen"""
    restarts: int
    """Spark jobs that failed and were restarted"""
    seconds: float
    latency_median_s: float | None
    """from landing to row, over images that landed while it ran; ``None``: there were none"""
    latency_p99_s: float | None


def run_stream(
    plan: StreamPlan,
    session: AbstractContextManager[SparkSession],
    *,
    once: bool = False,
    stop: threading.Event | None = None,
    metrics: StreamMetrics | None = None,
    report: Callable[[str], None] | None = None,
) -> StreamResult:
    """Score images as they land, until ``stop`` is set.

    ``plan.target`` gets the tables ``predictions`` (``core.schemas.PREDICTIONS``), ``rejects``
    (``core.schemas.REJECTS``) and ``repeats`` (``core.schemas.REPEATS``), which are Delta tables.
    At any moment a reader finds each image in ``predictions`` once, whatever was killed before;
    on a disk, also a reader of Parquet files.

    Args:
        plan: see :func:`.plan.plan_stream`.
        session: opened once the output's lock is held: ``spark_session(...)``, or
            ``contextlib.nullcontext(spark)``. Until it is ready, images are scored in this
            process.
        once: stop when every file in the inbox has its row.
        stop: ends the stream after the entries in progress; before Spark is ready, an earlier
            process's unfinished entries remain.
        metrics: receives the counts.
        report: called with a line of progress every ten seconds, unless nothing happened.

    Raises:
        UsageError: another stream writes to the output, or it belongs to another bundle.
        InputError: the inbox cannot be listed.
        SourceUnavailableError: a store failed for longer than a stream waits for it.
        PlatformError: Spark ended, or its jobs fail repeatedly; no space, or no right to
            write there.
    """
    begun = time.monotonic()
    measured = metrics or StreamMetrics()
    with open_output(plan.target, plan.identity(), plan.record) as store:
        stopped, report = stop or threading.Event(), report or _ignore_line
        with started_early(session) as opening:
            scorer, precision = plan.scorer()
            run = _Run(plan, store, scorer, metrics=measured, report=report)
            run.before(lambda: opening.is_there, stopped)
            with opening as spark:
                # Not earlier: while Spark starts, it logs to standard error.
                report(f"stream: {precision.line()}")
                if not stopped.is_set():
                    run.until(spark, stopped, once=once)
    return _result(plan, measured, precision, time.monotonic() - begun)


def _result(
    plan: StreamPlan, measured: StreamMetrics, precision: PrecisionOutcome, seconds: float
) -> StreamResult:
    latency = measured.latency()
    return StreamResult(
        folder=plan.target if isinstance(plan.target, Path) else None,
        address=None if isinstance(plan.target, Path) else str(plan.target),
        bundle=plan.bundle.folder,
        model_id=plan.bundle.model_id,
        images=measured.images,
        rejects=measured.rejects,
        repeats=measured.repeats,
        precision=precision,
        restarts=measured.restarts,
        seconds=round(seconds, 3),
        latency_median_s=None if latency is None else round(latency[0], 4),
        latency_p99_s=None if latency is None else round(latency[1], 4),
    )


def _ignore_line(text: str) -> None:
    del text


class _Run:
    """The driver's loop: from the inbox to entries, as fast as they are committed."""

    def __init__(
        self,
        plan: StreamPlan,
        store: StreamStore,
        scorer: Scorer,
        *,
        metrics: StreamMetrics,
        report: Callable[[str], None],
    ) -> None:
        config = plan.bundle.config
        self._plan, self._store, self._metrics, self._report = plan, store, metrics, report
        self._inbox = plan.opened_inbox(store)
        self._heard: queue.SimpleQueue[tuple[Sequence[Arrival], Sequence[Arrival]]] = (
            queue.SimpleQueue()
        )
        self._wake = threading.Event()
        self._ready_ns: int | None = None
        self._worked: float | None = None
        self._said = (0, 0, 0)
        self._work = StreamWork(
            source=printable(plan.inbox.name) or "files",
            scorer=scorer,
            settings=plan.settings.reading(config.ingest),
            inbox=str(plan.inbox) if isinstance(plan.inbox, Path) else None,
            phantoms_only=config.phantoms and not plan.settings.allow_phantom_model,
        )
        # An unfinished entry may hold an image that crashed the process: it waits for a Spark
        # worker, and so does everything else, since there may be more such images.
        self._scores_here = not store.state.left_here and scorer.engine.kind == "openvino"

    def before(self, is_there: Callable[[], bool], stop: threading.Event) -> None:
        """Score files of the inbox in this process until Spark is ready."""
        while self._scores_here and not (is_there() or stop.is_set()):
            if not self._score_here():
                stop.wait(min(self._plan.settings.poll_s, _CHECK_EVERY_S))

    def _score_here(self) -> int:
        """Score a few images of the inbox in this process; returns how many."""
        if not self._inbox.pause_s:
            self._inbox.look()
        arrivals = self._inbox.take(limits.STREAM_EARLY_IMAGES)
        if arrivals:
            entry = self._store.state.plan(arrivals, here=True)
            scored = patiently(lambda: dict(self._work.score(arrivals)))
            committed, done, again = commit(self._store, entry, scored, self._is_young)
            self._metrics.committed(committed, ())
            for arrival in done:
                self._inbox.settled(arrival)
            for arrival in again:
                self._inbox.give_back(arrival)
        return len(arrivals)

    def _is_young(self, arrival: Arrival) -> bool:
        """Also called from the query's thread."""
        return self._inbox.unchanged_s(arrival) < self._plan.settings.patience_s

    def _query_on(self, spark: SparkSession) -> StreamQuery:
        work, inbox = work_folder(self._plan.target), self._plan.inbox
        reads = [str(inbox)] if isinstance(inbox, Path) else []
        preflight(spark, reads=reads, folder=work)
        with jvm_errors():
            at_once = slots(spark)
        return StreamQuery(
            spark,
            self._store,
            SourceSpec(str(work / STATE), at_once, self._work.to_json()),
            source=self._work.source,
            is_young=self._is_young,
            heard=self._on_committed,
        )

    def until(self, spark: SparkSession, stop: threading.Event, *, once: bool) -> None:
        """Run until stopped, then finish the entries in progress."""
        query = self._query_on(spark)
        begun = time.monotonic()
        checked = lined = begun
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="query") as pool:
                starting = pool.submit(query.start)  # takes seconds, while images keep landing
                self.before(starting.done, stop)
                starting.result()
            while True:
                self._wake.clear()
                self._hear()
                now = time.monotonic()
                if now - checked >= _CHECK_EVERY_S:
                    checked = now
                    if query.failed():
                        self._metrics.restarted()
                        query.begin_anew()
                running = not stop.is_set()
                if running:
                    self._take()
                for text in self._inbox.left_out():
                    self._report(f"stream: {text}")
                idle = not self._store.state.open_entries() and self._heard.empty()
                if idle and (not running or (once and self._inbox.drained)):
                    query.finish()
                    break
                if now - lined >= LINE_EVERY_S:
                    lined = now
                    self._line()
                pause_s = self._inbox.pause_s or self._plan.settings.poll_s
                self._wake.wait(min(pause_s, _CHECK_EVERY_S))
        finally:
            query.stop()
        self._line()

    def _take(self) -> None:
        """Plan an entry of settled files: one being scored, and a full one waiting.

        Until an entry without images has warmed up Spark's workers, this process scores.
        """
        state, images = self._store.state, self._plan.settings.batch_images
        in_progress = len(state.open_entries())
        if self._scores_here and self._ready_ns is None:
            if self._worked is None:
                if not in_progress:
                    state.plan([])
                self._worked = time.monotonic()
            if self._score_here():
                self._wake.set()
            return
        if in_progress >= limits.STREAM_PLANNED_MAX:
            return
        if not self._inbox.pause_s:
            self._inbox.look()
        if in_progress and self._inbox.waiting < images:
            return
        arrivals = self._inbox.take(images)
        if arrivals or (not in_progress and self._is_cold()):
            state.plan(arrivals)
            self._worked = time.monotonic()

    def _is_cold(self) -> bool:
        """Whether workers have been idle for so long that Spark may end them."""
        return self._worked is None or time.monotonic() - self._worked > limits.STREAM_WARM_S

    def _on_committed(
        self, committed: Committed, done: Sequence[Arrival], again: Sequence[Arrival]
    ) -> None:
        """Called from the query's thread."""
        now_ns = time.time_ns()
        since = self._ready_ns
        if since is None:
            self._ready_ns = now_ns
            self._report(f"stream: ready, watching {printable(str(self._plan.inbox))}")
        latencies = [
            (now_ns - arrival.landed_ns) / 1e9
            for arrival in done
            if since is not None and arrival.landed_ns >= since
        ]
        if done or again:
            self._metrics.committed(committed, latencies)
        self._heard.put((done, again))
        self._wake.set()

    def _hear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                done, again = self._heard.get_nowait()
                for arrival in done:
                    self._inbox.settled(arrival)
                for arrival in again:
                    self._inbox.give_back(arrival)
        self._metrics.waiting(self._inbox.waiting)

    def _line(self) -> None:
        counts = (self._metrics.images, self._metrics.rejects, self._metrics.repeats)
        if counts != self._said:
            self._said = counts
            self._report(self._metrics.line(self._inbox.waiting))
