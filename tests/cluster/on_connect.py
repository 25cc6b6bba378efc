"""All that works over Spark Connect, and what does not; ``test_cluster`` runs this."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from cluster.small import by_features, small_experiment, write_pictures
from pulmospark.core.errors import UsageError
from pulmospark.core.settings import TrainSettings
from pulmospark.experiment import stages
from pulmospark.experiment.folder import run_folder
from pulmospark.scoring.predict import predict
from pulmospark.spark.session import is_connect, slots

_EACH = 14


def test_slots_are_the_server_s(spark: SparkSession) -> None:
    assert is_connect(spark)
    assert slots(spark) == 2


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("films") / "films", _EACH)


def test_from_films_to_predictions_with_a_model_trained_on_the_way(
    spark: SparkSession, films: Path, shared_weights: Path, tmp_path: Path
) -> None:
    experiment = small_experiment(tmp_path / "runs", films, by_features(shared_weights))
    run = run_folder(experiment)
    ingested = stages.run_ingest(experiment, run, spark, quiet=True)
    assert (ingested.images, ingested.rejects) == (2 * _EACH, 1)
    assert stages.run_split(experiment, run, spark).films == 2 * _EACH
    stages.run_train(experiment, run, spark, quiet=True)
    figures = stages.run_evaluate(experiment, run, spark).evaluation
    assert figures.films == 2 * _EACH
    assert figures.accuracy.value is not None
    assert figures.accuracy.value > 0.9  # light and dark pictures
    result = predict(run.bundle, [str(films)], tmp_path / "out", spark, layout="none", quiet=True)
    assert (result.images, result.rejects) == (2 * _EACH, 1)
    rows = pq.read_table(tmp_path / "out" / "predictions").to_pylist()
    right = [row["prediction"] == Path(row["uri"]).parent.name for row in rows]
    assert sum(right) > 0.9 * len(right)


def test_a_network_is_not_trained_and_that_is_said(
    spark: SparkSession, films: Path, tmp_path: Path
) -> None:
    settings = TrainSettings(model="basic_cnn", method="network", weights="none")
    experiment = small_experiment(tmp_path / "runs", films, settings)
    run = run_folder(experiment)
    stages.run_ingest(experiment, run, spark, quiet=True)
    stages.run_split(experiment, run, spark)
    with pytest.raises(UsageError, match=r"Spark Connect cannot train.*train\.method=features"):
        stages.run_train(experiment, run, spark, quiet=True)
