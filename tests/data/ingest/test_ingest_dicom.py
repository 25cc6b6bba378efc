"""Ingest of DICOM: ids that join, sheets that go first, frames as rows, nothing read twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.samples import plant, png
from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.data.ingest.ingest import SALT_FILE, IngestResult, ingest
from pulmospark.inference.batch.inputs import IMAGE_COLUMNS

pytestmark = pytest.mark.spark
SMALL = IngestSettings(size=32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = {"PatientID": "Same 1", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4"}
    volume = np.stack([dicoms.values(n) for n in range(3)])
    ct = dicoms.dataset(volume, Modality="CT", NumberOfFrames=3, RescaleIntercept="-1024", **told)
    return plant(
        tmp_path_factory.mktemp("dicom") / "set",
        {
            "sick/a.dcm": dicoms.image(
                1, PatientAge="058Y", ViewPosition="AP", BurnedInAnnotation="YES", **told
            ),
            "sick/b.dcm": dicoms.image(2, **{**told, "PatientID": " same  1"}),
            "well/volume.dcm": dicoms.file_of(ct, volume),
            "well/plain.png": png(),
            "well/mr.dcm": dicoms.image(Modality="MR"),
        },
    )


def _ingest(
    root: Path, target: Path, spark: SparkSession, settings: IngestSettings = SMALL
) -> IngestResult:
    sources = [SourceSettings(path=root, layout="class_folders", name="set")]
    return ingest(sources, settings, target, spark, quiet=True)


def _rows(result: IngestResult) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(result.tables / "images").to_pylist()
    return {Path(row["uri"]).name: row for row in rows}


@pytest.fixture(scope="module")
def result(root: Path, spark: SparkSession) -> IngestResult:
    return _ingest(root, root.parent / "run" / "tables", spark)


def test_headers_fill_what_the_folders_do_not_say(result: IngestResult) -> None:
    rows = _rows(result)
    assert (result.files, result.images, result.rejects) == (5, 6, 1)
    assert result.burned_in == 1
    assert result.formats == {"dicom": 5, "png": 1}
    patients = {rows[name]["patient_id"] for name in ("a.dcm", "b.dcm", "volume.dcm#frame-2")}
    assert len(patients) == 1 and patients.pop().startswith("set:")
    assert rows["plain.png"]["patient_id"] is None
    a, frame = rows["a.dcm"], rows["volume.dcm#frame-2"]
    assert (a["view"], a["modality"], a["age"], a["finding"]) == ("AP", "X-ray", 58, "sick")
    assert (a["scan_id"], a["frame"]) == (None, None)
    assert (frame["view"], frame["modality"], frame["slice_index"]) == ("axial", "CT", 2)
    assert frame["frame"] == 2 and frame["scan_id"] and frame["scan_id"] != frame["study_id"]
    assert len({row["image_id"] for row in rows.values()}) == 6
    assert set(IMAGE_COLUMNS) <= set(a)


def test_nothing_is_read_again_until_the_salt_is_another(
    result: IngestResult, root: Path, spark: SparkSession, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(result.tables.parent, run)
    again = _ingest(root, run / "tables", spark)
    assert (again.already, again.images) == (5, 6)
    assert _rows(again) == _rows(result)
    (run / SALT_FILE).unlink()
    anew = _ingest(root, run / "tables", spark)
    assert anew.already == 0
    assert _rows(anew)["a.dcm"]["patient_id"] != _rows(result)["a.dcm"]["patient_id"]
    named = SMALL.model_copy(update={"salt_path": result.tables.parent / SALT_FILE})
    joined = _ingest(root, tmp_path / "other" / "tables", spark, named)
    assert _rows(joined)["a.dcm"]["patient_id"] == _rows(result)["a.dcm"]["patient_id"]
