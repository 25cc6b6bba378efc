"""Large hospital sets on drawn trees: RSNA, CheXpert, MIMIC-CXR-JPG, VinDr-CXR."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import InputError, LayoutError
from pulmospark.layouts.registry import recognise

_CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Lung Opacity,Pneumonia\n"


def test_rsna_has_a_row_a_box(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "root",
        {
            "stage_2_train_labels.csv": "patientId,x,y,width,height,Target\n"
            "aa,1,2,3,4,1\naa,9,9,9,9,1\nbb,,,,,0\ncc,,,,,0\n",
            "stage_2_detailed_class_info.csv": "patientId,class\naa,Lung Opacity\n"
            "aa,Lung Opacity\nbb,Normal\nbb,No Lung Opacity / Not Normal\n",
            **{f"stage_2_train_images/{name}.dcm": "" for name in ("aa", "bb", "cc")},
            "stage_2_test_images/dd.dcm": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "rsna_pneumonia"
    assert listing.findings == {"Lung Opacity": 1, "Normal": 1, "no Lung Opacity": 1}
    assert (listing.without_finding, listing.with_patient) == (1, 0)
    assert not any(row["header_patient"] for row in rows)  # PatientID is the image's id
    assert "repeated_rows" not in listing.notes.counts  # a row a box
    assert listing.notes.counts["conflicting_findings"] == 1
    assert listing.notes.counts["files_without_row"] == 1
    mapping = root / "pneumonia-challenge-dataset-mappings_2018.json"
    mapping.write_text(
        json.dumps(
            [
                {"subset_img_id": "aa", "img_id": "00000007_001.png"},
                {"subset_img_id": "bb", "img_id": "00000007_004.png"},
                {"subset_img_id": "", "img_id": "00000009_000.png"},
            ]
        )
    )
    _, rows = listed(root, tmp_path)
    found = by_name(rows)
    assert found["aa.dcm"]["patient_id"] == found["bb.dcm"]["patient_id"]
    assert found["aa.dcm"]["patient_id"] == "rsna_pneumonia:00000007"
    mapping.write_text('{"aa": 1}')
    with pytest.raises(InputError, match="not a mapping"):
        listed(root, tmp_path)


def test_chexpert(tmp_path: Path) -> None:
    home = "CheXpert-v1.0-small"
    root = plant(
        tmp_path / "root",
        {
            "train.csv": _CHEXPERT
            + f"{home}/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,\n"
            f"{home}/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,1.0,,\n"
            f"{home}/train/patient00002/study3/view1_frontal.jpg,Male,90,Frontal,PA,,1.0,-1.0\n"
            f"{home}/train/patient00003/study1/view1_frontal.jpg,Unknown,0,Frontal,LL,,0.0,-1.0\n"
            "elsewhere.jpg,Male,1,Frontal,AP,,,\n",
            "valid.csv": _CHEXPERT
            + f"{home}/valid/patient00004/study1/view1_frontal.jpg,Male,5,Frontal,AP,0,1,1\n",
            "train/patient00001/study1/view1_frontal.jpg": "",
            "train/patient00001/study1/view2_lateral.jpg": "",
            "train/patient00002/study3/view1_frontal.jpg": "",
            "train/patient00003/study1/view1_frontal.jpg": "",
            "valid/patient00004/study1/view1_frontal.jpg": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "chexpert"
    assert listing.findings == {"No Finding": 2, "Lung Opacity": 1, "Lung Opacity|Pneumonia": 1}
    assert listing.without_finding == 1
    assert listing.views == {"AP": 2, "lateral": 1, "PA": 1, "frontal": 1}
    assert listing.published_splits == {"train": 4, "validation": 1}
    first = rows[0]
    assert first["header_patient"]
    assert (first["patient_id"], first["study_id"]) == (
        "chexpert:patient00001",
        "patient00001/study1",
    )
    assert (first["age"], first["sex"]) == (68.0, "F")
    listing, _ = listed(root, tmp_path, options={"uncertain": "positive"})
    assert listing.findings["Lung Opacity|Pneumonia"] == 2
    assert listing.findings["Pneumonia"] == 1


def test_chexpert_in_the_four_archives_of_the_full_edition(tmp_path: Path) -> None:
    home = "CheXpert-v1.0"
    first, second, third = (
        f"{home} batch {name}" for name in ("1 (validate & csv)", "2 (train 1)", "3 (train 2)")
    )
    images = ("patient00001/study1/view1_frontal.jpg", "patient21514/study2/view2_lateral.jpg")
    root = plant(
        tmp_path / "download" / "chexpert",
        {
            f"{first}/train.csv": _CHEXPERT
            + f"{home}/train/{images[0]},Female,68,Frontal,AP,1,,\n"
            f"{home}/train/{images[1]},Male,50,Lateral,,,1,\n",
            f"{first}/valid.csv": _CHEXPERT
            + f"{home}/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,PA,,,1\n",
            f"{first}/valid/patient64541/study1/view1_frontal.jpg": "",
            f"{second}/{images[0]}": "",
            f"{third}/{images[1]}": "",
        },
    )
    assert recognise(root.parent).folder == root
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "chexpert"
    assert listing.findings == {"Pneumonia": 1, "No Finding": 1, "Lung Opacity": 1}
    assert listing.views == {"PA": 1, "AP": 1, "lateral": 1}
    assert listing.published_splits == {"validation": 1, "train": 2}
    assert listing.notes.counts == {"ignored_files": 2}
    assert by_name(rows)["view2_lateral.jpg"]["patient_id"] == "chexpert:patient21514"
    # Once more beside the images: each sheet is read once.
    plant(root, {"valid.csv": (root / first / "valid.csv").read_text()})
    assert listed(root, tmp_path)[0].notes.counts == {"ignored_files": 3}


def test_mimic_cxr_jpg(tmp_path: Path) -> None:
    name = "mimic-cxr-2.0.0"
    root = plant(
        tmp_path / "root",
        {
            f"{name}-metadata.csv": "dicom_id,subject_id,study_id,ViewPosition\n"
            "02aa,10000032,50414267,PA\n174f,10000032,50414267,LATERAL\n"
            "2a28,10000764,57375967,SWIMMERS\n,1,2,PA\n",
            f"{name}-chexpert.csv": "subject_id,study_id,No Finding,Pneumonia,Edema\n"
            "10000032,50414267,1.0,,\n10000764,57375967,,-1.0,1.0\n",
            f"{name}-split.csv": "dicom_id,study_id,subject_id,split\n"
            "02aa,50414267,10000032,train\n"
            "2a28,57375967,10000764,validate\nnone,1,1,test\n",
            "files/p10/p10000032/s50414267/02aa.jpg": "",
            "files/p10/p10000032/s50414267/174f.jpg": "",
            "files/p10/p10000764/s57375967/2a28.jpg": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "mimic_cxr_jpg"
    assert listing.findings == {"No Finding": 2, "Edema": 1}
    assert listing.views == {"PA": 1, "lateral": 1, "unknown": 1}
    assert listing.published_splits == {"train": 1, "validation": 1}
    assert by_name(rows)["02aa.jpg"]["study_id"] == "50414267"
    assert listing.notes.counts == {
        "rows_without_path": 1,
        "split_names_without_row": 1,
        "unknown_views": 1,
        "ignored_files": 3,
    }
    (root / f"{name}-split.csv").rename(root / f"{name}-split.csv.gz")
    with pytest.raises(LayoutError, match="is compressed: unpack it with gunzip"):
        listed(root, tmp_path)


def test_vindr_cxr_takes_the_majority_of_its_readers(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "root",
        {
            "annotations/image_labels_train.csv": "image_id,rad_id,Pneumonia,No finding\n"
            "a,R1,1,0\na,R2,1,0\na,R3,0,1\nb,R1,1,0\nb,R2,0,1\nb,R3,0,1\n"
            "c,R1,1,0\nc,R2,0,1\nc,R3,0,0\n",
            "annotations/image_labels_test.csv": "image_id,Pneumonia,No finding\nd,1,0\n",
            **{f"train/{name}.dicom": "" for name in "abc"},
            "test/d.dicom": "",
        },
    )
    listing, _ = listed(root, tmp_path)
    assert listing.layout == "vindr_cxr"
    assert listing.findings == {"Pneumonia": 2, "No finding": 1}
    assert listing.without_finding == 1  # three readers, three answers
    assert listing.published_splits == {"train": 3, "test": 1}
    assert listing.with_patient == 0
