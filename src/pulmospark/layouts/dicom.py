"""DICOM studies as scanners, archives and discs leave them: any tree of DICOM files.

Patient, study, series, view, age and sex stand in each file's header. Ingest reads them where
it reads the pixels, on the executors; here the files are only listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core import limits
from pulmospark.imaging.dicom_dir import NAME, referenced_files
from pulmospark.imaging.film import read_bytes
from pulmospark.imaging.sniff import sniff
from pulmospark.layouts import values
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.walk import glance, walk

_ENDS = frozenset({".dcm", ".dicom", ".ima", ".dic", ".dcm30", ".img"})
_LOOKED_AT = 5
_DEPTH = 3


class DicomStudies(Layout):
    """One source, whole studies; no finding but the one that is given for all."""

    name = "dicom"
    title = "DICOM studies"
    home = "any: what a scanner, an archive or a disc wrote"
    licence = "that of the images"
    holds = "films and CT series; patient, study, series and view from each header"
    looked_for = "a DICOMDIR, or DICOM files, with or without an extension"
    generic = True
    options: ClassVar[Mapping[str, str]] = {
        "finding": "finding of all files, for headers name none",
    }

    def recognises(self, folder: Path) -> float:
        """0.9 for a DICOMDIR; 0.4 for DICOM files, below what folders of classes say."""
        if folder.is_file():
            return 0.0
        if NAME in {name.upper() for name in glance(folder).files}:
            return 0.9
        return 0.4 if _holds_dicom(folder, _DEPTH) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row a file that may be DICOM by its name; see ``Layout.rows``."""
        self.check_options(options)
        finding = values.text(options.get("finding"))
        named = set(_named(folder))
        indexed = bool(named)
        for file in walk(folder, notes, _wanted):
            parts = tuple(part.upper() for part in file.parts)
            if indexed and parts not in named:
                notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
            named.discard(parts)
            yield row_of(file, source_name, finding=finding)
        for _ in named:  # what the medium calls it stays unsaid: it may be a person's name
            notes.add(NoteKind.ROWS_WITHOUT_FILE, NAME)


def _wanted(parts: tuple[str, ...]) -> bool:
    """Whether a file may be DICOM by its name: such an ending, none, or a number for one."""
    name = parts[-1]
    if name.upper() == NAME:
        return False
    dot = name.rfind(".")
    end = name[dot:].lower() if dot > 0 else ""
    return end in _ENDS or end == "" or end[1:].isdigit()


def _named(folder: Path) -> frozenset[tuple[str, ...]]:
    for name in glance(folder).files:
        if name.upper() == NAME:
            data = read_bytes(str(folder / name))
            return referenced_files(data) if isinstance(data, bytes) else frozenset()
    return frozenset()


def _holds_dicom(folder: Path, depth: int) -> bool:
    seen = glance(folder)
    names = [name for name in seen.files if _wanted((name,))][:_LOOKED_AT]
    if any(_is_dicom(folder / name) for name in names):
        return True
    return depth > 0 and any(_holds_dicom(folder / name, depth - 1) for name in seen.folders[:3])


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return sniff(file.read(limits.SNIFF_BYTES)) == "dicom"
    except OSError:
        return False
