"""SIIM-FISABIO-RSNA COVID-19: ``train/<study>/<series>/<image>.dcm`` and two sheets.

``train_study_level.csv`` has one row per study, ``<study>_study``, and a 1 in the column of its
finding. ``train_image_level.csv`` has one row per image, ``<image>_image``, with its study, which
also identifies the study of converted images that lie elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core.schemas import Modality, Split
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import has_columns, open_sheet
from pulmospark.layouts.walk import is_image_name, walk

_STUDIES, _IMAGES = "train_study_level.csv", "train_image_level.csv"
# Kaggle, siim-covid19-detection: id,Negative for Pneumonia,Typical Appearance,
# Indeterminate Appearance,Atypical Appearance; and id,boxes,label,StudyInstanceUID
_FINDINGS = (
    "Negative for Pneumonia",
    "Typical Appearance",
    "Indeterminate Appearance",
    "Atypical Appearance",
)
_STUDY_END, _IMAGE_END = "_study", "_image"


class SiimCovid19(Layout):
    """Findings are those of the study: ``Negative for Pneumonia``, ``Typical Appearance``,
    ``Indeterminate Appearance`` and ``Atypical Appearance``.
    """

    name = "siim_covid19"
    title = "SIIM-FISABIO-RSNA COVID-19 Detection"
    home = "https://www.kaggle.com/c/siim-covid19-detection"
    licence = "according to the challenge's rules; not for commercial use"
    holds = "6,334 chest X-rays of 6,054 studies as DICOM, of BIMCV-COVID19 and MIDRC-RICORD"
    looked_for = "train_study_level.csv with the columns id and Typical Appearance"
    faults = (
        "findings are a radiologist's grading of the study, not PCR results",
        "some studies have several images with the study's finding, but only one was annotated",
        "its images are also in BIMCV-COVID19 and MIDRC-RICORD; those of the test part have no "
        "label",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's columns."""
        return 0.95 if has_columns(folder / _STUDIES, "id", "Typical Appearance") else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image; the patient is in its header."""
        self.check_options(options)
        findings = _findings(folder / _STUDIES, notes)
        study_of = _studies(folder / _IMAGES, notes)
        seen: set[str] = set()
        for file in walk(folder, notes):
            name = file.parts[-1]
            image = Path(name).stem if is_image_name(name) else name
            image = image.removesuffix(_IMAGE_END)
            above = file.parts[-3] if len(file.parts) > 2 else ""
            study = study_of.get(image, above if above in findings else None)
            seen.add(image)
            if study is None:
                notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
            yield row_of(
                file,
                source_name,
                study_id=study or above or None,
                finding=findings.get(study or ""),
                modality=Modality.XRAY,
                published_split=None if study is None else Split.TRAIN.value,
            )
        for image in study_of:
            if image not in seen:
                notes.add(NoteKind.ROWS_WITHOUT_FILE, image)


def _findings(path: Path, notes: ListingNotes) -> dict[str, str | None]:
    """Study -> its finding; ``None`` if it has none, or several."""
    sheet = open_sheet(path)
    study = sheet.need("id")
    columns = {finding: sheet.need(finding) for finding in _FINDINGS}
    finding_of: dict[str, str | None] = {}
    for line, cell in sheet.rows():
        key = cell(study).removesuffix(_STUDY_END)
        if not key:
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{path.name}, line {line}")
            continue
        marked = [name for name, column in columns.items() if cell(column) in ("1", "1.0")]
        if len(marked) > 1 or (key in finding_of and marked != [finding_of[key]]):
            notes.add(NoteKind.CONFLICTING_FINDINGS, f"{key}: {' | '.join(marked)}")
        finding_of.setdefault(key, sys.intern(marked[0]) if len(marked) == 1 else None)
    return finding_of


def _studies(path: Path, notes: ListingNotes) -> dict[str, str]:
    """Image -> its study; empty if the sheet is missing."""
    if not has_columns(path, "id", "StudyInstanceUID"):
        return {}
    sheet = open_sheet(path)
    image, study = sheet.need("id"), sheet.need("StudyInstanceUID")
    study_of: dict[str, str] = {}
    for line, cell in sheet.rows():
        key = values.text(cell(image).removesuffix(_IMAGE_END))
        if key is None:
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{path.name}, line {line}")
        elif study_of.setdefault(key, cell(study)) != cell(study):
            notes.add(NoteKind.REPEATED_ROWS, f"{path.name}, line {line}: {key}")
    return study_of
