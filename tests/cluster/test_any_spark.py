"""From images to predictions and Spark ML, on whatever Spark the session is.

Here it is a local one; ``test_cluster`` runs the same on a standalone cluster and over Spark
Connect.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from bundles import write_untrained
from cluster.small import CLASSES, by_features, small_experiment, write_pictures
from ml.small import Small
from pulmospark.data.cohort.table import read_cohort
from pulmospark.experiment import pipeline
from pulmospark.experiment.run_folder import run_folder
from pulmospark.inference.batch.predict import predict
from pulmospark.ml import CnnClassifier, ImageFeaturizer

pytestmark = pytest.mark.spark
_EACH = 14
_NAMES = list(CLASSES)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("images") / "images", _EACH)


@pytest.fixture(scope="module")
def frame(spark: SparkSession, images: Path) -> DataFrame:
    """``content`` and ``label`` of the pictures, and of one file that is none."""
    name = F.element_at(F.split("path", "/"), -2)
    label = F.when(name == _NAMES[0], 0.0).otherwise(1.0)
    found = spark.read.format("binaryFile").load(f"{images}/*/*.png")
    return found.select("path", "content", label.alias("label")).coalesce(2)


def test_from_images_to_a_model_and_predictions(
    spark: SparkSession, images: Path, shared_weights: Path, tmp_path: Path
) -> None:
    experiment = small_experiment(tmp_path / "runs", images, by_features(shared_weights))
    run = run_folder(experiment)
    ingested = pipeline.run_ingest(experiment, run, spark, quiet=True)
    assert (ingested.images, ingested.rejects) == (2 * _EACH, 1)
    assert pipeline.run_split(experiment, run, spark).images == 2 * _EACH
    assert read_cohort(run.cohort)["uri"].to_pylist() == sorted(map(str, images.glob("*/0*.png")))
    pipeline.run_train(experiment, run, spark, quiet=True)
    figures = pipeline.run_evaluate(experiment, run).evaluation
    cohort = read_cohort(run.cohort).to_pylist()
    tested = {row["uri"]: row["label"] for row in cohort if row["split"] == "test"}
    rows = pq.read_table(run.evaluation / "predictions").to_pylist()
    assert {row["uri"]: row["label"] for row in rows} == tested
    assert figures.images == len(tested) >= 6
    assert sum(row["label"] == row["prediction"] for row in rows) >= len(tested) - 1


def test_predictions_are_those_of_one_process(
    spark: SparkSession, images: Path, tmp_path: Path
) -> None:
    bundle = write_untrained(tmp_path / "bundle")
    told = {}
    for name, where in (("spark", spark), ("here", None)):
        out = tmp_path / name
        result = predict(bundle, [str(images)], out, where, layout="none", quiet=True)
        assert (result.images, result.rejects) == (2 * _EACH, 1)
        rows = pq.read_table(out / "predictions").to_pylist()
        told[name] = {row["uri"]: row["probability"] for row in rows}
    assert told["spark"].keys() == told["here"].keys()
    for uri, chances in told["spark"].items():
        assert told["here"][uri] == pytest.approx(chances, abs=1e-4)


def test_spark_ml_classes(frame: DataFrame, tmp_path: Path) -> None:
    small: Small = {
        "modelName": "basic_cnn",
        "weights": "none",
        "imageSize": 32,
        "workDir": str(tmp_path),
    }
    featurizer = ImageFeaturizer(**small, handleInvalid="skip")
    features = featurizer.transform(frame).select("features").collect()
    assert len(features) == 2 * _EACH
    assert all(np.ptp(row["features"].toArray()) > 0.01 for row in features)
    model = CnnClassifier(**small, handleInvalid="skip", maxIter=10).fit(frame)
    rows = model.transform(frame).select("label", "prediction").collect()
    assert len(rows) == 2 * _EACH
    assert sum(row["label"] == row["prediction"] for row in rows) > 1.8 * _EACH
