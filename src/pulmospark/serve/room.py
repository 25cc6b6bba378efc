"""Room for requests and for files in memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from pulmospark.core import serve_limits
from pulmospark.serve.errors import ServiceError

_PAUSE_S = 0.005


class Room:
    """Counts requests that are worked on, and bytes of files that wait in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._bytes = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Room for a request.

        Raises:
            ServiceError: 503, ``serve_limits.SERVE_REQUESTS_MAX`` are worked on.
        """
        with self._lock:
            if self._requests >= serve_limits.SERVE_REQUESTS_MAX:
                raise ServiceError(
                    503, f"{self._requests} requests are in progress: try again", retry_after_s=1
                )
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1

    async def take(self, size: int) -> None:
        """Wait until a file has room; one larger than all room waits until it is alone."""
        while True:
            with self._lock:
                if not self._bytes or self._bytes + size <= serve_limits.SERVE_QUEUE_BYTES_MAX:
                    self._bytes += size
                    return
            await asyncio.sleep(_PAUSE_S)

    def free_when_done(self, size: int, outcome: Future[Any]) -> None:
        """Give a file's room back when it was decoded and scored."""

        def free(_: Future[Any]) -> None:
            with self._lock:
                self._bytes -= size

        outcome.add_done_callback(free)
