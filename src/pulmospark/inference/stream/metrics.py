"""How a stream is doing: counts and latencies, in words and for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from pulmospark.core.errors import EnvironmentProblem, UsageError
from pulmospark.core.extras import how_to_install
from pulmospark.inference.stream.store import Committed

LATENCY_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""upper bounds of the latency histogram"""

_KEPT = 100_000


class StreamMetrics:
    """Counts since the start; latency is from a file's landing to its row being readable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._line_at = time.monotonic()
        self._since_line = 0
        self._line_latencies: list[float] = []
        self._latencies: deque[float] = deque(maxlen=_KEPT)
        self._prometheus: _Prometheus | None = None
        self.images = self.rejects = self.repeats = self.again = self.restarts = 0

    def serve(self, port: int, host: str) -> int:
        """Answer Prometheus at ``http://host:port/metrics``; gives the port.

        Raises:
            EnvironmentProblem: prometheus-client is not installed.
            UsageError: the port is taken.
        """
        self._prometheus = _Prometheus(port, host)
        return self._prometheus.port

    def committed(self, told: Committed, latencies: Sequence[float]) -> None:
        """Count an entry, with the latencies of those of its files that landed since the start."""
        with self._lock:
            self.images += told.images
            self.rejects += told.rejects
            self.repeats += told.repeats
            self.again += told.again
            self._since_line += told.images
            self._latencies.extend(latencies)
            self._line_latencies.extend(latencies)
        if self._prometheus is not None:
            self._prometheus.committed(told, latencies)

    def waiting(self, files: int) -> None:
        """Set how many files are known to wait."""
        if self._prometheus is not None:
            self._prometheus.waiting.set(files)

    def restarted(self) -> None:
        """Count a Spark job that failed and was begun anew."""
        self.restarts += 1
        if self._prometheus is not None:
            self._prometheus.restarts.inc()

    def latency(self) -> tuple[float, float] | None:
        """Median and 99th percentile of the last 100,000 images, seconds; ``None``: no image."""
        with self._lock:
            return _middle_and_tail(self._latencies)

    def line(self, waiting: int) -> str:
        """What happened since the last line."""
        now = time.monotonic()
        with self._lock:
            rate = self._since_line / max(now - self._line_at, 1e-9)
            told = _middle_and_tail(self._line_latencies)
            self._line_at, self._since_line, self._line_latencies = now, 0, []
            text = (
                f"stream: {self.images:,} images, {self.rejects:,} rejects, "
                f"{self.repeats:,} repeats; {rate:.1f} images/s, {waiting:,} waiting"
            )
        if told is not None:
            text += f"; latency {told[0]:.2f} s, 99th percentile {told[1]:.2f} s"
        return text


def _middle_and_tail(latencies: Sequence[float]) -> tuple[float, float] | None:
    if not latencies:
        return None
    middle, tail = np.percentile(np.asarray(latencies), (50, 99))
    return float(middle), float(tail)


class _Prometheus:
    """The same numbers in a registry of their own, with a server."""

    def __init__(self, port: int, host: str) -> None:
        try:
            # Inside: an extra.
            import prometheus_client as client  # noqa: PLC0415
        except ImportError as error:
            raise EnvironmentProblem(
                f"prometheus-client is not installed: {how_to_install('metrics')}, or leave "
                "--metrics-port out"
            ) from error
        registry = client.CollectorRegistry()
        self._files: Any = client.Counter(
            "pulmospark_stream_files",
            "Files by what became of them",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("scored", "rejected", "repeated", "put_back"):
            self._files.labels(outcome)
        self._batches: Any = client.Counter(
            "pulmospark_stream_batches", "Micro-batches committed", registry=registry
        )
        self._latency: Any = client.Histogram(
            "pulmospark_stream_latency_seconds",
            "From an image's landing to its row being readable",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.waiting: Any = client.Gauge(
            "pulmospark_stream_waiting_files", "Files found and not taken yet", registry=registry
        )
        self.restarts: Any = client.Counter(
            "pulmospark_stream_restarts",
            "Spark jobs that failed and were begun anew",
            registry=registry,
        )
        self._last: Any = client.Gauge(
            "pulmospark_stream_last_commit_timestamp_seconds",
            "When the last micro-batch was committed",
            registry=registry,
        )
        try:
            server, _ = client.start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise UsageError(
                f"--metrics-port {port}: {error.strerror}: choose another port"
            ) from error
        self.port = int(server.server_port)

    def committed(self, told: Committed, latencies: Sequence[float]) -> None:
        for outcome, count in (
            ("scored", told.images),
            ("rejected", told.rejects),
            ("repeated", told.repeats),
            ("put_back", told.again),
        ):
            self._files.labels(outcome).inc(count)
        self._batches.inc()
        self._last.set_to_current_time()
        for one in latencies:
            self._latency.observe(one)
