"""How often a prediction waits for the store, one request after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.failing_proxy import in_thread
from benchmarks.s3_server import Server

from bundles import write_untrained
from pulmospark.chunks.shared_store import WORK
from pulmospark.inference.batch.predict import predict
from pulmospark.store import store
from pulmospark.store.uri import StoreUri

WAITS_MAX = 10
DELAY_S = 0.05


class _Watched(Server):
    """Notes when each request came and was answered."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.requests: list[tuple[float, float, str]] = []

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[str, dict[str, str], bytes]:
        now = time.monotonic()
        self.requests.append((now - self.delay_s, now, f"{method} {target}"))
        return super().answer(method, target, headers, body)

    def waits(self, *, before: bool) -> list[str]:
        """The first request of each group that overlaps in time, before or after the images."""
        images = [r for r in self.requests if "/hospital/in/" in r[2]]
        first, last = min(r[0] for r in images), max(r[1] for r in images)
        waits, end = [], 0.0
        for begun, ended, what in sorted(self.requests):
            if before and "_delta_log" in what:
                continue  # asked for while images are scored, which is not waited for
            if begun > end - DELAY_S / 10 and (ended <= first if before else begun >= last):
                waits.append(what)
            end = max(end, ended)
        return waits


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Watched]:
    """A server in a thread, which waits with its answers once ``delay_s`` is set."""
    watched = _Watched()
    with in_thread(watched.start):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", watched.endpoint)
        store._opened.cache_clear()
        yield watched
        store._opened.cache_clear()


def test_few_requests_wait_for_each_other(
    server: _Watched, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a new output, and over it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle, bucket = write_untrained(tmp_path / "untrained"), StoreUri("s3", "hospital", "")
    images = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:6]
    for path in images:
        server.put(f"hospital/in/{path.name}", path.read_bytes())
    predict(bundle, [f"{bucket}in"], bucket / "warm-up", None, quiet=True)
    server.delay_s = DELAY_S
    for _ in range(2):
        server.requests.clear()
        result = predict(bundle, [f"{bucket}in"], bucket / "out", None, quiet=True)
        assert result.images == len(images)
        for before in (True, False):
            waits = server.waits(before=before)
            assert 3 <= len(waits) <= WAITS_MAX, waits
        lists = [what for *_, what in server.requests if f"/{WORK}/list/" in what]
        assert [what.partition(" ")[0] for what in lists] == ["PUT"], "what was written is known"
