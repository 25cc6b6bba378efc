"""Scoring of files: Spark batch against its limit, and against what one would otherwise use."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from pyspark.sql import SparkSession

from benchmarks import bare
from benchmarks.common import (
    MASTER,
    PROCESSES,
    Options,
    Report,
    as_json,
    data_folder,
    finish,
    goal,
    python,
    say,
    scratch,
    speeds,
    take_turns,
    timed,
    weights_folder,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.score_programs import NEEDS, Job, bare_loop, whole_loop
from pulmospark.config.inference import Precision, ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.errors import PulmosparkError
from pulmospark.inference.batch.predict import predict
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.bundle_form import engine_files
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.models.bundle.bundle import read_bundle, write_bundle
from pulmospark.models.bundle.card import CardFacts
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.spark.session import spark_session

IMAGES = (2000,)
"""numbers of images; with the first all programs are run, with others the bare loop and Spark"""
OF_BARE = 0.92
OF_LOADER = {"bf16": 9.0, "fp32": 5.0}
OF_OTHERS = {"ray_reader": 2.5, "ray_paths": 1.25, "datasets": 1.0}
DIFFERENT_FILES = 20_000
"""beyond so many, files are further names (hard links) of these"""
FEW = 64
"""images that wake Spark's workers up before a round"""
WARM_UP_IMAGES = 20_000
"""with more, nothing is run before the rounds: the check of the precision is then within"""

_SIZE = IngestSettings().size
_BARE = "bare: two processes, the engine, {}"
_WHOLE = "two processes, all that a row of predictions has, {}"
_SPARK = "pulmospark predict, {}"
_JOB = "its Spark job alone, {}"
_TITLES = {
    "plain": "PyTorch loop, fp32, Pillow",
    "loader": "DataLoader, 2 workers, PyTorch fp32, Pillow",
    "ray_reader": "Ray Data, its own reader, the engine",
    "ray_paths": "Ray Data, paths read in the actors, the engine",
    "datasets": "Hugging Face datasets map, 2 processes, the engine",
}
_HEAD = ("network", "images", "program", "images/s", "ms/image", "of the bare loop", "range")


