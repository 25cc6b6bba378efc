"""Whole studies: files without an extension, a DICOMDIR, and what it names and lacks."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from imaging import dicoms
from layouts.listing import listed, plant
from pulmospark.core.errors import UsageError
from pulmospark.imaging.dicom.header import patient_mark
from pulmospark.layouts.base import NoteKind
from pulmospark.layouts.registry import recognise


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file set of two patients, as a disc has it, with a file too many and one too few."""
    root = tmp_path_factory.mktemp("disc")
    index = FileSet()
    for number in range(3):
        told = pydicom.dcmread(dicoms.as_file(dicoms.image(
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
    return plant(root, {"extra/1.2.840.5": dicoms.image(7), "readme.txt": "no image"})


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
    studies = plant(tmp_path / "a", {"study/series/IM1": dicoms.image(), "study/series/IM2": b"x"})
    assert recognise(studies).layout.name == "dicom"
    classes = plant(tmp_path / "b", {"x/1.dcm": dicoms.image(), "y/2.dcm": dicoms.image(1)})
    assert recognise(classes).layout.name == "class_folders"


_PARTS = ("train", "test")


@pytest.mark.parametrize("split", ["train/", "Validation/", ""])
def test_patients_below_a_split_are_an_archive_as_without_it(split: str, tmp_path: Path) -> None:
    """Folders of patients below ``train/`` are no classes."""
    images = {
        f"{split}pat{p:03}/study1/ser1/{n}.dcm": _of(10 * p + n, f"P{p}")
        for p in range(4)
        for n in range(3)
    }
    root = plant(tmp_path / "a", images)
    listing, _ = listed(root, tmp_path)
    assert (listing.layout, listing.files, listing.findings) == ("dicom", 12, {})
    splits = {"train/": {"train": 12}, "Validation/": {"validation": 12}, "": {}}
    assert listing.published_splits == splits[split]


def _of(number: int, patient: str | None) -> bytes:
    return dicoms.image(number, PatientID=patient)


def test_many_folders_of_one_image_each_are_patients(tmp_path: Path) -> None:
    images = {f"train/p{n:02}/1.dcm": _of(n, f"P{n}") for n in range(20)}
    root = plant(tmp_path / "a", images)
    assert recognise(root).layout.name == "dicom"
    for n in range(10, 20):
        (root / f"train/p{n}/1.dcm").unlink()
        (root / f"train/p{n}").rmdir()
    assert recognise(root).layout.name == "class_folders"


def test_a_folder_a_patient_is_an_archive_without_findings(tmp_path: Path) -> None:
    images = {
        f"{name}/study-{n}/series-1/{n}.dcm": _of(n, person)
        for name, person in (("first", "one"), ("second", "two"), ("third", "three"))
        for n in range(2)
    }
    root = plant(tmp_path / "a", images)
    assert recognise(root).layout.name == "dicom"
    _, rows = listed(root, tmp_path)
    assert len(rows) == 6
    assert {row["finding"] for row in rows} == {None}
    single = {name: data for name, data in images.items() if "study-0" in name}
    assert recognise(plant(tmp_path / "b", single)).layout.name == "dicom"


@pytest.mark.parametrize(
    "patients",
    [
        {"x/1.dcm": "a", "y/1.dcm": "b"},
        {"x/1.dcm": "a", "x/2.dcm": "b", "y/1.dcm": "c"},
        {"x/p/s/1.dcm": "a", "x/q/s/1.dcm": "b", "y/r/s/1.dcm": "c", "y/t/s/1.dcm": "d"},
        {"x/p/s/1.dcm": None, "x/p/s/2.dcm": None, "y/q/s/1.dcm": None, "y/q/s/2.dcm": None},
        {f"{c}/p/{n}.dcm": "ANONYMOUS" for c in "xy" for n in range(3)},
        {f"{c}/{n:02}.dcm": f"{c}{n // 8}" for c in "xy" for n in range(16)},
        {f"{part}/{c}/1.dcm": part for part in _PARTS for c in "xy"},
        {f"{part}/{c}/{n}.dcm": part + c for part in _PARTS for c in "xy" for n in "12"},
        {f"train/{c}/p/s/{n}.dcm": c + n for c in "xy" for n in "12"},
    ],
    ids=["an image each", "two in one", "patients below", "no number", "one number for all",
         "slices in a row", "parts", "a patient a class and part", "patients below in one part"],
)  # fmt: skip
def test_folders_that_may_be_classes_stay_so(
    patients: dict[str, str | None], tmp_path: Path
) -> None:
    images = {path: _of(n, person) for n, (path, person) in enumerate(patients.items())}
    assert recognise(plant(tmp_path / "a", images)).layout.name == "class_folders"


def test_real_slices_by_patient_are_an_archive_and_by_class_are_none(
    shared_data: Path, tmp_path: Path
) -> None:
    for patient in sorted((shared_data / "ct-dicom").glob("*/*")):
        series = tmp_path / "archive" / patient.name / "study" / "series"
        series.mkdir(parents=True)
        for image in patient.iterdir():
            (series / image.name).symlink_to(image)
    assert recognise(tmp_path / "archive").layout.name == "dicom"
    assert recognise(shared_data / "ct-dicom").layout.name == "class_folders"


@pytest.mark.parametrize("syntax", [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN,
                                    dicoms.DEFLATED])  # fmt: skip
def test_patients_are_told_apart_by_a_hash(syntax: str) -> None:
    marks = [
        patient_mark(dicoms.image(n, syntax, PatientID=person)) for n, person in enumerate("AAB")
    ]
    assert marks[0] == marks[1] != marks[2]
    assert len(marks[0] or "") == 64
    assert patient_mark(dicoms.image(0, syntax)) is None
    whole = dicoms.image(0, syntax, PatientID="A")
    assert patient_mark(whole[:150]) is None  # cut before the patient


def test_a_damaged_index_costs_no_image(tmp_path: Path) -> None:
    root = plant(tmp_path / "a", {"DICOMDIR": b"\0" * 128 + b"DICMxx", "IM1": dicoms.image()})
    listing, rows = listed(root, tmp_path)
    assert len(rows) == 1
    assert NoteKind.FILES_WITHOUT_ROW not in listing.notes.counts
    with pytest.raises(UsageError, match="no option"):
        listed(root, tmp_path, options={"label": "x"})
