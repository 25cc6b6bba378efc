"""Counts and times of the service for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 30.0, 60.0)
"""upper bounds of the histogram of requests"""


class ServeMetrics:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "pulmospark_serve_requests",
            "Requests by route and status",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "pulmospark_serve_request_seconds",
            "From a request's headers to its answer's end",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._images = Counter(
            "pulmospark_serve_images", "Images by outcome", ["outcome"], registry=registry
        )
        for outcome in ("scored", "rejected", "abstained"):
            self._images.labels(outcome)
        self.queued = Gauge(
            "pulmospark_serve_queued_files", "Files that wait to be scored", registry=registry
        )
        self.held = Gauge(
            "pulmospark_serve_body_bytes", "Bytes of bodies in progress", registry=registry
        )
        self._ready = Gauge("pulmospark_serve_ready", "1: the model is open", registry=registry)
        self._model = Gauge(
            "pulmospark_serve_model", "The served model", ["name", "digest"], registry=registry
        )

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: its template, of which there are a few.
            status: of HTTP.
            seconds: that it took.
        """
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def scored(self, results: list[dict[str, Any]]) -> None:
        """Count the results of a request."""
        for result in results:
            self._images.labels(result["status"]).inc()
            if result["abstained"]:
                self._images.labels("abstained").inc()

    def serves(self, name: str, digest: str) -> None:
        """Note the served model."""
        self._model.clear()
        self._model.labels(name, digest).set(1)
        self._ready.set(1)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
