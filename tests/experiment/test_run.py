"""A finished run: its predictions, its figures beside scikit-learn's, its report and bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as golden

from pulmospark.core import schemas
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.experiment.run_folder import open_experiment
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.models.bundle.bundle import read_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import FinishedRun

pytestmark = pytest.mark.spark


def test_images_and_rejects_are_the_files_seen(finished_run: FinishedRun) -> None:
    told = finished_run.result.ingest
    assert told.images + told.rejects == told.files
    assert told.rejects == 4
    assert sum(listing.files for listing in told.sources) == told.files


def test_every_image_is_tested_once_by_a_model_that_never_saw_its_patient(
    finished_run: FinishedRun,
) -> None:
    rows = pq.read_table(finished_run.folder.evaluation / "predictions")
    cohort = read_cohort(finished_run.folder.cohort)
    assert sorted(rows["uri"].to_pylist()) == cohort["uri"].to_pylist()
    groups = np.asarray(cohort["group_id"].to_pylist())
    for fold in range(2):
        tested = {r["group_id"] for r in rows.to_pylist() if r["fold"] == fold}
        learnt = set(groups[in_part(cohort, Part(Split.TRAIN, fold))])
        assert tested
        assert not tested & learnt


def test_predictions_are_a_delta_table_with_the_types_of_the_schema(
    finished_run: FinishedRun,
) -> None:
    folder = finished_run.folder.evaluation / "predictions"
    rows = pq.read_table(folder)
    assert [field.type for field in rows.schema] == schemas.PREDICTIONS.types
    read = pa.table(deltalake.DeltaTable(folder).to_pyarrow_table())
    assert read.cast(rows.schema).sort_by("uri").equals(rows.sort_by("uri"))


def test_probabilities_are_the_softmax_of_scores_and_temperature(
    finished_run: FinishedRun,
) -> None:
    rows = pq.read_table(finished_run.folder.evaluation / "predictions").to_pylist()
    temperature = {m.fold: m.temperature for m in finished_run.result.train.models}
    for row in rows:
        powers = np.exp(np.asarray(row["logits"]) / temperature[row["fold"]])
        np.testing.assert_allclose(row["probability"], powers / powers.sum(), atol=1e-12)


def test_figures_are_scikit_learns(finished_run: FinishedRun) -> None:
    told = finished_run.result.evaluate.evaluation
    rows = pq.read_table(finished_run.folder.evaluation / "predictions").to_pylist()
    truth = [row["label"] for row in rows]
    said = [row["prediction"] for row in rows]
    chance = np.asarray([row["probability"] for row in rows])
    assert told.accuracy.value == pytest.approx(golden.accuracy_score(truth, said), abs=1e-9)
    balanced = golden.balanced_accuracy_score(truth, said)
    assert told.balanced_accuracy.value == pytest.approx(balanced, abs=1e-9)
    for index, one in enumerate(told.by_class):
        positive = np.asarray([label == one.name for label in truth])
        area = golden.roc_auc_score(positive, chance[:, index])
        assert one.auroc.value == pytest.approx(area, abs=1e-9)
        precision = golden.average_precision_score(positive, chance[:, index])
        assert one.auprc.value == pytest.approx(precision, abs=1e-9)


def test_the_report_says_what_it_is(finished_run: FinishedRun) -> None:
    page = finished_run.folder.report.read_text(encoding="utf-8")
    assert "not a medical device" in page
    assert "phantom" in page.lower()
    assert "most frequent class" in page.lower()
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_the_bundle_scores_as_the_final_regression_did(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    """The regression that MLlib fitted is the network's last layer, exactly."""
    bundle = read_bundle(finished_run.folder.bundle)
    assert bundle.metrics["evaluation"]["images"] == finished_run.result.evaluate.evaluation.images
    size = bundle.config.input_size
    engine = open_engine(prepare_engine(bundle.network(), tmp_path, size=size))
    part = sorted((finished_run.folder.tables / "images").glob("*.parquet"))[0]
    images = pq.read_table(part)
    logits = engine.run(pixels_of(images["pixels"], size)).logits
    scores = {
        row["uri"]: row["logits"]
        for file in (finished_run.folder.training / "scores").glob("*.parquet")
        for row in pq.read_table(file).to_pylist()
        if row["model"] == "final"
    }
    wanted = np.asarray([scores[uri] for uri in images["uri"].to_pylist()])
    assert logits is not None
    np.testing.assert_allclose(logits, wanted, atol=1e-3)


def test_settings_come_back_from_the_runs_folder(finished_run: FinishedRun) -> None:
    again, folder = open_experiment(finished_run.folder.root, {"split.folds": "3"})
    assert folder == finished_run.folder
    assert again.split.folds == 3
    assert again.train == finished_run.experiment.train
    assert json.loads(finished_run.folder.settings.read_text())["phantoms"] is True
