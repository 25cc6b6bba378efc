"""A stream from a store to a store on Spark, killed, and resumed on another machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from caches import new_cache
from pulmospark.config.inference import ScoringSettings
from pulmospark.inference.batch.predict import predict
from pulmospark.phantoms.write import PhantomSummary
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

pytestmark = pytest.mark.spark
_WAIT_S = 300


@contextlib.contextmanager
def _stream(bundle: Path, bucket: StoreUri, log: Path, *more: str) -> Iterator[Any]:
    """``pulmospark stream`` in a process group of its own, with a cache of its own."""
    cache = log.with_suffix(".cache")
    if not cache.exists():
        new_cache(cache)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "pulmospark", "--debug", "stream", str(bundle), f"{bucket}in"]
    command += ["--out", f"{bucket}out", "--master", "local[2,4]", "--precision", "fp32"]
    command += ["--set", "batch_images=4", "--set", "rescan_s=0.2", *more]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=file, stderr=file, env=environment
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _rows(bucket: StoreUri, table: str) -> list[dict[str, Any]]:
    with contextlib.suppress(deltalake.exceptions.TableNotFoundError):
        options = {"AWS_ALLOW_HTTP": "true"}
        opened = deltalake.DeltaTable(f"{bucket}out/{table}", storage_options=options)
        rows: list[dict[str, Any]] = pa.table(opened.to_pyarrow_table()).to_pylist()
        return rows
    return []


def test_the_rows_of_a_batch_run_after_a_kill(
    phantoms: PhantomSummary, bucket: StoreUri, tmp_path: Path
) -> None:
    bundle = write_untrained(tmp_path / "untrained")
    broken = {Path(name).name for ward in phantoms.hospitals for name in ward.broken}
    images = sorted(phantoms.folder.glob("*/images/*"), key=lambda p: (p.name not in broken, p))
    for number, image in enumerate([*images[:15], images[14]]):
        open_store(bucket).put(f"in/{number}-{image.name}", image.read_bytes())
    with _stream(bundle, bucket, tmp_path / "first.log", "--heatmaps") as process:
        end = time.monotonic() + _WAIT_S
        while not _rows(bucket, "predictions"):
            assert process.poll() is None, (tmp_path / "first.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
    with _stream(bundle, bucket, tmp_path / "second.log", "--once", "--heatmaps") as process:
        code = process.wait(_WAIT_S)
    said = (tmp_path / "second.log").read_text()
    assert code == 0, said
    assert "secret-of-a-test" not in said

    settings = ScoringSettings(precision="fp32")
    predict(bundle, [f"{bucket}in"], tmp_path / "batch", None, quiet=True, settings=settings)
    batch = {
        row["image_id"]: row for row in pq.read_table(tmp_path / "batch/predictions").to_pylist()
    }
    streamed = _rows(bucket, "predictions")
    assert Counter(row["image_id"] for row in streamed) == Counter(batch.keys())
    for row in streamed:
        assert open_store(bucket).get(f"out/{row['heat_map']}").startswith(b"\x89PNG")
        assert row["probability"] == pytest.approx(batch[row["image_id"]]["probability"], abs=1e-6)
    rejects = [
        {(row["uri"], row["reason"]) for row in rows}
        for rows in (
            _rows(bucket, "rejects"), pq.read_table(tmp_path / "batch/rejects").to_pylist()
        )
    ]  # fmt: skip
    assert rejects[0] == rejects[1] != set()
    uris = [row["uri"] for name in ("predictions", "rejects", "repeats")
            for row in _rows(bucket, name)]  # fmt: skip
    assert sorted(uris) == sorted(str(found.uri) for found in open_store(bucket).list("in/"))
