"""A small experiment on real images, from folders to a report."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import LogisticSettings, TrainSettings
from pulmospark.experiment.pipeline import run_all
from pulmospark.experiment.run_folder import run_folder

pytestmark = pytest.mark.spark


def test_two_public_sets_end_in_a_report(
    shared_data: Path, shared_weights: Path, spark: SparkSession, tmp_path: Path
) -> None:
    experiment = Experiment(
        name="real",
        out=tmp_path,
        sources=(
            SourceSettings(path=shared_data / "covid-chestxray-dataset"),
            SourceSettings(path=shared_data / "nih-chest-xray14"),
        ),
        classes={
            "COVID-19": ("*COVID-19*",),
            "normal": ("No Finding",),
            "other": ("Infiltration*", "Consolidation*"),
        },
        ingest=IngestSettings(size=128),
        train=TrainSettings(
            model="squeezenet1_1",
            weights_path=shared_weights,
            logistic=LogisticSettings(max_iter=20),
        ),
        evaluate=EvaluateSettings(replicates=100),
    )
    result = run_all(experiment, run_folder(experiment), spark, quiet=True)
    covid, nih = result.ingest.sources
    assert (covid.layout, nih.layout) == ("covid_chestxray", "nih14")
    assert (covid.files, nih.files) == (273, 60)
    assert covid.notes.counts["repeated_rows"] == 3
    assert (result.ingest.images, result.ingest.rejects) == (333, 0)
    laterals = [one for one in result.split.exclusions if one.reason == "view: lateral"]
    assert sum(one.images for one in laterals) == 12
    assert result.split.images + result.split.excluded == 333
    assert result.evaluate.evaluation.accuracy.value is not None
    assert result.evaluate.evaluation.accuracy.value > 0.6
    page = result.report.read_text(encoding="utf-8")
    assert all(listing.title in page for listing in (covid, nih))
    assert all(warning.split(":")[0] in page for warning in result.split.warnings)
