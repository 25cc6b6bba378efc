"""Which column of a sheet holds what: guessed, named, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import Row, by_name, listed, plant
from pulmospark.core.errors import LayoutError, UsageError
from pulmospark.layouts.manifest import SourceListing
from pulmospark.layouts.registry import recognise


def _listed(
    tmp_path: Path, sheet: str | bytes, options: dict[str, str] | None = None
) -> tuple[SourceListing, dict[str, Row]]:
    root = plant(tmp_path / "set", {"images.csv": sheet, "a.png": "a", "b.png": "b"})
    listing, rows = listed(root, tmp_path, options=options)
    return listing, by_name(rows)


@pytest.mark.parametrize(
    "column",
    ["PatID", "PatientID", "patient id", "Patient-ID", "subject", "Subject_ID", "subjectid",
     "SUBJ", "pid", "pat_id", "PatientNr.", "patient number", "participant_id", "MRN",
     "anonymised_patient_id", "DE_PatientID_hash", "case_id"],
)  # fmt: skip
def test_columns_of_patients(column: str, tmp_path: Path) -> None:
    sheet = f"path,label,{column}\na.png,sick,7\nb.png,well,8\n"
    listing, rows = _listed(tmp_path, sheet)
    assert rows["a.png"]["patient_id"] == "set:7"
    assert listing.notes.columns["patient"] == (column, True)


@pytest.mark.parametrize("column", ["patient_age", "patient_name", "n_patients", "impatient"])
def test_other_columns_with_a_patient_in_their_name_are_none(column: str, tmp_path: Path) -> None:
    listing, rows = _listed(tmp_path, f"path,label,{column}\na.png,sick,7\nb.png,well,8\n")
    assert rows["a.png"]["patient_id"] is None
    assert "patient" not in listing.notes.columns


@pytest.mark.parametrize(
    "column", ["image_id", "ImageID", "SOPInstanceUID", "File Path", "filepath", "fname",
               "Image_File_Name", "DICOM path"],
)  # fmt: skip
def test_columns_of_paths(column: str, tmp_path: Path) -> None:
    listing, _ = _listed(tmp_path, f"{column},Class_Name\na,sick\nb.png,well\n")
    assert (listing.layout, listing.findings) == ("csv", {"sick": 1, "well": 1})
    assert listing.notes.columns == {"path": (column, True), "label": ("Class_Name", True)}


def test_a_named_column_goes_before_a_guess(tmp_path: Path) -> None:
    sheet = (
        "path,name,label,report,patient_id,person,view\nx,a.png,sick,covid,1,p1,PA\n"
        "y,b.png,well,normal,2,p2,PA\n"
    )
    options = {
        "path_column": "name",
        "label_column": "Report",
        "patient_column": "person",
        "view_column": "",
    }
    listing, rows = _listed(tmp_path, sheet, options)
    row = rows["a.png"]
    assert (row["finding"], row["patient_id"], row["view"]) == ("covid", "set:p1", "unknown")
    assert listing.notes.columns == {
        "path": ("name", False),
        "label": ("report", False),
        "patient": ("person", False),
    }
    # A column that was named for one thing is not guessed for another.
    listing, rows = _listed(tmp_path, sheet, {"path_column": "name", "label_column": "view"})
    assert rows["a.png"]["finding"] == "PA"
    assert "view" not in listing.notes.columns
    with pytest.raises(LayoutError, match="name it with the option label_column"):
        _listed(tmp_path, sheet, {"path_column": "name", "label_column": ""})


def test_named_columns_tell_the_layout_and_the_sheet(tmp_path: Path) -> None:
    """They go before what a folder would be recognised as."""
    root = plant(
        tmp_path / "set",
        {
            "one.csv": "wo,was\nx/a.png,A\n",
            "two.csv": "path,label\nx/a.png,B\n",
            "x/a.png": "",
            "y/b.png": "",
        },
    )
    options = {"path_column": "wo", "label_column": "was"}
    listing, _ = listed(root, tmp_path, options=options)
    assert (listing.layout, listing.findings) == ("csv", {"A": 1})
    listing, _ = listed(root / "one.csv", tmp_path, options=options)
    assert listing.findings == {"A": 1}
    assert recognise(root).layout.name == "csv"
    vin = plant(
        tmp_path / "vin",
        {"train.csv": "image_id,class_name,rad_id,mine\na,ILD,R1,sick\n", "train/a.png": ""},
    )
    assert listed(vin, tmp_path)[0].layout == "vinbigdata"
    assert listed(vin, tmp_path, options={"label_column": "mine"})[0].findings == {"sick": 1}
    with pytest.raises(UsageError, match="in the layout 'class_folders'"):
        plain = plant(tmp_path / "plain", {"x/a.png": "", "y/b.png": ""})
        listed(plain, tmp_path, options={"label_column": "mine"})


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    sheet = "path,label\na.png,грипп\nb.png,норма\n".encode("cp1251")
    assert "грипп" not in _listed(tmp_path, sheet)[0].findings
    listing, _ = _listed(tmp_path, sheet, {"encoding": "windows-1251"})
    assert listing.findings == {"грипп": 1, "норма": 1}
    with pytest.raises(UsageError, match="unknown encoding 'klingon'"):
        _listed(tmp_path, sheet, {"encoding": "klingon"})
