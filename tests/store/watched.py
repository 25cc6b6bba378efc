"""A light S3 server in a thread that notes when each request came and was answered."""

from __future__ import annotations

import time

from benchmarks.s3_server import Server


class Watched(Server):
    """Waits with its answers for ``delay_s``."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.requests: list[tuple[float, float, str]] = []
        """begin and end, seconds, and what was asked"""

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[str, dict[str, str], bytes]:
        now = time.monotonic()
        self.requests.append((now - self.delay_s, now, f"{method} {target}"))
        return super().answer(method, target, headers, body)

    def most_under_way(self) -> int:
        """Requests that were under way at the same moment, at most."""
        ends = [(time, change) for b, e, _ in self.requests for time, change in ((b, 1), (e, -1))]
        under_way = most = 0
        for _, change in sorted(ends):
            under_way += change
            most = max(most, under_way)
        return most
