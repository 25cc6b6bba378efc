"""RSNA Pneumonia Detection Challenge: ``stage_2_*_images/<id>.dcm`` and two sheets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Modality, Split, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, has_columns, open_sheet, stem_of
from pulmospark.layouts.walk import walk

_TARGETS, _CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_TARGET_NAMES = {"1": "Lung Opacity", "0": "no Lung Opacity"}


class RsnaPneumonia(Layout):
    """Findings ``Lung Opacity``, ``No Lung Opacity / Not Normal`` and ``Normal``; with only the
    sheet of boxes ``Lung Opacity`` and ``no Lung Opacity``.

    The sheets have one row per box, so several per image. Their ``patientId``, which is also
    PatientID in the headers, identifies an image rather than a patient: the patient is known only
    with the mapping to NIH's names next to the sheets.
    """

    name = "rsna_pneumonia"
    title = "RSNA Pneumonia Detection Challenge"
    home = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge"
    licence = "according to the challenge's rules, for research and teaching"
    holds = "29,684 frontal images of NIH ChestX-ray14 as DICOM, reviewed by radiologists"
    looked_for = "stage_2_train_labels.csv or stage_2_detailed_class_info.csv (patientId)"
    header_patient = False
    faults = (
        "patientId (PatientID in the headers) identifies an image; images of one patient have "
        "different ids",
        "its images are NIH ChestX-ray14's, at 1024 x 1024 as JPEG within DICOM",
        "'Lung Opacity' is not proven pneumonia; images of the test part have no label",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheets' names and column."""
        sheets = (folder / _TARGETS, folder / _CLASSES)
        return 0.95 if any(has_columns(path, "patientId") for path in sheets) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image."""
        self.check_options(options)
        patients = _patients(folder / _MAPPING)
        index = MetadataIndex(notes)
        for name, finding in _findings(folder, notes).items():
            index.add(
                name,
                Facts(
                    patient_id=values.patient_id(source_name, patients.get(name)),
                    finding=finding,
                    view=View.FRONTAL,
                    modality=Modality.XRAY,
                    published_split=Split.TRAIN.value,
                ),
            )
        yield from index.rows(walk(folder, notes), source_name, stem_of)


def _findings(folder: Path, notes: ListingNotes) -> dict[str, str]:
    """Image -> finding, from the more detailed sheet; several boxes of one image are one row."""
    findings: dict[str, str] = {}
    for name, column in ((_CLASSES, "class"), (_TARGETS, "Target")):
        if not (folder / name).is_file():
            continue
        sheet = open_sheet(folder / name)
        image, label = sheet.need("patientId"), sheet.need(column)
        mine: dict[str, str] = {}
        for key, cell in sheet.named_rows(image, notes, folders=True):
            finding = cell(label).strip()
            finding = _TARGET_NAMES.get(finding, finding) if column == "Target" else finding
            if mine.setdefault(key, sys.intern(finding)) != finding:
                notes.add(NoteKind.CONFLICTING_FINDINGS, f"{key}: {mine[key]} | {finding}")
        findings = {**mine, **findings}
    return findings


def _patients(path: Path) -> dict[str, str]:
    """Image -> NIH's patient, from the published mapping: ``00000001_000.png`` is patient 1."""
    if not path.is_file():
        return {}
    try:
        if (size := path.stat().st_size) > limits.METADATA_FILE_BYTES_MAX:
            raise InputError(f"{path}: {size} bytes, over {limits.METADATA_FILE_BYTES_MAX}")
        images = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(image["subset_img_id"]): str(image["img_id"]).partition("_")[0]
            for image in images
            if image.get("subset_img_id")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a mapping of subset_img_id to img_id: use the published file, or remove "
            "it"
        ) from error
