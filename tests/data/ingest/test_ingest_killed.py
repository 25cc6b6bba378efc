"""Ingest that is killed in the middle and started again: the same tables, work not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.samples import SIDE, content_of, images, plant, source
from pulmospark.chunks import listed_chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.data.ingest.ingest import IngestWork, ingest
from pulmospark.layouts.manifest import write_manifest

pytestmark = pytest.mark.spark
SETTINGS = IngestSettings(size=SIDE)
_IMAGES = 1200  # five chunks
_WAIT_S = 90

_RUN = """
import sys
from pathlib import Path
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.data.ingest.ingest import ingest
from pulmospark.spark.session import spark_session

told = SourceSettings(path=Path(sys.argv[1]), layout="class_folders", name="set")
with spark_session("local[1]") as spark:
    ingest([told], IngestSettings(size=int(sys.argv[3])), Path(sys.argv[2]), spark, quiet=True)
"""


def _kill_in_the_middle(root: Path, target: Path) -> list[Path]:
    """Start an ingest, kill it without a warning once it has written a part; its parts."""
    parts = target.with_name(f".{target.name}.work") / "parts"
    command = [sys.executable, "-c", _RUN, str(root), str(target), str(SIDE)]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        end = time.monotonic() + _WAIT_S
        while not list(parts.glob("*.done")):
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end, "it wrote no part"
            time.sleep(0.01)
    finally:
        os.killpg(child.pid, signal.SIGKILL)  # the driver, its JVM and its Python workers
        child.wait()
    return sorted(parts.glob("*.done"))


def test_killed_and_started_again(tmp_path: Path, spark: SparkSession) -> None:
    root = plant(tmp_path / "set", images(100) | images(100, "normal", first=100))
    for copy in range(1, _IMAGES // 200):  # links: many images to read, few to write
        for finding in ("covid", "normal"):
            for image in list((root / finding).glob("???.png")):
                os.link(image, image.with_name(f"{image.stem}-{copy}.png"))
    target = tmp_path / "tables"
    done = _kill_in_the_middle(root, target)
    write_manifest([source(root)], tmp_path / "manifest.parquet")
    chunks = len(listed_chunks([tmp_path / "manifest.parquet"]))
    assert 0 < len(done) < chunks, "not killed in the middle"
    assert not target.exists()  # whole or not at all

    before = {path.name: path.stat().st_mtime_ns for path in done}
    inodes = {path.stat().st_ino for path in done[0].parent.glob("*.parquet")}
    result = ingest([source(root)], SETTINGS, target, spark, quiet=True)
    kept = {path.stat().st_ino for path in (target / "images").glob("*.parquet")}
    assert len(inodes & kept) >= len(before), "the parts of the killed run were not used"
    assert result.images == len(list(root.glob("*/*.png")))

    whole = ingest([source(root)], SETTINGS, tmp_path / "whole", spark, quiet=True)
    assert content_of(target) == content_of(whole.tables)
    assert not list(tmp_path.glob(".tables*"))


def test_work_on_a_chunk_has_a_name_that_changes_with_what_it_does(tmp_path: Path) -> None:
    root = plant(tmp_path / "set", images(2))
    write_manifest([source(root)], tmp_path / "manifest.parquet")
    chunk = pq.read_table(tmp_path / "manifest.parquet")
    name = IngestWork(SETTINGS).key(chunk)
    assert IngestWork(SETTINGS).key(chunk) == name
    assert IngestWork(IngestSettings(size=SIDE + 1)).key(chunk) != name
    assert IngestWork(IngestSettings(size=SIDE, fit="pad")).key(chunk) != name
    assert IngestWork(SETTINGS).key(chunk.slice(0, 1)) != name
    image = root / "covid" / "000.png"
    facts = image.stat()
    os.utime(image, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    write_manifest([source(root)], tmp_path / "manifest.parquet")
    assert IngestWork(SETTINGS).key(pq.read_table(tmp_path / "manifest.parquet")) != name
