"""Statistics of the training images: whose features they are of, without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core import limits, schemas
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.training.context import Job
from pulmospark.training.feature_distance import training_distance

WIDTH = 12


def _row(number: int, split: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(schemas.COHORT.names)
    return row | {
        "image_id": f"{number:064x}",
        "uri": f"/{number}.png",
        "source": "s",
        "group_id": f"p{number // 2}",
        "label": "a",
        "view": "PA",
        "split": split,
        "reason": "view: lateral" if split == "excluded" else None,
    }


def _job(folder: Path, splits: list[str], method: str) -> tuple[Job, list[Path], np.ndarray]:
    """A cohort, and features of all its images in two parts."""
    rows = [_row(number, split) for number, split in enumerate(splits)]
    (folder / "table").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schemas.COHORT), folder / "table" / "a.parquet"
    )
    scale = {"train": 1.0, "validation": 3.0, "test": 50.0, "excluded": 90.0}
    values = np.random.default_rng(1).normal(size=(len(rows), WIDTH)).astype(np.float32)
    values *= np.asarray([scale[split] for split in splits], np.float32)[:, None]
    parts = []
    for half in (0, 1):
        some = [
            {"image_id": row["image_id"], "uri": row["uri"], "features": value.tolist()}
            for row, value in list(zip(rows, values, strict=True))[half::2]
        ]
        parts.append(folder / f"{half}.parquet")
        pq.write_table(pa.Table.from_pylist(some, schema=schemas.FEATURES), parts[-1])
    experiment = Experiment(
        sources=(SourceSettings(path=folder),),
        train=TrainSettings.model_validate({"model": "squeezenet1_1", "method": method}),
    )
    # Neither Spark nor the split's summary is asked for anything.
    nothing = cast("Any", None)
    spark, split = cast("SparkSession", nothing), cast("SplitResult", nothing)
    job = Job(experiment, folder, folder, split, folder, spark, quiet=True)
    return job, parts, values


@pytest.mark.parametrize(("method", "fitted"), [("features", 160), ("network", 120)])
def test_neither_tested_nor_excluded_images_are_in_the_statistics(
    tmp_path: Path, method: str, fitted: int
) -> None:
    splits = ["train"] * 120 + ["validation"] * 40 + ["test"] * 30 + ["excluded"] * 10
    job, parts, values = _job(tmp_path, splits, method)
    found = training_distance(job, parts)
    assert found is not None
    assert found.facts.images == fitted
    mean = FeatureDistance.from_bytes(found.content, "x").mean
    rooted = np.copysign(np.abs(values[:fitted].astype(np.float64)) ** 0.5, values[:fitted])
    assert mean == pytest.approx(rooted.mean(axis=0), abs=1e-5)


def test_the_fence_of_a_network_that_was_trained_heeds_unseen_images(tmp_path: Path) -> None:
    """Those of the validation part lie further away here, as the unseen do."""
    splits = ["train"] * 120 + ["validation"] * 40
    job, parts, values = _job(tmp_path / "with", splits, "network")
    found = training_distance(job, parts)
    alone, some, _ = _job(tmp_path / "without", splits[:120], "network")
    seen = training_distance(alone, some)
    assert found is not None
    assert seen is not None
    distance = FeatureDistance.from_bytes(found.content, "x")
    assert found.facts.fence > 1.2 * seen.facts.fence
    assert (distance.of(values[120:]) > found.facts.fence).mean() <= 0.05


def test_few_images_give_no_statistics(tmp_path: Path) -> None:
    count = limits.DISTANCE_IMAGES_MIN - 1
    job, parts, _ = _job(tmp_path, ["train"] * count, "features")
    assert training_distance(job, parts) is None
