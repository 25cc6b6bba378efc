"""How often a prediction waits for the store, one request after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import write_untrained
from pulmospark.chunks.shared_store import WORK
from pulmospark.inference.batch.predict import predict
from pulmospark.store.uri import StoreUri
from store.watched import Watched

WAITS_MAX = 10
DELAY_S = 0.15


def _waits(server: Watched, *, before: bool) -> list[str]:
    """The first request of each group that overlaps in time, before or after the images."""
    images = [r for r in server.requests if "/hospital/in/" in r[2]]
    first, last = min(r[0] for r in images), max(r[1] for r in images)
    waits, end = [], 0.0
    for begun, ended, what in sorted(server.requests):
        if before and "_delta_log" in what:
            continue  # asked for while images are scored, which is not waited for
        if begun > end - DELAY_S / 10 and (ended <= first if before else begun >= last):
            waits.append(what)
        end = max(end, ended)
    return waits


def test_few_requests_wait_for_each_other(
    watched: Watched, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a new output, and over it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle, bucket = write_untrained(tmp_path / "untrained"), StoreUri("s3", "hospital", "")
    images = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:6]
    for path in images:
        watched.put(f"hospital/in/{path.name}", path.read_bytes())
    predict(bundle, [f"{bucket}in"], bucket / "warm-up", None, quiet=True)
    watched.delay_s = DELAY_S
    for _ in range(2):
        watched.requests.clear()
        result = predict(bundle, [f"{bucket}in"], bucket / "out", None, quiet=True)
        assert result.images == len(images)
        for before in (True, False):
            waits = _waits(watched, before=before)
            assert 3 <= len(waits) <= WAITS_MAX, waits
        lists = [what for *_, what in watched.requests if f"/{WORK}/list/" in what]
        assert [what.partition(" ")[0] for what in lists] == ["PUT"], "what was written is known"
