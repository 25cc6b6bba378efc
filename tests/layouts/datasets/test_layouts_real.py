"""Each layout on the real folder of its data set, with the counts that are known."""

from __future__ import annotations

import csv
from pathlib import Path

from layouts.listing import listed
from pulmospark.layouts.registry import recognise


def test_covid_chestxray(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "covid-chestxray-dataset"
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        sheet = list(csv.DictReader(file))
    assert len(sheet) == 276
    assert len({row["patientid"] for row in sheet}) == 153
    listing, rows = listed(folder, tmp_path)
    assert listing.layout == listing.name == "covid_chestxray"
    assert listing.files == 273
    assert listing.findings["COVID-19"] == 210
    assert listing.findings["COVID-19, ARDS"] == 12
    assert listing.views == {"PA": 160, "AP": 55, "AP supine": 46, "lateral": 12}
    # Patients 285 and 339 have the same three images and no others.
    assert listing.notes.counts["repeated_rows"] == 3
    assert listing.notes.counts["conflicting_patients"] == 3
    assert "conflicting_findings" not in listing.notes.counts
    assert len({row["patient_id"] for row in rows}) == 152
    assert {row["modality"] for row in rows} == {"X-ray"}
    assert all(Path(row["uri"]).stat().st_size == row["size_bytes"] for row in rows)


def test_nih14(shared_data: Path, tmp_path: Path) -> None:
    listing, rows = listed(shared_data / "nih-chest-xray14", tmp_path)
    assert listing.layout == "nih14"
    assert (listing.files, listing.findings["No Finding"]) == (60, 30)
    assert listing.views == {"PA": 46, "AP": 14}
    assert len({row["patient_id"] for row in rows}) == 60
    assert listing.notes.counts == {"ignored_files": 1}


def test_kermany(shared_data: Path, tmp_path: Path) -> None:
    listing, rows = listed(shared_data / "chest_xray", tmp_path)
    assert listing.layout == "kermany"
    assert listing.published_splits == {"train": 2400, "test": 508}
    assert listing.findings == {
        "NORMAL": 980,
        "PNEUMONIA bacterial": 980,
        "PNEUMONIA viral": 948,
    }
    assert listing.views == {"AP": 2908}
    assert listing.with_patient == 2908
    assert not listing.notes.counts
    # What the layout says of the numbers: within a series or kind none is in train and test.
    _, parted = listed(shared_data / "chest_xray", tmp_path, options={"person_numbers": "by_kind"})
    sides = {
        split: {row["patient_id"] for row in parted if row["published_split"] == split}
        for split in ("train", "test")
    }
    assert not sides["train"] & sides["test"]
    assert len({row["patient_id"] for row in rows}) < len(sides["train"] | sides["test"])


def test_radiography_database(shared_data: Path, tmp_path: Path) -> None:
    listing, rows = listed(shared_data / "COVID-19_Radiography_Dataset", tmp_path)
    assert listing.layout == "radiography_database"
    assert listing.findings == {"COVID": 500, "Normal": 300, "Viral Pneumonia": 200}
    assert listing.with_mask == 1000
    assert listing.notes.counts == {"masks": 1000}
    assert listing.with_patient == 0
    for row in rows[::50]:
        assert Path(row["mask_uri"]).is_file()
        assert Path(row["mask_uri"]).name == Path(row["uri"]).name


def test_slices_by_class_are_class_folders(shared_data: Path, tmp_path: Path) -> None:
    listing, rows = listed(shared_data / "CC-CCII-layout", tmp_path, layout="class_folders")
    assert listing.layout == "class_folders"
    assert listing.name == "CC-CCII-layout"
    assert listing.findings == {"CP": 48, "NCP": 48, "Normal": 48}
    assert listing.notes.counts["files_below_class"] == 144
    assert {row["modality"] for row in rows} == {"unknown"}
    listing, rows = listed(
        shared_data / "CC-CCII-layout",
        tmp_path,
        layout="class_folders",
        options={"patient_level": "1", "view": "axial", "modality": "CT"},
    )
    assert len({row["patient_id"] for row in rows}) == 6
    assert listing.views == {"axial": 144}
    assert "files_below_class" not in listing.notes.counts


def test_recognition_of_all(shared_data: Path) -> None:
    found = {
        folder.name: recognise(folder).layout.name
        for folder in sorted(shared_data.iterdir())
        if folder.is_dir()
    }
    assert found == {
        "CC-CCII-layout": "cc_ccii",
        "COVID-19_Radiography_Dataset": "radiography_database",
        "chest_xray": "kermany",
        "covid-chestxray-dataset": "covid_chestxray",
        "ct-dicom": "class_folders",
        "dicom-cxr": "dicom",
        "nih-chest-xray14": "nih14",
    }
