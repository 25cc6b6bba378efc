from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import InputError, LayoutError, UsageError


def test_columns_guessed(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "set",
        {
            "labels.csv": "Image_Path,Label,Patient ID,Gender,Age,View Position,Study,Split,"
            "Modality\n"
            "img/a.png,sick,P1,Male,30,PA,s1,train,X-ray\n"
            "img\\b.PNG,well,p1,F,,,s2,test,CT\n"
            "img/raw.bin,well,,,,,,,\n",
            "img/a.png": "",
            "img/b.PNG": "",
            "img/raw.bin": "",
            "img/other.bin": "",
        },
    )
    listing, rows = listed(root, tmp_path)
    assert (listing.layout, listing.name, listing.files) == ("csv", "set", 3)
    found = by_name(rows)
    a, b = found["a.png"], found["b.PNG"]
    assert a["patient_id"] == b["patient_id"] == "set:p1"
    assert (a["finding"], a["sex"], a["age"], a["view"]) == ("sick", "M", 30.0, "PA")
    assert (a["study_id"], a["published_split"], a["modality"]) == ("s1", "train", "X-ray")
    assert (b["view"], b["published_split"]) == ("axial", "test")
    assert found["raw.bin"]["finding"] == "well"  # a row names it, whatever its extension
    assert listing.notes.ignored_extensions == {".csv": 1, ".bin": 1}
    listing, _ = listed(root / "labels.csv", tmp_path)
    assert (listing.layout, listing.name, listing.files) == ("csv", "labels", 3)


def test_columns_named_and_root(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {"sheets/s.tsv": "wo\twas\nx/a.png\tA\ngone.png\tB\n", "images/x/a.png": ""},
    )
    sheet = tmp_path / "sheets/s.tsv"
    with pytest.raises(LayoutError, match="name it with the option path_column"):
        listed(sheet, tmp_path, layout="csv")
    options = {"path_column": "wo", "label_column": "WAS", "root": "../images"}
    listing, rows = listed(sheet, tmp_path, layout="csv", options=options)
    assert [row["uri"] for row in rows] == [str(tmp_path / "images/x/a.png")]
    assert listing.findings == {"A": 1}
    assert listing.notes.counts == {"rows_without_file": 1}
    with pytest.raises(UsageError, match="label_column is 'who'"):
        listed(sheet, tmp_path, layout="csv", options={**options, "label_column": "who"})
    with pytest.raises(UsageError, match="root is 'nowhere'"):
        listed(sheet, tmp_path, layout="csv", options={**options, "root": "nowhere"})


def test_paths_that_leave_the_root_are_not_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"secret.png": "s", "set/a.png": "a", "set/b.png": "b"})
    root = tmp_path / "set"
    (root / "door").symlink_to(tmp_path)
    plant(
        root,
        {
            "s.csv": "path,label\n"
            "../secret.png,x\n"
            f"{tmp_path}/secret.png,x\n"
            "a/../../secret.png,x\n"
            "door/secret.png,x\n"
            f"{root}/a.png,inside\n"
            "b.png,inside\n"
        },
    )
    listing, rows = listed(root, tmp_path)
    assert sorted(by_name(rows)) == ["a.png", "b.png"]
    assert listing.findings == {"inside": 2}
    assert listing.notes.counts["rows_outside_root"] == 3
    assert listing.notes.counts["rows_without_file"] == 1  # a linked folder is not entered
    assert "line 2: ../secret.png" in listing.notes.examples["rows_outside_root"][0]
    listing, rows = listed(root, tmp_path, options={"outside": "follow"})
    assert sorted(by_name(rows)) == ["a.png", "b.png", "secret.png"]
    assert listing.notes.counts["rows_outside_root"] == 2


def test_files_without_row_are_listed_or_counted(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "set", {"s.csv": "file,class\na.png,A\na.png,B\n,C\n", "a.png": "", "b.png": ""}
    )
    listing, rows = listed(root, tmp_path)
    assert by_name(rows)["b.png"]["finding"] is None
    counts = {
        "files_without_row": 1,
        "repeated_rows": 1,
        "conflicting_findings": 1,
        "rows_without_path": 1,
        "ignored_files": 1,
    }
    assert (listing.files, listing.notes.counts) == (2, counts)
    listing, rows = listed(root, tmp_path, options={"files_without_row": "count"})
    assert (listing.files, listing.notes.counts) == (1, counts)


def test_several_sheets_and_none(tmp_path: Path) -> None:
    sheet = "path,label\na.png,A\n"
    root = plant(tmp_path / "set", {"one.csv": sheet, "two.csv": sheet, "a.png": ""})
    with pytest.raises(LayoutError, match=r"2 sheets.*one\.csv, two\.csv"):
        listed(root, tmp_path)
    (root / "one.csv").unlink()
    assert listed(root, tmp_path)[0].findings == {"A": 1}
    (root / "a.png").unlink()
    with pytest.raises(InputError, match="names 1 missing files"):
        listed(root, tmp_path)
    (root / "two.csv").unlink()
    with pytest.raises(LayoutError, match="no CSV or TSV"):
        listed(root, tmp_path, layout="csv")
