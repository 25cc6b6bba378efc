"""COVID-19 collections of chest X-rays on drawn trees, with the quirks they are known for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import UsageError
from pulmospark.layouts.datasets.covidx import read_row


def test_covidx_is_read_from_the_right(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "root",
        {
            "train_COVIDx8B.txt": "5 ARDSSevere.png negative cohen\n"
            "COVID 19 (12) COVID-19(12).png positive sirm\n"
            "p7 no-source.jpg positive\n"
            "8989e25c 8989e25c.png negative rnsa\n"
            "this is no row\n",
            "test_COVIDx8B.txt": "5 other.png positive fig1\nCOVID 3 gone.png positive sirm\n",
            **{
                f"train/{name}": name
                for name in ("ARDSSevere.png", "COVID-19(12).png", "no-source.jpg", "8989e25c.png")
            },
            "test/other.png": "",
            "test/unnamed.png": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    found = by_name(rows)
    assert listing.layout == "covidx"
    assert listing.findings == {"positive": 3, "negative": 2}
    assert listing.published_splits == {"train": 4, "test": 1}
    assert found["COVID-19(12).png"]["patient_id"] == "covidx:sirm/covid 19 (12)"
    assert found["8989e25c.png"]["patient_id"] == "covidx:rsna/8989e25c"
    assert found["no-source.jpg"]["patient_id"] == "covidx:unknown/p7"
    # The number 5 of one collection is not the number 5 of another.
    assert found["ARDSSevere.png"]["patient_id"] != found["other.png"]["patient_id"]
    assert listing.notes.counts == {
        "rows_without_file": 1,
        "files_without_row": 1,
        "rows_without_path": 1,
        "ignored_files": 2,
    }
    listing, rows = listed(root, tmp_path, options={"origins": "sirm, fig1"})
    assert sorted(by_name(rows)) == ["COVID-19(12).png", "other.png", "unnamed.png"]
    with pytest.raises(UsageError, match="no option"):
        listed(root, tmp_path, options={"origin": "sirm"})


@given(
    st.text(st.characters(categories=("L", "N"), max_codepoint=0x2FF), min_size=1),
    st.sampled_from(["COVID-19", "normal", "pneumonia", "positive", "negative"]),
    st.sampled_from(["cohen", "rsna", "actmed", None]),
    st.integers(1, 4),
)
def test_any_covidx_row_with_any_number_of_blanks(
    word: str, label: str, origin: str | None, words: int
) -> None:
    patient = " ".join([word] * words)
    row = read_row(f"{patient}  image-1.jpeg {label} {origin or ''}\n")
    assert row is not None
    assert (row.patient, row.file, row.label, row.origin) == (
        patient,
        "image-1.jpeg",
        label,
        origin,
    )


def test_covid_qu_ex_with_its_masks(tmp_path: Path) -> None:
    root = tmp_path / "root"
    lung = "Lung Segmentation Data/Lung Segmentation Data"
    infection = "Infection Segmentation Data/Infection Segmentation Data"
    plant(
        root,
        {
            f"{lung}/Train/COVID-19/images/c1.png": "c1",
            f"{lung}/Train/COVID-19/lung masks/c1.png": "m",
            f"{lung}/Val/Normal/images/n1.png": "n1",
            f"{lung}/Test/Non-COVID/images/o1.png": "o1",
            f"{lung}/Test/Non-COVID/lung masks/gone.png": "m",
            f"{infection}/Test/COVID-19/images/c1.png": "c1",
            f"{infection}/Test/COVID-19/lung masks/c1.png": "m",
            f"{infection}/Test/COVID-19/infection masks/c1.png": "i",
            "cover.png": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "covid_qu_ex"
    assert listing.findings == {"COVID-19": 1, "Normal": 1, "Non-COVID": 1}
    assert listing.published_splits == {"train": 1, "validation": 1, "test": 1}
    assert by_name(rows)["c1.png"]["mask_uri"] == str(
        root / lung / "Train/COVID-19/lung masks/c1.png"
    )
    assert listing.notes.counts == {
        "files_outside_class": 1,
        "masks": 2,
        "masks_without_image": 1,
        "images_without_mask": 2,
        "nested_copies": 3,
    }
    listing, rows = listed(root, tmp_path, options={"part": "infection"})
    assert (listing.files, listing.with_mask) == (2, 1)
    assert listing.notes.counts["infection_masks"] == 1
    assert listed(root, tmp_path, options={"part": "both"})[0].files == 5


def test_bimcv_covid19(tmp_path: Path) -> None:
    place = "sub-S03044/ses-E06131/mod-rx/sub-S03044_ses-E06131_run-1_bp-chest"
    root = plant(
        tmp_path / "root",
        {
            f"{place}_vp-ap_dx.png": "16 bit",
            f"{place}_vp-lateral_dx.png": "",
            f"{place}_vp-ap_dx.json": "{}",
            "sub-S03045/ses-E07/mod-rx/sub-S03045_ses-E07_run-1_bp-chest_vp-pa_cr.png": "",
            "sub-S03045/ses-E07/mod-ct/sub-S03045_ses-E07_run-2_bp-chest_ct.nii.gz": "",
            "odd.png": "",
            "participants.tsv": "participant\tmodality_dicom\tbody_parts\tage\tgender\n"
            "sub-S03044\t['DX']\t[['CHEST']]\t[63, 64]\tM\n"
            "sub-S03045\t['CR']\t[['CHEST']]\t[30, 71]\tNone\n",
            "derivatives/labels/labels_covid19_posi.tsv": "PatientID\tReportID\tReport\tLabels\n"
            "S03044\tE06131\ttext\t['COVID 19', ' pneumonia', 'COVID 19']\n"
            "S09\tE09\ttext\t['normal']\n",
            "derivatives/labels/tree.csv": "a,b\n",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert listing.layout == "bimcv_covid19"
    assert listing.findings == {"COVID 19|pneumonia": 2}
    assert listing.views == {"AP": 1, "lateral": 1, "PA": 1, "unknown": 1}
    frontal = next(row for row in rows if row["view"] == "AP")
    assert (frontal["patient_id"], frontal["study_id"]) == ("bimcv_covid19:s03044", "E06131")
    assert (frontal["age"], frontal["sex"]) == (63.0, "M")
    # Ages of stays that are decades apart cannot be told to belong to an image.
    assert next(row for row in rows if row["view"] == "PA")["age"] is None
    assert listing.notes.counts == {
        "rows_without_file": 1,
        "files_without_row": 2,
        "ignored_files": 5,
    }


def test_hannover(tmp_path: Path) -> None:
    head = "patient_id,image_id,sex,age,admission_offset,modality,projection\n"
    root = plant(
        tmp_path / "root",
        {
            "data.csv": head + "042f,b343e657,m,,0,CR,ap\n042f,c9280a30,m,,-2,DX,pa\n"
            "09ec,gone,f,,1,CT,\n",
            "png/b343e657.png": "",
            "png/c9280a30.png": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.findings) == ("hannover", {"COVID-19": 2})
    assert listing.views == {"AP": 1, "PA": 1}
    assert {(row["patient_id"], row["sex"]) for row in rows} == {("hannover:042f", "M")}
    assert listing.notes.counts == {"rows_without_file": 1, "ignored_files": 1}
