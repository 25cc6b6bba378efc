"""Several networks on the same films."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from pulmospark.core.errors import UsageError
from pulmospark.experiment.compare import (
    check_models,
    compare,
    read_comparison,
    settings_for,
    start_of,
)
from pulmospark.experiment.folder import RunFolder
from pulmospark.models.bundle import read_bundle
from pulmospark.training.train import read_training

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from conftest import FinishedRun

_MODELS = ("squeezenet1_1", "mobilenet_v2")


@pytest.mark.spark
def test_networks_share_the_films_and_are_laid_side_by_side(
    finished_run: FinishedRun, spark: SparkSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run", shared=finished_run.folder.root)
    told = compare(finished_run.experiment, run, _MODELS, spark, quiet=True)
    assert {one.name for one in told.models} == set(_MODELS)
    assert told.cohort_id == finished_run.result.split.cohort_id
    uris = [
        sorted(
            pq.read_table(run.comparison / name / "evaluation" / "predictions")["uri"].to_pylist()
        )
        for name in _MODELS
    ]
    assert uris[0] == uris[1]
    assert len(uris[0]) == told.films
    one = next(one for one in told.models if one.name == "squeezenet1_1")
    # The same settings as the run itself: the same figures.
    assert one.accuracy == finished_run.result.evaluate.evaluation.accuracy
    assert one.films_per_s > 0
    assert one.report.is_file()
    (pair,) = told.pairs
    values = {m.name: m.accuracy.value or 0.0 for m in told.models}
    assert pair.compared.difference.value == pytest.approx(
        values[pair.first] - values[pair.second], abs=1e-12
    )
    assert read_comparison(run.comparison) == told
    rows = list(csv.DictReader((run.comparison / "comparison.csv").open(encoding="utf-8")))
    assert [row["model"] for row in rows] == [m.name for m in told.models]
    assert "Drawn phantoms" in (run.comparison / "comparison.html").read_text(encoding="utf-8")
    before = read_bundle(run.comparison / "mobilenet_v2" / "bundle").model_id
    stamp = (run.comparison / "mobilenet_v2" / "training" / "training.json").stat().st_mtime_ns
    again = compare(finished_run.experiment, run, _MODELS, spark, quiet=True)
    place = run.comparison / "mobilenet_v2"
    assert (place / "training" / "training.json").stat().st_mtime_ns == stamp, "not trained again"
    assert read_bundle(place / "bundle").model_id == before
    assert again.pairs == told.pairs
    assert read_training(place / "training").parameters == next(
        m.parameters for m in again.models if m.name == "mobilenet_v2"
    )


def test_a_network_without_weights_is_trained_itself(finished_run: FinishedRun) -> None:
    chosen = settings_for(finished_run.experiment, "basic_cnn").train
    assert (chosen.model, chosen.method, chosen.weights) == ("basic_cnn", "network", "none")
    added = settings_for(finished_run.experiment, "mobilenet_v2_modified").train
    assert (added.method, added.weights) == ("network", "imagenet")
    kept = settings_for(finished_run.experiment, "mobilenet_v2").train
    assert (kept.model, kept.method, kept.weights) == ("mobilenet_v2", "features", "imagenet")


def test_a_start_is_that_of_its_own_network_alone(finished_run: FinishedRun) -> None:
    plain = finished_run.experiment
    assert start_of(plain, _MODELS) is None
    bundle = finished_run.folder.bundle  # a SqueezeNet
    train = plain.train.model_copy(update={"start": bundle})
    started = plain.model_copy(update={"train": train})
    assert start_of(started, _MODELS) == "squeezenet1_1"
    assert settings_for(started, "squeezenet1_1", start=True).train.start == bundle
    others = settings_for(started, "mobilenet_v2").train
    assert (others.start, others.weights) == (None, "imagenet")
    with pytest.raises(UsageError, match="holds squeezenet1_1, which is not compared"):
        start_of(started, ("mobilenet_v2", "basic_cnn"))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("mobilenet_v2",), "names 1: give 2"),
        (("mobilenet_v2", "mobilenet_v2"), "stand once"),
        (("mobilenet_v2", "resnet_of_mine"), "not in the zoo"),
    ],
)
def test_what_cannot_be_compared_is_refused(models: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_models(models, 224)
    with pytest.raises(UsageError, match="under its smallest"):
        check_models(("mobilenet_v2", "basic_cnn"), 20)
