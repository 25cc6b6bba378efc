"""No text of a DICOM header gets out: a canary in every attribute is found in nothing written."""

from __future__ import annotations

import hashlib
import stat
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from bundles import write_untrained
from data import canary
from data.samples import plant
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.pseudonyms import read_salt
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.ingest import SALT_FILE, IngestResult, ingest
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import images_from_bytes
from pulmospark.inference.batch.predict import predict

# The attributes that identify most, of PS3.15, Table E.1-1; all others are in the dictionary,
# every attribute of which holds a canary.
OF_THE_TABLE = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientAddress",
    "PatientTelephoneNumbers", "OtherPatientIDsSequence", "PatientComments",
    "AccessionNumber", "ReferringPhysicianName", "InstitutionName", "InstitutionAddress",
    "StationName", "OperatorsName", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "StudyDate", "AcquisitionDateTime", "StudyID",
    "StudyDescription", "SeriesDescription", "ImageComments", "DeviceSerialNumber",
    "ProtocolName", "RequestAttributesSequence", "MedicalRecordLocator",
    "PatientInsurancePlanCodeSequence", "TextString", "VerifyingObserverName",
    "PersonName",
)  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("canary")
    return plant(root / "set", {"a/image.dcm": canary.image(), **canary.odd_files()})


@pytest.fixture(scope="module")
def ingested(images: Path, spark: SparkSession) -> IngestResult:
    sources = [SourceSettings(path=images, layout="dicom", name="set")]
    tables = images.parent / "run" / "tables"
    return ingest(sources, IngestSettings(size=64), tables, spark, quiet=True)


def test_the_canary_sits_in_all_that_the_standard_lists() -> None:
    assert not set(OF_THE_TABLE) - canary.planted()


@pytest.mark.spark
def test_no_canary_is_in_what_ingest_and_predict_write(
    ingested: IngestResult, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = ingested.tables.parent
    assert ingested.images >= 1 and ingested.rejects >= 6
    bundle = write_untrained(run / "bundle")
    result = predict(
        bundle, [str(images)], run / "scored", None, layout="dicom",
        salt_path=run / SALT_FILE, quiet=True,
    )  # fmt: skip
    assert (result.images, result.rejects) == (ingested.images, ingested.rejects)
    assert list(canary.traces_in(run)) == []
    said = capfd.readouterr()
    assert not [trace for trace in canary.TRACES if trace in said.out + said.err]


@pytest.mark.spark
def test_ids_are_keyed_hashes(ingested: IngestResult) -> None:
    run = ingested.tables.parent
    (row,) = [
        row for row in pq.read_table(ingested.tables / "images").to_pylist()
        if row["uri"].endswith("image.dcm")
    ]  # fmt: skip
    salt = read_salt(run / SALT_FILE)
    assert row["patient_id"] == f"{row['source']}:{salt.hashed('patient', canary.CANARY)}"
    assert row["scan_id"] == salt.hashed("series", canary.UID)
    plain = hashlib.sha256(canary.CANARY.encode()).hexdigest()
    assert row["patient_id"].split(":")[1] not in plain
    assert stat.S_IMODE((run / SALT_FILE).stat().st_mode) == 0o600


def test_nothing_is_said_of_what_is_refused(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    whole = canary.image()
    wrong = {**canary.odd_files(), "whole.dcm": whole}
    wrong |= {f"cut-{at}": whole[:at] for at in range(150, len(whole), len(whole) // 40)}
    capfd.readouterr()  # what pydicom said while it wrote these
    caplog.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for name, data in wrong.items():
            found = images_from_bytes(data, IngestSettings(size=64))
            if isinstance(found, Rejected):
                assert not [t for t in canary.TRACES if t in found.detail], name
                assert found.reason in set(RejectReason)
    said = capfd.readouterr()
    told = said.out + said.err + caplog.text + "".join(str(w.message) for w in warned)
    assert not [trace for trace in canary.TRACES if trace in told]