@dataclass
class Task:
    """What all programs of one network and one number of images share."""

    folder: Path
    bundle: Path
    images: tuple[str, ...]
    spark: SparkSession
    workers: Pool
    stages: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """program -> seconds of its stages, a round each"""
    told: dict[str, Any] = field(default_factory=dict)
    """in which precision it scored, and why"""

    def job(self, spec: EngineSpec) -> Job:
        """For the programs that are not Spark."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return Job(self.images, str(out), spec.model_dump(mode="json"), str(self.bundle))


def measure(options: Options) -> Report:
    """Images a second of every program, for each network and number of images."""
    counts = options.score_images or IMAGES
    made_of = pictures(data_folder(options), count=4 if options.small else DIFFERENT)
    found: dict[str, dict[int, Any]] = {}
    told: dict[str, Any] = {}
    with scratch(options) as folder, bare.pool() as workers, spark_session(MASTER) as spark:
        pool = write_images(folder / "pool", min(max(counts), DIFFERENT_FILES), made_of)
        for name in options.models:
            bundle = benchmark_bundle(folder / name, name)
            found[name] = {}
            before: dict[str, Any] = {}
            for count in counts:
                images = link_images(pool, count, folder / "images")
                link_images(pool, min(count, FEW), folder / "few")
                task = Task(folder, bundle, images, spark, workers)
                first = count == counts[0]
                task.told.update(before)
                say(f"{name}: {count} files ({made_of.described()})")
                found[name][count] = _measured(task, options, compared=first)
                before = {"precision": task.told["precision"]}
                told[f"{name}, {count}"] = {**task.told, "stages": task.stages}
                if first:
                    told[f"{name}, {count}"]["with_start_up"] = _cold(task)
    return _report(found, told, made_of.described(), options)


def _measured(task: Task, options: Options, *, compared: bool) -> dict[str, Any]:
    """Programs in turn; where not ``compared``, the bare loop and pulmospark alone."""
    # Once before all: the precision's check is remembered, workers have what they import.
    warm = compared or len(task.images) <= WARM_UP_IMAGES
    if warm:
        precision = _predict(task, "auto").precision
        task.told["precision"] = precision.model_dump(mode="json")
        say(f"  {precision.line()}")
    used = task.told["precision"]["used"]
    specs = {used: _engine(task, used)}
    if compared and used != "fp32":
        specs["fp32"] = _engine(task, "fp32")
    programs: dict[str, Callable[[], float]] = {}
    for precision, spec in specs.items():
        programs[_BARE.format(precision)] = partial(_bare, task, spec)
        programs[_WHOLE.format(precision)] = partial(_whole, task, spec)
        programs[_SPARK.format(precision)] = partial(_spark, task, precision)
    if compared:
        programs |= {_TITLES[name]: partial(_other, task, name, specs[used]) for name in others()}
    for precision, spec in specs.items() if compared else ():
        _bare(task, spec)  # a warm-up
        if precision != used:
            _spark(task, precision)
    task.stages.clear()
    seconds = take_turns(programs, options.repeats or (3 if compared else 1))
    for precision in specs:
        title = _SPARK.format(precision)
        seconds[_JOB.format(precision)] = [told["score"] for told in task.stages[title]]
    return speeds(len(task.images), seconds, _BARE.format(used))


def others() -> list[str]:
    """Programs that this Python can run."""
    return [
        name
        for name in _TITLES
        if name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None
    ]


# ---- the programs: each answers with its seconds ------------------------------------------


def _bare(task: Task, spec: EngineSpec) -> float:
    job = task.job(spec)
    seconds = timed(lambda: bare_loop(task.workers, job))
    _check(job)
    return seconds


def _whole(task: Task, spec: EngineSpec) -> float:
    job = task.job(spec)
    seconds = timed(lambda: whole_loop(task.workers, job))
    _check(job)
    return seconds


def _spark(task: Task, precision: Precision) -> float:
    # Spark ends Python workers that had nothing to do for a minute, as while others are measured:
    # what it takes to have them back is start-up.
    _predict(task, precision, "few")
    started = time.perf_counter()
    result = _predict(task, precision)
    seconds = time.perf_counter() - started
    if result.images != len(task.images) or result.precision.used != precision:
        raise RuntimeError(f"{result.images} of {len(task.images)}, {result.precision.line()}")
    task.stages.setdefault(_SPARK.format(precision), []).append(result.seconds)
    return seconds


def _predict(task: Task, precision: Any, images: str = "images") -> PredictResult:
    target = task.folder / "predictions"
    shutil.rmtree(target, ignore_errors=True)
    return predict(
        task.bundle,
        [str(task.folder / images)],
        target,
        task.spark,
        layout="none",
        settings=ScoringSettings(precision=precision),
        quiet=True,
    )


def _other(task: Task, name: str, spec: EngineSpec) -> float:
    job = task.job(spec)
    told = task.folder / "job.json"
    told.write_text(json.dumps(asdict(job)), encoding="utf-8")
    _, said = finish(python("-m", "benchmarks.score_child", name, str(told)))
    _check(job)
    return float(as_json(said)["seconds"])


def _check(job: Job) -> None:
    """Every image has its logits."""
    parts = [path for path in Path(job.out).iterdir() if path.is_file()]
    rows = sum(pq.read_metadata(path).num_rows for path in parts if path.suffix == ".parquet")
    if rows != len(job.images):
        raise RuntimeError(f"{rows} of {len(job.images)} images are in the table")


def _cold(task: Task) -> dict[str, float]:
    """Seconds with the start of all processes within, one run each."""
    target = task.folder / "cold"
    command = ["-m", "pulmospark", "predict", str(task.bundle), str(task.folder / "images")]
    spark, _ = finish(
        python(*command, "--out", str(target), "--master", MASTER, "--quiet", "--layout", "none")
    )
    job = task.job(_engine(task, task.told["precision"]["used"]))
    started = time.perf_counter()
    with bare.pool() as fresh:
        bare_loop(fresh, job)
        alone = time.perf_counter() - started
    shutil.rmtree(target)
    return {"pulmospark predict": spark, "bare": alone}


# ---- what they work on ---------------------------------------------------------------------


def _engine(task: Task, precision: Precision) -> EngineSpec:
    bundle = read_bundle(task.bundle)
    exact = prepare_engine(bundle.network(), task.folder / "engines", size=_SIZE)
    if precision == "fp32":
        return exact
    from pulmospark.core import limits

    return exact.in_precision(precision, limits.ENGINE_BATCH_LOWER)


def benchmark_bundle(folder: Path, name: str) -> Path:
    """A network with ImageNet weights where they are to be had, else random ones."""
    torch.manual_seed(1)
    network = networks.build(name, 3)
    try:
        load_imagenet(network, source=weights_folder())
    except PulmosparkError:
        say(f"{name}: no ImageNet weights here; random ones take as long")
    config = BundleConfig.for_network(
        network,
        classes=("COVID-19", "normal", "pneumonia"),
        input_size=_SIZE,
        fit="stretch",
        temperature=1.0,
        method="network",
        operating_points=(),
    )
    network.eval()
    write_bundle(
        folder,
        network,
        config,
        {},
        CardFacts(name="benchmark"),
        engine=engine_files(network, config),
    )
    return folder


def link_images(pool: list[Path], count: int, folder: Path) -> tuple[str, ...]:
    """``count`` files in one folder, further names of those in the pool."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = []
    for number in range(count):
        target = folder / f"image-{number:07d}.jpg"
        os.link(pool[number % len(pool)], target)
        found.append(str(target))
    return tuple(found)


