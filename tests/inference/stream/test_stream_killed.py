"""A stream on Spark that is killed in several ways: each image once, the rows of a batch run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pulmospark.inference.batch.predict import predict
from pulmospark.phantoms.write import PhantomSummary

pytestmark = pytest.mark.spark
_WAIT_S = 120


class _Stream:
    """``pulmospark stream`` in a process group of its own."""

    def __init__(self, bundle: Path, inbox: Path, out: Path, log: Path) -> None:
        self.out, self._log, self._path = out, log.open("ab"), log
        self._begun = log.stat().st_size
        command = [sys.executable, "-m", "pulmospark", "stream", str(bundle), str(inbox)]
        command += ["--out", str(out), "--master", "local[2,4]", "--set", "batch_images=8"]
        command += ["--set", "patience_s=8", "--precision", "fp32"]
        self.process = subprocess.Popen(
            command, start_new_session=True, stdout=self._log, stderr=self._log
        )

    def wait_for(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + _WAIT_S
        while not what():
            assert self.process.poll() is None, "it ended by itself"
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Whether Spark's workers score, and no longer the driver."""
        return b"stream: ready" in self._path.read_bytes()[self._begun :]

    def found(self, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
        processes = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended in the meantime
                if wanted(process):
                    processes.append(process)
        return processes

    def kill(self) -> None:
        """The driver, its JVM and all Python workers, without a warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.ended()

    def ended(self) -> int:
        self._log.close()
        return self.process.wait(_WAIT_S)


def _is_jvm(process: psutil.Process) -> bool:
    return process.name() == "java"


def _is_worker(process: psutil.Process) -> bool:
    line = " ".join(process.cmdline())
    parent = process.parent()
    return (
        "pyspark.daemon" in line
        and parent is not None
        and "pyspark.daemon" in " ".join(parent.cmdline())
    )


def _images(out: Path) -> Counter[str]:
    if not (out / "predictions" / "empty.parquet").is_file():
        return Counter()
    query = f"SELECT uri FROM '{out}/predictions/*.parquet'"
    by_duckdb = Counter(row[0] for row in duckdb.execute(query).fetchall())
    assert max(by_duckdb.values(), default=1) == 1
    return by_duckdb


def _land(inbox: Path, images: list[Path]) -> None:
    for image in images:
        aside = inbox / f"{image.name}.part"
        aside.write_bytes(image.read_bytes())
        aside.rename(inbox / image.name)


def test_killed_in_several_ways(bundle: Path, phantoms: PhantomSummary, tmp_path: Path) -> None:
    broken = {Path(name).name for ward in phantoms.hospitals for name in ward.broken}
    images = sorted(phantoms.folder.glob("*/images/*"), key=lambda p: (p.name not in broken, p))
    assert len(images) > 45
    inbox, out = tmp_path / "inbox", tmp_path / "out of Säle"
    inbox.mkdir()

    stream = _Stream(bundle, inbox, out, tmp_path / "log")
    _land(inbox, images[:20])
    stream.wait_for(lambda: bool(_images(out)))
    stream.kill()
    first = _images(out)

    stream = _Stream(bundle, inbox, out, tmp_path / "log")
    _land(inbox, images[20:30])
    stream.wait_for(lambda: _images(out) > first)
    stream.wait_for(stream.is_ready)
    workers = stream.found(_is_worker)
    assert workers
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended in the meantime
            worker.kill()
    now = _images(out)
    _land(inbox, images[30:40])
    stream.wait_for(lambda: _images(out) > now)  # the driver goes on by itself
    (jvm,) = stream.found(_is_jvm)
    jvm.kill()
    assert stream.ended() == 4
    assert b"Spark has ended: rerun the command" in (tmp_path / "log").read_bytes()

    stream = _Stream(bundle, inbox, out, tmp_path / "log")
    (inbox / "again.png").write_bytes(images[-1].read_bytes())
    half = Image.fromarray(np.random.default_rng(3).integers(0, 256, (90, 80), dtype=np.uint8))
    half.save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    before = _images(out)
    _land(inbox, images[40:])
    stream.wait_for(lambda: _images(out) > before)
    with (inbox / "slow.png").open("wb", buffering=0) as file:  # copied while it is watched
        file.write(data[: len(data) // 2])
        time.sleep(0.5)
        file.write(data[len(data) // 2 :])
    files = len(images) + 2
    stream.wait_for(lambda: _rows_in_all(out) == files)
    stream.wait_for(stream.is_ready)  # so that it is Spark's query that is ended, too
    os.kill(stream.process.pid, signal.SIGTERM)
    assert stream.ended() == 0

    # Spark's own files are where the stream's are, and gone with it.
    assert not [path for path in tmp_path.iterdir() if "%" in path.name]
    assert not list(out.glob("_stream/checkpoint-*"))
    assert str(inbox / "slow.png") in _images(out)
    _check(bundle, inbox, out, tmp_path)


def _check(bundle: Path, inbox: Path, out: Path, tmp_path: Path) -> None:
    """The tables are those of a batch run; only what was sent twice stands once."""
    predict(bundle, [str(inbox)], tmp_path / "batch", None, quiet=True)
    batch = {row["image_id"]: row for row in _rows(tmp_path / "batch" / "predictions")}
    streamed = _rows(out / "predictions")
    assert Counter(row["image_id"] for row in streamed) == Counter(batch.keys())
    for row in streamed:
        same = batch[row["image_id"]]
        assert row["probability"] == pytest.approx(same["probability"], abs=1e-4)
    rejects = [
        {(row["uri"], row["reason"]) for row in _rows(where / "rejects")}
        for where in (out, tmp_path / "batch")
    ]
    assert rejects[0] == rejects[1]
    files = {str(path) for path in inbox.iterdir() if path.suffix in {".png", ".jpg", ".jpeg"}}
    repeats = {row["uri"] for row in _rows(out / "repeats")}
    uris = [
        row["uri"] for name in ("predictions", "rejects", "repeats") for row in _rows(out / name)
    ]
    assert sorted(uris) == sorted(files)
    assert len(repeats) == len(files) - len(streamed) - len(rejects[0]) >= 1


def _rows_in_all(out: Path) -> int:
    return sum(pq.read_table(out / n).num_rows for n in ("predictions", "rejects", "repeats"))


def _rows(table: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return rows
