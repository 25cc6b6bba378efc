"""Whole studies: files without an extension, a DICOMDIR, and what it names and lacks."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from imaging import dicoms
from layouts.listing import listed, plant
from pulmospark.core.errors import UsageError
from pulmospark.layouts.base import NoteKind
from pulmospark.layouts.registry import recognise


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file set of two patients, as a disc has it, with a file too many and one too few."""
    root = tmp_path_factory.mktemp("disc")
    index = FileSet()
    for number in range(3):
        told = pydicom.dcmread(dicoms.as_file(dicoms.film(
            number, PatientID=f"P{number // 2}", PatientName="A^B", StudyInstanceUID="1.2.3",
            StudyDate="20200101", StudyTime="10", StudyID="1", AccessionNumber="",
            SeriesInstanceUID=f"1.2.3.{number}", SeriesNumber=number, InstanceNumber=number,
            SOPInstanceUID=f"1.2.4.{number}",
        )))  # fmt: skip
        index.add(told)
    index.write(root)
    images = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix == ""
                    and path.name != "DICOMDIR")  # fmt: skip
    assert len(images) == 3
    images[-1].unlink()
    return plant(root, {"extra/1.2.840.5": dicoms.film(7), "readme.txt": "no film"})


def test_a_disc_is_listed_and_held_against_its_index(disc: Path, tmp_path: Path) -> None:
    assert recognise(disc).layout.name == "dicom"
    listing, rows = listed(disc, tmp_path, options={"finding": "normal"}, layout="dicom")
    assert len(rows) == 3
    assert {row["finding"] for row in rows} == {"normal"}
    counts = listing.notes.counts
    assert counts[NoteKind.ROWS_WITHOUT_FILE] == 1
    assert counts[NoteKind.FILES_WITHOUT_ROW] == 1
    assert counts[NoteKind.IGNORED_FILES] == 2  # the index and the text


def test_plain_dicom_is_recognised_and_folders_of_classes_go_first(tmp_path: Path) -> None:
    studies = plant(tmp_path / "a", {"study/series/IM1": dicoms.film(), "study/series/IM2": b"x"})
    assert recognise(studies).layout.name == "dicom"
    classes = plant(tmp_path / "b", {"x/1.dcm": dicoms.film(), "y/2.dcm": dicoms.film(1)})
    assert recognise(classes).layout.name == "class_folders"


def test_a_damaged_index_costs_no_film(tmp_path: Path) -> None:
    root = plant(tmp_path / "a", {"DICOMDIR": b"\0" * 128 + b"DICMxx", "IM1": dicoms.film()})
    listing, rows = listed(root, tmp_path)
    assert len(rows) == 1
    assert NoteKind.FILES_WITHOUT_ROW not in listing.notes.counts
    with pytest.raises(UsageError, match="no option"):
        listed(root, tmp_path, options={"label": "x"})
