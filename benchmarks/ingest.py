"""Ingest of 1024 x 1024 JPEG files, against bare loops of two processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks import bare
from benchmarks.common import (
    MASTER,
    SPEED_HEAD,
    Options,
    Report,
    data_folder,
    goal,
    say,
    scratch,
    speed_rows,
    speeds,
    take_turns,
    timed,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images
from pulmospark import chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.progress import Progress
from pulmospark.data.ingest.ingest import IngestWork, ingest
from pulmospark.layouts.manifest import write_manifest
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.session import spark_session

GOAL = 0.85
_SETTINGS = IngestSettings()
_WHOLE = "pulmospark ingest"
_TASKS = "its Spark job alone (no listing, no publishing)"
_WRITTEN = "bare: whole image, written as Parquet"


def measure(options: Options) -> Report:
    """Images a second from the call to the published table, and of the bare limit."""
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    with scratch(options) as folder, bare.pool() as workers:
        images = write_images(folder / "images", options.files, made_of)
        paths = [str(path) for path in images]
        works = bare.file_works(_SETTINGS.size)
        loops = {name: _loop(workers, work, paths) for name, work in works.items()}
        base = next(iter(loops))
        say(f"{options.files} files ({made_of.described()})")
        started = time.perf_counter()
        with bare.pool() as fresh:
            bare.run_files(fresh, works[base], paths)
            cold = {base: time.perf_counter() - started}
        for loop in loops.values():
            loop()  # warms the processes, and the files' pages in memory
        started = time.perf_counter()
        with spark_session(MASTER) as spark:
            _ingest(folder, spark)
            cold[_WHOLE] = time.perf_counter() - started
            _check(folder / "tables", options.files)
            programs = {
                base: loops[base],
                _WHOLE: lambda: _ingest(folder, spark),
                _TASKS: _tasks(folder, spark),
                **loops,
                _WRITTEN: _written(folder, workers),
            }
            seconds = take_turns(programs, options.repeats or 5)
    found = speeds(options.files, seconds, base)
    return _report(
        found, speeds(options.files, {k: [v] for k, v in cold.items()}, base), made_of.described()
    )


def _loop(workers: Any, work: Callable[[str], int], paths: list[str]) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        done = bare.run_files(workers, work, paths)
        seconds = time.perf_counter() - started
        if done != len(paths):
            raise RuntimeError(f"{done} of {len(paths)} files were read")
        return seconds

    return run


def _ingest(folder: Path, spark: SparkSession) -> float:
    target = folder / "tables"
    shutil.rmtree(target, ignore_errors=True)
    source = SourceSettings(path=folder / "images")
    return timed(lambda: ingest([source], _SETTINGS, target, spark, quiet=True))


def _tasks(folder: Path, spark: SparkSession) -> Callable[[], float]:
    manifest = folder / "manifest.parquet"
    write_manifest([SourceSettings(path=folder / "images")], manifest)
    todo = chunks.listed_chunks([manifest])
    silent = Progress("ingest", 0, quiet=True)

    def run() -> float:
        parts = folder / "parts"
        shutil.rmtree(parts, ignore_errors=True)
        work = IngestWork(_SETTINGS)
        executor = SparkExecutor(spark)
        return timed(lambda: chunks.run_chunks(executor, work, todo, parts, silent))

    return run


def _written(folder: Path, workers: Any) -> Callable[[], float]:
    todo = chunks.listed_chunks([folder / "manifest.parquet"])

    def run() -> float:
        parts = folder / "bare-parts"
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir()
        work = partial(bare.written, size=_SETTINGS.size, folder=str(parts))
        return timed(lambda: bare.count(workers, work, todo, 1))

    return run


def _check(tables: Path, files: int) -> None:
    """The table has all images, and its pixels are those of the bare loop."""
    rows = pq.read_table(tables / "images", columns=["uri", "pixels"])
    if rows.num_rows != files:
        raise RuntimeError(f"{rows.num_rows} of {files} files are in the table")
    size = _SETTINGS.size
    for row in rows.slice(0, 20).to_pylist():
        kept = np.frombuffer(row["pixels"], np.uint8).reshape(size, size)
        if not np.array_equal(kept, bare.lean_pixels(row["uri"], size)):
            raise RuntimeError(f"{row['uri']}: the bare loop gives other pixels")


def _report(found: dict[str, Any], cold: dict[str, Any], images: str) -> Report:
    reached = found[_WHOLE]["of_bare"]
    return Report(
        name="ingest",
        title=f"Ingest, files to published table; {images}",
        head=SPEED_HEAD,
        rows=speed_rows(found),
        notes=[
            goal(f"{_WHOLE} >= {GOAL} of the bare loop", reached >= GOAL) + f" ({reached:.2f})",
            f"start-up of Python, Spark and workers within: {cold[_WHOLE]['per_second']:.0f} "
            f"images/s, {cold[_WHOLE]['of_bare']:.2f} of the bare loop with its own start-up "
            "(one run each)",
        ],
        figures={"images": images, "warm": found, "with_start_up": cold, "goal": GOAL},
    )
