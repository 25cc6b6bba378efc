"""Counts and latencies, as text and as Prometheus reads them."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from pulmospark.core.errors import UsageError
from pulmospark.inference.stream.metrics import StreamMetrics
from pulmospark.inference.stream.store import Committed


def _read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_prometheus_reads_what_was_committed() -> None:
    metrics = StreamMetrics()
    port = metrics.serve(0, "127.0.0.1")
    metrics.committed(Committed(1, images=3, rejects=2, repeats=1, again=1), [0.15, 0.25, 7.0])
    metrics.waiting(9)
    metrics.restarted()
    samples = _read(port)
    for outcome, count in {"scored": 3, "rejected": 2, "repeated": 1, "put_back": 1}.items():
        assert samples[f'pulmospark_stream_files_total{{outcome="{outcome}"}}'] == count
    assert samples['pulmospark_stream_latency_seconds_bucket{le="0.2"}'] == 1
    assert samples['pulmospark_stream_latency_seconds_bucket{le="10.0"}'] == 3
    assert samples["pulmospark_stream_latency_seconds_sum"] == pytest.approx(7.4)
    assert samples["pulmospark_stream_waiting_files"] == 9
    assert samples["pulmospark_stream_restarts_total"] == 1
    # Two streams in one process do not share their numbers.
    assert _read(StreamMetrics().serve(0, "127.0.0.1"))["pulmospark_stream_batches_total"] == 0


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--metrics-port {port}: .*in use"):
            StreamMetrics().serve(port, "127.0.0.1")


def test_a_line_reports_what_happened_since_the_last() -> None:
    metrics = StreamMetrics()
    assert metrics.latency() is None
    metrics.committed(Committed(1, images=1200, rejects=2, repeats=1, again=0), [0.2, 0.3, 0.4])
    line = metrics.line(waiting=5)
    assert line.startswith("stream: 1,200 images, 2 rejects, 1 repeats; ")
    assert "5 waiting; latency 0.30 s, 99th percentile 0.40 s" in line
    assert "latency" not in metrics.line(waiting=0)
    assert metrics.latency() == pytest.approx((0.3, 0.398))
