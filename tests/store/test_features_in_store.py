"""Deep features that lie in a store: the same matrix, and the same rows for MLlib."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pulmospark.chunks import write_part
from pulmospark.chunks.parquet_files import Place
from pulmospark.core import schemas
from pulmospark.store.folders import put_files
from pulmospark.store.uri import StoreUri
from pulmospark.training.feature_matrix import read_images
from pulmospark.training.mllib_logistic import feature_frame

_CLASSES = ("ill", "well")
_ROWS, _WIDTH = 40, 8


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    rows = [
        dict.fromkeys(schemas.COHORT.names)
        | {
            "image_id": f"id-{n}",
            "uri": f"s3://b/{n:03d}.png",
            "label": _CLASSES[n % 2],
            "split": "train" if n % 3 else "test",
            "group_id": f"g-{n}",
            "reason": "excluded" if n == 7 else None,
        }
        for n in range(_ROWS)
    ]
    nullable = pa.schema([field.with_nullable(True) for field in schemas.COHORT])
    (tmp_path / "cohort/table").mkdir(parents=True)
    write_part(pa.Table.from_pylist(rows, nullable), tmp_path / "cohort/table/part.parquet")
    return tmp_path / "cohort"


@pytest.fixture
def parts(tmp_path: Path, bucket: StoreUri) -> tuple[list[Place], list[Place]]:
    """Two parts on the disk, and the same in the store."""
    rng = np.random.default_rng(5)
    (tmp_path / "features").mkdir()
    for number, places in enumerate(np.array_split(np.arange(_ROWS), 2)):
        rows = [
            {
                "image_id": f"id-{n}",
                "uri": f"s3://b/{n:03d}.png",
                "features": rng.normal(size=_WIDTH).astype(np.float32),
            }
            for n in places.tolist()
        ]
        table = pa.Table.from_pylist(rows, schemas.FEATURES)
        write_part(table, tmp_path / f"features/{number}.parquet")
    put_files(tmp_path / "features", bucket / "features")
    here = sorted((tmp_path / "features").iterdir())
    return list(here), [bucket / f"features/{path.name}" for path in here]


def test_the_matrix_is_the_same(cohort: Path, parts: tuple[list[Place], list[Place]]) -> None:
    here, there = (read_images(cohort, places, _CLASSES) for places in parts)
    assert here.features.shape == (_ROWS - 1, _WIDTH)
    assert np.array_equal(here.features, there.features)
    assert np.array_equal(here.labels, there.labels)


@pytest.mark.spark
def test_mllib_gets_the_same_rows(
    spark: SparkSession,
    cohort: Path,
    parts: tuple[list[Place], list[Place]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.setitem(spark.sparkContext.environment, name, os.environ[name])
    collected = []
    for places in parts:
        with feature_frame(spark, places, cohort, _CLASSES) as frame:
            rows = frame.orderBy("uri").collect()
        collected.append(
            [(r["uri"], r["label"], r["split"], r["features"].toArray().tolist()) for r in rows]
        )
    assert len(collected[0]) == _ROWS - 1
    assert collected[0] == collected[1]
