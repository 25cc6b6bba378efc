"""DICOM studies as written by scanners, archives and discs: any tree of DICOM files.

Patient, study, series, view, age and sex are in each file's header. Ingest reads them with the
pixels on the executors; here the files are only listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pulmospark.core import limits
from pulmospark.imaging.dicom.pydicom_logging import quiet
from pulmospark.imaging.read_file import read_bytes
from pulmospark.imaging.sniff import sniff
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.walk import files_like, glance, may_hold_image, walk

NAME = "DICOMDIR"
_ENDS = frozenset({".dcm", ".dicom", ".ima"})
_LOOKED_AT = 5
_DEPTH = 4
"""folders from the root to the files: a split, a patient, a study and a series"""
_PATIENTS_LOOKED_AT = 6
_BRANCHES = 3
_FOLDERS_OF_NO_CLASSES = 20
"""from this many single-patient folders on they are patients, even with one image each: no data
set has so many classes of one image"""
_NESTED = 2
"""folders between a patient and the files in an archive: study and series"""


class DicomStudies(Layout):
    """One source of whole studies; the only finding is an option for all files."""

    name = "dicom"
    title = "DICOM studies"
    home = "any: written by a scanner, an archive or a disc"
    licence = "that of the images"
    holds = "images and CT series; patient, study, series and view from each header"
    looked_for = (
        "a DICOMDIR, or DICOM files with or without an extension, also in a folder per patient"
    )
    generic = True
    options: ClassVar[Mapping[str, str]] = {
        "finding": "finding of all files, because headers have none",
    }

    def recognises(self, folder: Path) -> float:
        """0.9 for a DICOMDIR; 0.4 for DICOM files, below folders of classes.

        0.6, above them, if each folder is one patient.
        """
        if folder.is_file():
            return 0.0
        if _indexes(folder):
            return 0.9
        if not _holds_dicom(folder, _DEPTH):
            return 0.0
        return 0.6 if _is_by_patient(folder) else 0.4

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file that may be DICOM by its name; see ``Layout.rows``."""
        self.check_options(options)
        finding = values.text(options.get("finding"))
        named = set(_named(folder))
        indexed = bool(named)
        for file in walk(folder, notes, _wanted):
            parts = tuple(part.upper() for part in file.parts)
            if indexed and parts not in named:
                notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
            named.discard(parts)
            split = values.split(file.parts[0]) if len(file.parts) > 1 else None
            yield row_of(file, source_name, finding=finding, published_split=split)
        for _ in named:  # the medium's file name is not shown: it may be a person's name
            notes.add(NoteKind.ROWS_WITHOUT_FILE, NAME)


def _wanted(parts: tuple[str, ...]) -> bool:
    """Whether a file may be DICOM by its name: a DICOM extension, none, or a number."""
    name = parts[-1]
    if name.upper() == NAME:
        return False
    return may_hold_image(name) or name[name.rfind(".") :].lower() in _ENDS


def _named(folder: Path) -> frozenset[tuple[str, ...]]:
    for name in _indexes(folder):
        # Inside, as below: pydicom takes a third of a second, which other layouts are spared.
        from pulmospark.imaging.dicom.dicomdir import referenced_files  # noqa: PLC0415

        data = read_bytes(str(folder / name))
        return referenced_files(data) if isinstance(data, bytes) else frozenset()
    return frozenset()


def _indexes(folder: Path) -> tuple[str, ...]:
    """Names of the DICOMDIR, in any case."""
    return files_like(folder, lambda name: name.upper() == NAME)


def _holds_dicom(folder: Path, depth: int) -> bool:
    seen = glance(folder)
    names = [name for name in seen.files if _wanted((name,))][:_LOOKED_AT]
    if any(_is_dicom(folder / name) for name in names):
        return True
    return depth > 0 and any(_holds_dicom(folder / name, depth - 1) for name in seen.folders[:3])


def _is_by_patient(folder: Path) -> bool:
    """Whether the folders are patients rather than classes, according to some headers.

    A class has several patients. A folder is a patient's if all its files are of one patient and
    another folder's of another; but a folder with a single image proves nothing.
    """
    branches = _branches(folder)
    names = _spread(sorted(branches), _PATIENTS_LOOKED_AT)
    seen = [[each for path in branches[name] for each in _some_of(path, _DEPTH)] for name in names]
    seen = [files for files in seen if files]
    decisive = len(branches) >= _FOLDERS_OF_NO_CLASSES or any(map(_shows_one_patient, seen))
    if len(seen) < 2 or not decisive:
        return False
    marks = [{_mark_of(path) for path, _ in files} for files in seen]
    alone = all(len(each) == 1 and None not in each for each in marks)
    return alone and len(set().union(*marks)) > 1


def _branches(folder: Path) -> dict[str, list[Path]]:
    """Subfolders by name, looking through those named like a split.

    Classes have the same names in all splits; a patient's name is in only one.
    """
    branches: dict[str, list[Path]] = {}
    for name in glance(folder).folders:
        if values.split(name) is None:
            branches.setdefault(name, []).append(folder / name)
            continue
        for inner in glance(folder / name).folders:
            branches.setdefault(inner, []).append(folder / name / inner)
    return branches


def _shows_one_patient(files: Sequence[tuple[Path, int]]) -> bool:
    """Whether the folder is a patient's if all these files are of one patient."""
    return len(files) > 1 or files[0][1] >= _NESTED


def _some_of(folder: Path, depth: int, below: int = 0) -> list[tuple[Path, int]]:
    """DICOM files from all over a folder, each with the number of folders in between."""
    seen = glance(folder)
    names = [name for name in seen.files if _wanted((name,))]
    files = [folder / name for name in _spread(names, _LOOKED_AT)]
    dicoms = [(path, below) for path in files if _is_dicom(path)]
    if depth > 0:
        for name in _spread(seen.folders, _BRANCHES):
            dicoms += _some_of(folder / name, depth - 1, below + 1)
    return dicoms


def _spread(names: Sequence[str], most: int) -> list[str]:
    """At most ``most`` of the names, evenly spread from first to last."""
    if len(names) <= most:
        return list(names)
    return [names[n * (len(names) - 1) // (most - 1)] for n in range(most)]


def _mark_of(path: Path) -> str | None:
    from pulmospark.imaging.dicom.header import patient_mark  # noqa: PLC0415

    try:
        with path.open("rb") as file, quiet():
            return patient_mark(file.read(limits.DICOM_HEAD_BYTES))
    except OSError:
        return None


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return sniff(file.read(limits.SNIFF_BYTES)) == "dicom"
    except OSError:
        return False
