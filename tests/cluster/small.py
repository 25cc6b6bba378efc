"""Images and an experiment that take seconds on any Spark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.config.train import LogisticSettings, TrainSettings
from pulmospark.spark.gpus import task_gpu

CLASSES = {"COVID-19": 0, "normal": 1}
"""class -> axis along which its pictures have stripes"""


def write_pictures(folder: Path, each: int) -> Path:
    """A folder a class with striped, noisy pictures, and one text named as a picture."""
    random = np.random.default_rng(4)
    for name, axis in CLASSES.items():
        stripes = 100 + 50 * np.sign(np.sin(np.indices((40, 36))[axis]))
        (folder / name).mkdir(parents=True)
        for number in range(each):
            grey = np.clip(random.normal(stripes, 25), 0, 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / name / f"{number:04d}.png")
    (folder / "normal" / "no-image.png").write_text("no picture", encoding="utf-8")
    return folder


def small_experiment(folder: Path, images: Path, train: TrainSettings) -> Experiment:
    """One split of small pictures: a fold more would be two fits more."""
    return Experiment(
        name="small",
        out=folder,
        sources=(SourceSettings(path=images),),
        classes={name: (name,) for name in CLASSES},
        ingest=IngestSettings(size=64),
        split=SplitSettings(train=0.5, validation=0.2, test=0.3),
        train=train,
        evaluate=EvaluateSettings(replicates=100),
    )


def by_features(weights: Path) -> TrainSettings:
    """Regression on SqueezeNet's features."""
    return TrainSettings(
        model="squeezenet1_1", weights_path=weights, logistic=LogisticSettings(max_iter=10)
    )


def gpus_of_tasks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The GPU that Spark gave to the task, for each batch."""
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"gpu": pa.array([task_gpu()], pa.int64())})
