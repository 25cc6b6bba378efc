"""MIMIC-CXR-JPG: ``files/p10/p10000032/s50414267/<dicom>.jpg`` and three sheets."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core.errors import LayoutError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.chexpert_labels import UNCERTAIN_OPTION, finding, label_columns
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, open_sheet, stem_of
from pulmospark.layouts.walk import files_like, walk

_SHEET = re.compile(r"mimic-cxr-[0-9.]+-(metadata|chexpert|negbio|split)\.csv(\.gz)?")


class MimicCxrJpg(Layout):
    """Findings are the labels that CheXpert's labeller (or NegBio's, if only that is present)
    extracted from the study's report, separated by ``|``.
    """

    name = "mimic_cxr_jpg"
    title = "MIMIC-CXR-JPG"
    home = "https://physionet.org/content/mimic-cxr-jpg/"
    licence = "PhysioNet's credentialed data use agreement"
    holds = "377,110 images of 227,835 studies of 64,588 patients, labels extracted from reports"
    looked_for = "mimic-cxr-*-metadata.csv next to files/"
    faults = (
        "labels are of a study's report, not of an image, and were extracted automatically",
        "age and sex are not in its sheets, but in MIMIC-IV",
        "one hospital's emergency department: nearly all patients are ill",
    )
    options: ClassVar[Mapping[str, str]] = {"uncertain": UNCERTAIN_OPTION}

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's name."""
        return 0.95 if "metadata" in _sheets(folder) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image; the sheets have to be unpacked."""
        self.check_options(options)
        uncertain = self.choice(options, "uncertain", ("leave", "positive")) == "positive"
        sheets = _sheets(folder)
        if "metadata" not in sheets:
            raise LayoutError(
                f"{folder}: contains no mimic-cxr-*-metadata.csv, which the layout {self.name!r} "
                "needs: put it there, or use another --layout"
            )
        for path in sheets.values():
            if path.suffix == ".gz":
                raise LayoutError(f"{path}: is compressed: unpack it with gunzip {path.name}")
        labels = _labels(sheets.get("chexpert") or sheets.get("negbio"), uncertain=uncertain)
        index = _read(sheets["metadata"], source_name, labels, notes)
        if "split" in sheets:
            split = open_sheet(sheets["split"])
            image, part = split.need("dicom_id"), split.need("split")
            for _, cell in split.rows():
                name = values.split(cell(part))
                if name and not index.set_split(cell(image).strip(), name):
                    notes.add(NoteKind.SPLIT_NAMES_WITHOUT_ROW, cell(image))
        yield from index.rows(walk(folder, notes), source_name, stem_of)


def _sheets(folder: Path) -> dict[str, Path]:
    """Kind of sheet -> its path; unpacked ones take precedence."""
    sheets: dict[str, Path] = {}
    for name in files_like(folder, _SHEET.fullmatch):
        if match := _SHEET.fullmatch(name):
            sheets.setdefault(match[1], folder / name)
    return sheets


def _labels(path: Path | None, *, uncertain: bool) -> dict[str, str]:
    """Study -> labels."""
    if path is None:
        return {}
    sheet = open_sheet(path)
    study, columns = sheet.need("study_id"), label_columns(sheet)
    studies = (
        (cell(study).strip(), finding(cell, columns, uncertain=uncertain))
        for _, cell in sheet.rows()
    )
    return {key: sys.intern(present) for key, present in studies if present is not None}


def _read(
    path: Path, source: str, labels: Mapping[str, str], notes: ListingNotes
) -> MetadataIndex:
    sheet = open_sheet(path)
    image, patient, study = (sheet.need(n) for n in ("dicom_id", "subject_id", "study_id"))
    view = sheet.column("ViewPosition")
    index = MetadataIndex(notes)
    for key, cell in sheet.named_rows(image, notes, folders=True):
        index.add(
            key,
            Facts(
                patient_id=values.patient_id(source, cell(patient)),
                study_id=values.text(cell(study)),
                finding=labels.get(cell(study).strip()),
                view=values.view(cell(view), notes) if view else View.UNKNOWN,
                modality=Modality.XRAY,
            ),
        )
    return index
