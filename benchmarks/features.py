"""Deep features of an images table, against a bare loop of the same engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

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
    weights_folder,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images_table
from pulmospark import chunks
from pulmospark.config.ingest import IngestSettings
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network
from pulmospark.spark.session import spark_session
from pulmospark.training.deep_features import extract_features

GOAL = 0.85
MODEL = "mobilenet_v2"
_SIZE = IngestSettings().size
_SPARK = "pulmospark features"
_BARE = "bare: the engine on the same row groups"


def imagenet_network() -> Network:
    """The network with its ImageNet weights."""
    network = networks.build(MODEL, 3)
    load_imagenet(network, source=weights_folder())
    return network


def measure(options: Options) -> Report:
    """Images a second from images table to features table, and of the bare limit."""
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    network = imagenet_network()
    with scratch(options) as folder:
        write_images_table(folder / "images", options.images, made_of)
        todo = chunks.chunks_of(chunks.parts_of(folder / "images"))
        say(f"{options.images} images in {len(todo)} row groups")
        started = time.perf_counter()
        spec = prepare_engine(network, folder / "work" / "engines", outputs="features", size=_SIZE)
        preparing = time.perf_counter() - started
        work = partial(bare.features, spec=spec)
        started = time.perf_counter()
        with bare.pool() as workers:
            loop = _loop(workers, work, todo, options.images)
            loop()
            cold = {_BARE: time.perf_counter() - started}
            started = time.perf_counter()
            with spark_session(MASTER) as spark:
                _features(folder, network, spark, options.images)
                cold[_SPARK] = time.perf_counter() - started
                programs = {
                    _BARE: loop,
                    _SPARK: lambda: _features(folder, network, spark, options.images),
                }
                seconds = take_turns(programs, options.repeats or 5)
    found = speeds(options.images, seconds, _BARE)
    cold_found = speeds(options.images, {k: [v] for k, v in cold.items()}, _BARE)
    return _report(found, cold_found, spec.kind, preparing)


def _loop(workers: Any, work: Any, todo: list[chunks.Chunk], images: int) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        done = bare.count(workers, work, todo, 1)
        seconds = time.perf_counter() - started
        if done != images:
            raise RuntimeError(f"features of {done} of {images} images")
        return seconds

    return run


def _features(folder: Path, network: Network, spark: SparkSession, images: int) -> float:
    work = folder / "work"
    shutil.rmtree(work / "features", ignore_errors=True)
    started = time.perf_counter()
    parts = extract_features(folder / "images", network, _SIZE, work, spark=spark, quiet=True)
    seconds = time.perf_counter() - started
    if sum(part.rows for part in parts) != images:
        raise RuntimeError(f"features of {sum(part.rows for part in parts)} of {images} images")
    return seconds


def _report(found: dict[str, Any], cold: dict[str, Any], kind: str, preparing: float) -> Report:
    reached = found[_SPARK]["of_bare"]
    return Report(
        name="features",
        title=f"Deep features, images table to features table; {MODEL}, {kind}, float32",
        head=SPEED_HEAD,
        rows=speed_rows(found),
        notes=[
            goal(f"{_SPARK} >= {GOAL} of the bare loop", reached >= GOAL) + f" ({reached:.2f})",
            f"start-up of Spark and workers within: {cold[_SPARK]['per_second']:.0f} images/s, "
            f"{cold[_SPARK]['of_bare']:.2f} of the bare loop with its own start-up (one run each)",
            f"the network was converted for the engine once before, for both: {preparing:.1f} s",
        ],
        figures={
            "model": MODEL,
            "engine": kind,
            "warm": found,
            "with_start_up": cold,
            "conversion_seconds": preparing,
            "goal": GOAL,
        },
    )
