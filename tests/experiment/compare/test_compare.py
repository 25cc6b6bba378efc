"""Several networks on the same images."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from pulmospark.core import limits
from pulmospark.experiment.compare.compare import compare, read_comparison
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.training.train import read_training

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from conftest import FinishedRun

_MODELS = ("squeezenet1_1", "mobilenet_v2")


@pytest.mark.spark
def test_networks_share_the_images_and_are_laid_side_by_side(
    finished_run: FinishedRun,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SPEED_SECONDS", 0.1)  # that it is told counts here, not how well
    run = RunFolder(tmp_path / "run", shared=finished_run.folder.root)
    told = compare(finished_run.experiment, run, _MODELS, spark, quiet=True)
    assert {one.name for one in told.models} == set(_MODELS)
    assert told.cohort_id == finished_run.result.split.cohort_id
    uris = [
        sorted(
            pq.read_table(run.comparison / f"{name}-features" / "evaluation" / "predictions")[
                "uri"
            ].to_pylist()
        )
        for name in _MODELS
    ]
    assert uris[0] == uris[1]
    assert len(uris[0]) == told.images
    one = next(one for one in told.models if one.name == "squeezenet1_1")
    # The same settings as the run itself: the same figures.
    assert one.accuracy == finished_run.result.evaluate.evaluation.accuracy
    assert one.images_per_s > 0
    assert one.report.is_file()
    (pair,) = told.pairs
    values = {m.name: m.accuracy.value or 0.0 for m in told.models}
    assert pair.compared.difference.value == pytest.approx(
        values[pair.first] - values[pair.second], abs=1e-12
    )
    assert read_comparison(run.comparison) == told
    with (run.comparison / "comparison.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == [m.name for m in told.models]
    assert [row["model"] for row in rows] == [m.model for m in told.models]
    page = (run.comparison / "comparison.html").read_text(encoding="utf-8")
    assert "Phantoms, not patients" in page
    before = read_bundle(run.comparison / "mobilenet_v2-features" / "bundle").model_id
    place = run.comparison / "mobilenet_v2-features"
    stamp = (place / "training" / "training.json").stat().st_mtime_ns
    # The same arms, named with their method.
    named = [f"{name}:features" for name in _MODELS]
    again = compare(finished_run.experiment, run, named, spark, quiet=True)
    assert (place / "training" / "training.json").stat().st_mtime_ns == stamp, "not trained again"
    assert read_bundle(place / "bundle").model_id == before
    assert [pair.compared for pair in again.pairs] == [pair.compared for pair in told.pairs]
    assert {one.name for one in again.models} == set(named)
    assert read_training(place / "training").parameters == next(
        m.parameters for m in again.models if m.model == "mobilenet_v2"
    )