# ---- what they reached ---------------------------------------------------------------------


def _report(
    found: dict[str, dict[int, Any]], told: dict[str, Any], images: str, options: Options
) -> Report:
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, by_count in found.items():
        for count, programs in by_count.items():
            for title, one in programs.items():
                rows.append(
                    (
                        name,
                        f"{count}",
                        title,
                        f"{one['per_second']:.1f}",
                        f"{1000 / one['per_second']:.2f}",
                        f"{one['of_bare']:.2f}",
                        "{:.2f} to {:.2f}".format(*one["of_bare_rounds"]),
                    )
                )
            used = told[f"{name}, {count}"]["precision"]["used"]
            reached = programs[_SPARK.format(used)]["of_bare"]
            text = f"{name}, {count} images: predict >= {OF_BARE} of the bare loop"
            notes.append(goal(text, reached >= OF_BARE) + f" ({reached:.2f})")
        notes += _compared(name, next(iter(by_count.values())))
        notes += _flat(name, by_count, told)
    missing = sorted({NEEDS[name] for name in NEEDS if name not in others()})
    if missing:
        notes.append(f"left out, for they are not installed: {', '.join(missing)} (extra bench)")
    notes += [
        f"{key}: with start-up {one['with_start_up']}"
        for key, one in told.items()
        if "with_start_up" in one
    ]
    return Report(
        name="score",
        title=f"Scoring, files to Parquet, {PROCESSES} processes; {images}",
        head=_HEAD,
        rows=rows,
        notes=notes,
        figures={
            "speeds": {name: {str(n): p for n, p in by.items()} for name, by in found.items()},
            "told": told,
            "images": images,
            "models": list(options.models),
        },
    )


def _compared(name: str, programs: dict[str, Any]) -> list[str]:
    """How often as fast as the others pulmospark is, precision by precision."""
    notes = []
    speeds_of = {title: one["per_second"] for title, one in programs.items()}
    for precision, asked in OF_LOADER.items():
        if (ours := speeds_of.get(_SPARK.format(precision))) is not None:
            ratio = ours / speeds_of[_TITLES["loader"]]
            text = f"{name}: predict, {precision} >= {asked} x {_TITLES['loader']}"
            notes.append(goal(text, ratio >= asked) + f" ({ratio:.1f})")
    ours = next(speed for title, speed in speeds_of.items() if title.startswith("pulmospark"))
    for other, asked in OF_OTHERS.items():
        if _TITLES[other] in speeds_of:
            ratio = ours / speeds_of[_TITLES[other]]
            text = f"{name}: predict >= {asked} x {_TITLES[other]}"
            notes.append(goal(text, ratio >= asked) + f" ({ratio:.2f})")
    return notes


def _flat(name: str, by_count: dict[int, Any], told: dict[str, Any]) -> list[str]:
    """Time an image from the least to the most images."""
    if len(by_count) == 1:
        return []
    times = [
        1 / programs[_SPARK.format(told[f"{name}, {count}"]["precision"]["used"])]["per_second"]
        for count, programs in by_count.items()
    ]
    ratio = max(times) / min(times)
    text = f"{name}: time an image flat within 5 %, {min(by_count)} to {max(by_count)} images"
    return [goal(text, ratio <= 1.05) + f" ({ratio:.2f})"]
