"""Counts and latencies of a stream, as text and for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.extras import how_to_install
from pulmospark.inference.stream.store import Committed

LATENCY_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""upper bounds of the latency histogram"""

_KEPT = 100_000


class StreamMetrics:
    """Counts since the start; latency runs from a file's landing until its row is readable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._line_at = time.monotonic()
        self._since_line = 0
        self._line_latencies: list[float] = []
        self._latencies: deque[float] = deque(maxlen=_KEPT)
        self._prometheus: _Prometheus | None = None
        self.images = self.rejects = self.repeats = self.again = self.restarts = 0

    def serve(self, port: int, host: str) -> int:
        """Serve metrics at ``http://host:port/metrics``; returns the port.

        Raises:
            PlatformError: prometheus-client is not installed.
            UsageError: the port is in use.
        """
        self._prometheus = _Prometheus(port, host)
        return self._prometheus.port

    def committed(self, entry: Committed, latencies: Sequence[float]) -> None:
        """Count an entry, with the latencies of its files that landed since the start."""
        with self._lock:
            self.images += entry.images
            self.rejects += entry.rejects
            self.repeats += entry.repeats
            self.again += entry.again
            self._since_line += entry.images
            self._latencies.extend(latencies)
            self._line_latencies.extend(latencies)
        if self._prometheus is not None:
            self._prometheus.committed(entry, latencies)

    def waiting(self, files: int) -> None:
        """Set the number of waiting files."""
        if self._prometheus is not None:
            self._prometheus.waiting.set(files)

    def restarted(self) -> None:
        """Count a failed Spark job that was restarted."""
        self.restarts += 1
        if self._prometheus is not None:
            self._prometheus.restarts.inc()

    def latency(self) -> tuple[float, float] | None:
        """Median and 99th percentile of the last 100,000 images, seconds; ``None``: no images."""
        with self._lock:
            return _median_and_p99(self._latencies)

    def line(self, waiting: int) -> str:
        """A line about what happened since the last one."""
        now = time.monotonic()
        with self._lock:
            rate = self._since_line / max(now - self._line_at, 1e-9)
            latency = _median_and_p99(self._line_latencies)
            self._line_at, self._since_line, self._line_latencies = now, 0, []
            text = (
                f"stream: {self.images:,} images, {self.rejects:,} rejects, "
                f"{self.repeats:,} repeats; {rate:.1f} images/s, {waiting:,} waiting"
            )
        if latency is not None:
            text += f"; latency {latency[0]:.2f} s, 99th percentile {latency[1]:.2f} s"
        return text


def _median_and_p99(latencies: Sequence[float]) -> tuple[float, float] | None:
    if not latencies:
        return None
    median, p99 = np.percentile(np.asarray(latencies), (50, 99))
    return float(median), float(p99)


class _Prometheus:
    """The same metrics in a separate registry, with a server."""

    def __init__(self, port: int, host: str) -> None:
        try:
            # Inside: an extra.
            import prometheus_client as client  # noqa: PLC0415
        except ImportError as error:
            raise PlatformError(
                f"prometheus-client is not installed: {how_to_install('metrics')}, or omit "
                "--metrics-port"
            ) from error
        registry = client.CollectorRegistry()
        self._files: Any = client.Counter(
            "pulmospark_stream_files",
            "Files by outcome",
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
            "From an image's landing until its row is readable",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.waiting: Any = client.Gauge(
            "pulmospark_stream_waiting_files", "Files found and not taken yet", registry=registry
        )
        self.restarts: Any = client.Counter(
            "pulmospark_stream_restarts",
            "Spark jobs that failed and were restarted",
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

    def committed(self, entry: Committed, latencies: Sequence[float]) -> None:
        for outcome, count in (
            ("scored", entry.images),
            ("rejected", entry.rejects),
            ("repeated", entry.repeats),
            ("put_back", entry.again),
        ):
            self._files.labels(outcome).inc(count)
        self._batches.inc()
        self._last.set_to_current_time()
        for latency in latencies:
            self._latency.observe(latency)
