"""What a DICOM header adds to a row: a patient where it names one, a view where it is finer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom

from data.samples import plant
from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.schemas import Note
from pulmospark.data.ingest.incremental import hashes
from pulmospark.data.ingest.ingest import IngestWork
from pulmospark.layouts.manifest import write_manifest

_SALT = Salt(b"a secret of the tests")
_VIEWS = {"aa": "PA", "bb": "AP", "cc": "LL", "dd": ""}


def _ingested(root: Path, layout: str | None = None) -> dict[str, dict[str, Any]]:
    """Rows of the images table, by the names of their files."""
    manifest = root.parent / "manifest.parquet"
    write_manifest([SourceSettings(path=root, layout=layout, name="set")], manifest)
    made = IngestWork(IngestSettings(size=32), _SALT)(pq.read_table(manifest))
    assert not made["rejects"].num_rows
    return {Path(row["uri"]).stem: row for row in made["images"].to_pylist()}


def _rsna(root: Path) -> Path:
    sheet = "patientId,class\n" + "".join(f"{name},Normal\n" for name in _VIEWS)
    images = {
        f"stage_2_train_images/{name}.dcm": dicoms.image(n, PatientID=name, ViewPosition=view)
        for n, (name, view) in enumerate(_VIEWS.items())
    }
    return plant(root, {"stage_2_detailed_class_info.csv": sheet.encode(), **images})


def test_the_id_of_a_image_is_no_patient(tmp_path: Path) -> None:
    root = _rsna(tmp_path / "set")
    rows = _ingested(root)
    assert {row["patient_id"] for row in rows.values()} == {None}
    # The same images in a layout whose headers are believed.
    rows = _ingested(root, "class_folders")
    assert rows["aa"]["patient_id"] == f"set:{_SALT.hashed('patient', 'aa')}"
    mapping = [{"subset_img_id": name, "img_id": "00000007_001.png"} for name in ("aa", "bb")]
    plant(
        root,
        {"pneumonia-challenge-dataset-mappings_2018.json": json.dumps(mapping).encode()},
    )
    patients = {name: row["patient_id"] for name, row in _ingested(root).items()}
    assert patients == {"aa": "set:00000007", "bb": "set:00000007", "cc": None, "dd": None}


def test_a_real_image_of_the_challenge(shared_data: Path, tmp_path: Path) -> None:
    image = shared_data / "dicom-cxr" / "rsna_cr_jpegbaseline_mono2_1024.dcm"
    told = str(pydicom.dcmread(image, stop_before_pixels=True).PatientID)
    sheet = f"patientId,Target\n{told},0\n".encode()
    root = plant(
        tmp_path / "set",
        {"stage_2_train_labels.csv": sheet, f"images/{told}.dcm": image.read_bytes()},
    )
    (row,) = _ingested(root).values()
    assert (row["patient_id"], row["finding"]) == (None, "no Lung Opacity")
    assert (row["view"], row["sex"]) == ("PA", "M")


def test_a_header_tells_which_frontal_and_no_more(tmp_path: Path) -> None:
    rows = _ingested(_rsna(tmp_path / "set"))
    views = {name: row["view"] for name, row in rows.items()}
    assert views == {"aa": "PA", "bb": "AP", "cc": "frontal", "dd": "frontal"}


def test_a_file_is_read_again_once_its_header_is_believed_no_more(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.parquet"
    write_manifest([SourceSettings(path=_rsna(tmp_path / "set"))], manifest)
    rows = pq.read_table(manifest)
    place = rows.schema.get_field_index("header_patient")
    believed = rows.set_column(place, rows.schema.field(place), pa.array([True] * len(rows)))
    assert (hashes(rows) != hashes(believed)).all()


def test_what_was_doubtful_stands_in_the_row(tmp_path: Path) -> None:
    pair = {"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"}
    images = {"a/one.dcm": dicoms.image(1), "a/two.dcm": dicoms.image(2, **pair, HighBit=3)}
    rows = _ingested(plant(tmp_path / "set", images), "dicom")
    assert rows["one"]["notes"] is None
    assert rows["two"]["notes"] == "; ".join([Note.HIGH_BIT, Note.PRESENTATION_SHAPE])
