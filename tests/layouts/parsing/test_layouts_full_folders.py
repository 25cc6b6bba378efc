"""Sheets that lie beside more files than are looked at to recognise a layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import listed, plant
from pulmospark.core import limits
from pulmospark.layouts.datasets.cc_ccii_lists import Scan, read_lists
from pulmospark.layouts.datasets.dicom import DicomStudies
from pulmospark.layouts.notes import ListingNotes
from pulmospark.layouts.walk import files_like, folders_like, glance

_SETS = {
    "nih14": {
        "Data_Entry_2017_v2020.csv": "Image Index,Finding Labels,Patient ID,View Position\n"
        "a.png,here,1,PA\n"
    },
    "mimic_cxr_jpg": {
        "mimic-cxr-2.0.0-metadata.csv": "dicom_id,subject_id,study_id,ViewPosition\na,1,2,PA\n",
        "mimic-cxr-2.0.0-chexpert.csv": "subject_id,study_id,Pneumonia\n1,2,1.0\n",
    },
    "rsna_pneumonia": {"stage_2_detailed_class_info.csv": "patientId,class\na,here\n"},
    "covidx": {"train.txt": "1 a.png positive cohen\n"},
    "covidx_ct": {"train_COVIDx_CT-3A.txt": "a.png 2 0 0 9 9\n"},
    "csv": {"images.csv": "path,label\na.png,here\n"},
}


@pytest.fixture(autouse=True)
def no_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder of very many files, of which the sheets are the last."""
    monkeypatch.setattr(limits, "LAYOUT_ENTRIES_MAX", 0)


@pytest.mark.parametrize("name", _SETS)
def test_sheets_are_found_by_recognition_and_listing(name: str, tmp_path: Path) -> None:
    root = plant(tmp_path / "set", {**_SETS[name], "a.png": "", "b.png": ""})
    assert glance(root).files == ()
    listing, rows = listed(root, tmp_path)
    assert listing.layout == name
    assert (len(rows), listing.without_finding) == (2, 1)


def test_lists_of_cc_ccii(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "unzip_filenames.csv": "zip_file,label,patient_id,scan_id,n_slice\n1,CP,2,3,4\n",
            "lesions_slices.csv": "imgpath\nCP/2/3/0001.jpg\n",
            "metadata.csv": "patient_id,age\n2,40\n",
            "ct_train.json": '{"CP": {"2": {"3": ["0001.png"]}}}',
            "exclude_list.txt": "CP/2/3\n",
        },
    )
    found, scan = read_lists(tmp_path, None, ListingNotes()), Scan("CP", "2", "3")
    assert found.scans is not None and found.scans.slices == {scan: 4}
    assert found.lesions == {scan: {"0001"}}
    assert found.person(scan).age == 40
    assert found.splits == {scan: {"0001.png": "train"}}
    assert found.is_error(scan)


def test_labels_of_bimcv(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "set",
        {
            "derivatives/labels/labels.tsv": "PatientID\tReportID\tLabels\nS1\tE2\t['here']\n",
            "sub-S1/ses-E2/mod-rx/sub-S1_ses-E2_run-1_cr.png": "",
        },
    )
    assert listed(root, tmp_path, layout="bimcv_covid19")[0].findings == {"here": 1}


def test_the_index_of_a_disc(tmp_path: Path) -> None:
    plant(tmp_path, {"dicomdir": "", "IM1": ""})
    assert DicomStudies().recognises(tmp_path) == 0.9


def test_names_are_sorted_kept_apart_and_seen_all(tmp_path: Path) -> None:
    plant(tmp_path, {"b.csv": "", "a.csv": "", ".c.csv": "", "d.csv/e.csv": "", "f.png": ""})
    assert files_like(tmp_path, lambda name: name.endswith(".csv")) == ("a.csv", "b.csv")
    assert folders_like(tmp_path, lambda name: name.endswith(".csv")) == ("d.csv",)
    assert files_like(tmp_path / "none", bool) == ()
