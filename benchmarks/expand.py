"""Augmentation as a table: ``expand`` against a bare loop of the same operations, and memory."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks import bare, expand_child
from benchmarks.common import (
    MASTER,
    SPEED_HEAD,
    Options,
    Report,
    data_folder,
    goal,
    python,
    say,
    scratch,
    speed_rows,
    speeds,
    take_turns,
)
from benchmarks.memory import watched
from benchmarks.pictures import DIFFERENT, pictures, write_images_table
from pulmospark import chunks
from pulmospark.augment.augmenter import Augmenter
from pulmospark.augment.operations import to_json
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.core import files, schemas
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.data.expand.expand import expand
from pulmospark.spark.session import spark_session

GOAL = 0.85
MEMORY_GOAL = 0.10
IMAGES = 2000
CLASSES = ("one", "two")
_SEED = 1
_SPARK = "pulmospark expand"
_BARE = "bare: the same operations, written as Parquet"
_KINDS = ("driver", "jvm", "worker", "together")


def measure(options: Options) -> Report:
    """Rows a second of the largest expansion, of the bare limit; and memory at each size."""
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    source_images = 20 if options.small else IMAGES
    rows = options.rows[-1]
    with scratch(options) as folder:
        write_images_table(folder / "images", source_images, made_of)
        write_training_cohort(folder / "images", folder / "cohort")
        say(f"{source_images} images, to {rows} rows")
        memory = {size: _watched(folder, size) for size in options.rows}
        with bare.pool() as workers, spark_session(MASTER) as spark:
            programs: dict[str, Callable[[], float]] = {
                _BARE: _loop(workers, folder, source_images, rows),
                _SPARK: lambda: _expanded(folder, rows, spark),
            }
            for program in programs.values():
                program()
            seconds = take_turns(programs, options.repeats or 3)
    return report_of(speeds(rows, seconds, _BARE), memory, source_images, rows)


def write_training_cohort(images: Path, cohort: Path) -> None:
    """A cohort that trains on all images of a table, two classes in turn."""
    source_images = pq.read_table(images, columns=["image_id", "uri", "source", "view"])
    count = source_images.num_rows
    told: dict[str, Any] = {name: source_images[name] for name in source_images.column_names}
    told["group_id"] = source_images["image_id"]
    told["label"] = [CLASSES[number % 2] for number in range(count)]
    told["split"] = [Split.TRAIN.value] * count
    columns = [
        told[field.name] if field.name in told else pa.nulls(count, field.type)
        for field in schemas.COHORT
    ]
    (cohort / "table").mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=schemas.COHORT), cohort / "table" / "0.parquet")
    result = SplitResult(
        cohort=cohort,
        cohort_id="benchmark",
        classes=CLASSES,
        images=count,
        excluded=0,
        folds=0,
        shares=(),
        exclusions=(),
        warnings=(),
    )
    files.write_json(cohort / "split.json", {"result": result.model_dump(mode="json")})


@dataclass(frozen=True)
class Item:
    """What a process of the bare loop does at once: some draws of one row group.

    Attributes:
        chunk: of the images table.
        draws: numbers of the children; the image itself is 0.
        target: the file to write.
    """

    chunk: chunks.Chunk
    draws: tuple[int, ...]
    target: Path


def bare_item(item: Item) -> int:
    """Read a row group, change its images, write them with what was done; rows written."""
    cv2.setNumThreads(1)
    augmenter = Augmenter(AugmentSettings(), _SEED)
    with pq.ParquetFile(item.chunk.path) as file:
        told = file.read_row_group(item.chunk.row_group, columns=["image_id", "pixels"])
    ids, source_images = told["image_id"].to_pylist(), told["pixels"]
    made: dict[str, list[Any]] = {"parent_id": [], "draw": [], "operations": [], "pixels": []}
    for row, parent in enumerate(ids):
        flat = np.frombuffer(source_images[row].as_buffer(), np.uint8)
        side = math.isqrt(flat.size)
        image = flat.reshape(side, side)
        for draw in item.draws:
            changed, operations = augmenter(image, parent, draw) if draw else (image, ())
            made["parent_id"].append(parent)
            made["draw"].append(draw)
            made["operations"].append(to_json(operations))
            made["pixels"].append(changed.tobytes())
    rows = pa.table(made)
    pq.write_table(rows, item.target, compression="none", write_statistics=False)
    return int(rows.num_rows)


def bare_items(images: Path, target: Path, source_images: int, rows: int) -> list[Item]:
    """The items of the bare loop: each image as often as the rows ask for, four at once."""
    each = rows // source_images
    return [
        Item(chunk, tuple(range(first, min(first + 4, each))), target / f"{number}-{first}")
        for number, chunk in enumerate(chunks.chunks_of(chunks.parts_of(images)))
        for first in range(0, each, 4)
    ]


def _loop(workers: Pool, folder: Path, source_images: int, rows: int) -> Callable[[], float]:
    if rows % source_images:
        raise ValueError(
            f"{rows} rows: give a multiple of {source_images}, so that both make the same"
        )

    def run() -> float:
        target = folder / "bare"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        items = bare_items(folder / "images", target, source_images, rows)
        started = time.perf_counter()
        done = bare.count(workers, bare_item, items, 1)
        seconds = time.perf_counter() - started
        shutil.rmtree(target)
        if done != rows:
            raise RuntimeError(f"{done} of {rows} rows")
        return seconds

    return run


def _expanded(folder: Path, rows: int, spark: SparkSession) -> float:
    target = folder / "expanded"
    started = time.perf_counter()
    done = expand(
        folder / "images",
        folder / "cohort",
        ExpandSettings(per_class=rows // 2),
        target,
        spark,
        seed=_SEED,
        quiet=True,
    )
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    if done.rows != rows:
        raise RuntimeError(f"{done.rows} of {rows} rows")
    return seconds


def _watched(folder: Path, rows: int) -> dict[str, Any]:
    command = python("-m", expand_child.__name__, str(folder), str(rows // 2))
    told = watched(command)
    shutil.rmtree(folder / "expanded")
    say(f"  {rows} rows in a fresh process: {told['seconds']} s")
    return told


def report_of(
    found: dict[str, Any], memory: dict[int, dict[str, Any]], source_images: int, rows: int
) -> Report:
    """The report of speeds, and of what :func:`watched` told of each number of rows."""
    reached = found[_SPARK]["of_bare"]
    first, last = min(memory), max(memory)
    mib = {
        size: {kind: told["sampled_mib"].get("expand", {}).get(kind, 0.0) for kind in _KINDS}
        for size, told in memory.items()
    }
    grown = {
        kind: mib[last][kind] / mib[first][kind] for kind in _KINDS if mib[first].get(kind, 0.0)
    }
    flat = all(grown.get(kind, math.inf) <= 1 + MEMORY_GOAL for kind in ("driver", "worker"))
    lines = [
        f"{kind}: {mib[first][kind]:.0f} MiB at {first} rows, {mib[last][kind]:.0f} at {last}"
        for kind in _KINDS
    ]
    return Report(
        name="expand",
        title=f"Expand {source_images} images to {rows} rows of 224 x 224, default operations",
        head=SPEED_HEAD,
        rows=speed_rows(found),
        notes=[
            goal(f"{_SPARK} >= {GOAL} of the bare loop", reached >= GOAL) + f" ({reached:.2f})",
            goal(f"memory of driver and worker flat within {MEMORY_GOAL:.0%}", flat),
            *lines,
        ],
        figures={
            "images": source_images,
            "rows": rows,
            "warm": found,
            "memory": {str(size): told for size, told in memory.items()},
            "last_of_first": grown,
            "goal": GOAL,
            "memory_goal": MEMORY_GOAL,
        },
    )
