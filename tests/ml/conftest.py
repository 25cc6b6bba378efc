"""A few phantoms as a DataFrame, and a classifier fitted on them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from ml.small import Small
from pulmospark.ml import CnnClassifier, CnnClassifierModel
from pulmospark.phantoms.write import write_phantoms

PATIENTS = 48


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A workDir."""
    return str(tmp_path_factory.mktemp("ml"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms on disk."""
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_phantoms(folder, seed=3, patients=PATIENTS, laterals=0, broken=False)
    return folder


@pytest.fixture(scope="session")
def images(spark: SparkSession, folder: Path) -> DataFrame:
    """``path``, ``content``, ``finding`` (name), ``label`` (index), ``patient``."""
    told = []
    for hospital in sorted(folder.iterdir()):
        with (hospital / "metadata.csv").open(encoding="utf-8") as file:
            told += [
                (row["filename"], row["finding"], f"{hospital.name}-{row['patientid']}")
                for row in csv.DictReader(file)
            ]
    names = sorted({finding for _, finding, _ in told})
    rows = [(name, finding, float(names.index(finding)), who) for name, finding, who in told]
    table = spark.createDataFrame(
        rows, "name string, finding string, label double, patient string"
    )
    found = spark.read.format("binaryFile").load(f"{folder}/*/images/*.[pj][np]g")
    return (
        found.withColumn("name", F.element_at(F.split("path", "/"), -1))
        .join(F.broadcast(table), "name")
        .select("path", "content", "finding", "label", "patient")
        .coalesce(2)
        .sortWithinPartitions("path")
        .cache()
    )


@pytest.fixture(scope="session")
def small(work: str) -> Small:
    return {"modelName": "basic_cnn", "weights": "none", "imageSize": 32, "workDir": work}


@pytest.fixture(scope="session")
def model(images: DataFrame, small: Small) -> CnnClassifierModel:
    """A small classifier, with temperature."""
    held = images.withColumn("held", F.substring("patient", -1, 1) == "2")
    return CnnClassifier(**small, validationIndicatorCol="held", maxIter=20).fit(held)
