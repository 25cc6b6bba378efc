"""Training of CNNs: our path against a bare PyTorch loop, and against PyTorch's defaults."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import SparkSession

from benchmarks.common import (
    MASTER,
    Options,
    Report,
    as_json,
    finish,
    goal,
    python,
    say,
    scratch,
    speeds,
    take_turns,
)
from benchmarks.pictures import DIFFERENT, pictures, write_images_table
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.train import NetworkSettings
from pulmospark.core import schemas
from pulmospark.core.progress import Progress
from pulmospark.models.zoo import networks
from pulmospark.spark.session import spark_session
from pulmospark.training.device import uses_bf16
from pulmospark.training.distributed import threads_for, train_network
from pulmospark.training.rank import RankPlan

CLASSES = ("one", "two", "three")
BATCH = 32
"""images a step, over all processes together"""
EPOCHS = 3
"""the first is not counted"""
OF_BARE, OF_DEFAULTS = 0.95, {"mobilenet_v2": 2.1, "resnet50": 2.8}

_SIZE = IngestSettings().size
_BARE = "bare loop: tensors in memory"
DEFAULTS = "PyTorch's defaults: fp32, contiguous"
_ONE = "pulmospark, 1 process"
_STREAMED = "pulmospark, 1 process, streamed"
_TWO = "pulmospark, 2 processes"
_AVERAGED = "pulmospark, 2 processes, weights averaged"
_STREAM_IMAGES = 128
_HEAD = ("network", "program", "images/s", "of the bare loop", "of the defaults", "last loss")


@dataclass(frozen=True)
class Task:
    """What all programs train on, and for how long."""

    folder: Path
    images: int
    spark: SparkSession
    losses: dict[tuple[str, str], float]


def measure(options: Options) -> Report:
    """Images a second of every program, for each network."""
    images = options.images if options.small else options.training
    with scratch(options) as folder, spark_session(MASTER) as spark:
        made_of = pictures(None, count=4 if options.small else DIFFERENT)
        write_images_table(folder / "images", images, made_of)
        _write_cohort(folder)
        task = Task(folder, images, spark, {})
        found = {}
        for name in options.models:
            if name in networks.ZOO:
                say(f"{name}: {images} phantoms, {EPOCHS} epochs")
                programs = {
                    told: partial(run, task, name)
                    for told, run in _programs().items()
                    if not options.small or told in {_BARE, DEFAULTS, _TWO}
                }
                seconds = take_turns(programs, options.repeats or 3)
                found[name] = speeds(images // BATCH * BATCH, seconds, _BARE)
    return _report(found, task, [name for name in options.models if name not in found])


def _programs() -> dict[str, Callable[[Task, str], float]]:
    """Each answers with the seconds of an epoch, the start of its processes left out."""
    stream = _STREAM_IMAGES * _SIZE * _SIZE
    return {
        _BARE: partial(_bare, kind="same"),
        _ONE: partial(_ours, told=_ONE),
        _STREAMED: partial(_ours, told=_STREAMED, feed_bytes=stream),
        DEFAULTS: partial(_bare, kind="defaults"),
        _TWO: partial(_ours, told=_TWO, processes=2),
        _AVERAGED: partial(_ours, told=_AVERAGED, processes=2, synchronise="parameters"),
    }


def _ours(
    task: Task,
    name: str,
    *,
    told: str,
    processes: int = 1,
    synchronise: Literal["gradients", "parameters"] = "gradients",
    feed_bytes: int = 2**33,
) -> float:
    settings = NetworkSettings(epochs=EPOCHS, batch_size=BATCH, synchronise=synchronise)
    plan = RankPlan(
        model=name,
        classes=CLASSES,
        images=task.folder / "images",
        cohort=task.folder / "cohort",
        fold=None,
        size=_SIZE,
        settings=settings,
        seed=1,
        threads=threads_for(processes, task.spark),
        folder=task.folder / "work",
        feed_bytes=feed_bytes,
    )
    torch.manual_seed(1)
    network = networks.build(name, len(CLASSES))
    (plan.folder / "trained.safetensors").unlink(missing_ok=True)  # or it would not be done again
    history = train_network(
        network, plan, task.spark, processes=processes, progress=Progress("train", 0, quiet=True)
    ).history
    task.losses[name, told] = history[-1]["loss"]
    return float(statistics.median(epoch["seconds"] for epoch in history[1:]))


def _bare(task: Task, name: str, *, kind: str) -> float:
    command = ("-m", "benchmarks.training_bare", name, kind, str(task.folder), str(BATCH))
    _, said = finish(python(*command, str(EPOCHS)))
    told = as_json(said)
    task.losses[name, _BARE if kind == "same" else DEFAULTS] = told["loss"]
    return float(statistics.median(told["seconds"][1:]))


def _write_cohort(folder: Path) -> None:
    """All images are trained on; each has its phantom's class."""
    images = pq.read_table(folder / "images", columns=["image_id", "uri"]).to_pylist()
    rows = [
        {
            **dict.fromkeys(schemas.COHORT.names),
            **image,
            "source": "benchmark",
            "group_id": image["uri"],
            "label": CLASSES[int(image["uri"].split("-")[-1].split(".")[0]) % len(CLASSES)],
            "view": "unknown",
            "split": "train",
        }
        for image in images
    ]
    (folder / "cohort" / "table").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schemas.COHORT)
    pq.write_table(table, folder / "cohort" / "table" / "0.parquet")


def _report(found: dict[str, Any], task: Task, unknown: list[str]) -> Report:
    rows, notes = [], []
    for name, programs in found.items():
        plain = programs[DEFAULTS]["per_second"]
        for told, one in programs.items():
            rows.append(
                (
                    name,
                    told,
                    f"{one['per_second']:.1f}",
                    f"{one['of_bare']:.2f}",
                    f"{one['per_second'] / plain:.2f}",
                    f"{task.losses[name, told]:.3f}",
                )
            )
        for told in (_ONE, _STREAMED):
            if told not in programs:  # a smoke test
                continue
            reached = programs[told]["of_bare"]
            text = f"{name}: {told} >= {OF_BARE} of the bare loop"
            notes.append(goal(text, reached >= OF_BARE) + f" ({reached:.2f})")
        reached = programs[_TWO]["per_second"] / plain
        asked = OF_DEFAULTS.get(name)
        if asked is not None:
            text = f"{name}: {_TWO} >= {asked} of PyTorch's defaults"
            notes.append(goal(text, reached >= asked) + f" ({reached:.2f})")
        for told, against in ((_TWO, _ONE), (_AVERAGED, _TWO)):
            if not {told, against} <= set(programs):
                continue
            ratio = programs[told]["per_second"] / programs[against]["per_second"]
            notes.append(f"{name}: {told}: {ratio:.2f} of {against}")
    precision = "bf16" if uses_bf16(NetworkSettings(), torch.device("cpu")) else "float32"
    notes.append(f"all but the defaults: channels-last, {precision}, glibc keeps its memory")
    notes += [f"{name}: not in the zoo, left out" for name in unknown]
    losses = {f"{name}: {told}": loss for (name, told), loss in task.losses.items()}
    return Report(
        name="training",
        title=f"Training, forward, backward and step, {_SIZE} px, {BATCH} images a step",
        head=_HEAD,
        rows=rows,
        notes=notes,
        figures={"speeds": found, "losses": losses, "images": task.images, "epochs": EPOCHS},
    )
