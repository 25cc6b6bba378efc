"""The meaning of a sheet's columns, guessed from usual names or given by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pulmospark.core.errors import LayoutError, UsageError
from pulmospark.layouts.parsing.sheet import Sheet, plain_name

GUESSES: dict[str, tuple[str, ...]] = {
    "path": ("path", "file_path", "image_path", "img_path", "relative_path", "filename",
             "file_name", "image_filename", "image_file_name", "fname", "file", "image_file",
             "image_name", "img_name", "image_index", "image", "img", "dicom_path", "dicom_file",
             "uri", "image_uri", "image_id", "img_id", "dicom_id", "sop_instance_uid",
             "file_id", "scan_path", "scan_file", "xray", "dicom"),
    "label": ("label", "labels", "finding", "findings", "finding_label", "finding_labels",
              "class", "class_name", "class_label", "image_label", "label_name", "diagnosis",
              "target", "category", "dx"),
    "patient": ("patient_id", "patient", "subject_id", "subject", "pat_id", "patid", "pid",
                "pt_id", "patient_no", "patient_nr", "patient_num", "patient_number",
                "patient_key", "patient_code", "patient_uid", "id_patient", "subject_no",
                "subject_nr", "subject_number", "subject_code", "subject_key", "subj_id", "subj",
                "participant_id", "participant", "person_id", "person", "case_id", "mrn",
                "patienten_id", "paciente", "id_paciente"),
    "view": ("view", "view_position", "projection", "image_view"),
    "age": ("age", "patient_age", "age_years", "age_at_study"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "study": ("study_id", "study", "study_uid", "study_instance_uid", "accession_number"),
    "modality": ("modality",),
    "split": ("split", "subset", "partition"),
}  # fmt: skip
"""meaning -> usual names of its column, the surest first; case, blanks and punctuation are
ignored"""

NEEDED = ("path", "label")

# If there is no usual name: anonymised_patient_id, DE_subject_number, PatientID_hash.
_NEARLY = {
    "patient": re.compile(
        r".*(patient|subject|participant)(id|uid|no|nr|num|number|key|code|hash|pseudonym)\w*"
    )
}


class Column(NamedTuple):
    """A sheet's column for one meaning."""

    name: str
    is_guessed: bool


def guess(sheet: Sheet, what: str) -> str | None:
    """The usual column for this meaning; ``None`` if no usual name is present."""
    if (name := sheet.column(*GUESSES[what])) is not None or what not in _NEARLY:
        return name
    return next((c for c in sheet.columns if _NEARLY[what].fullmatch(plain_name(c))), None)


def columns_of(sheet: Sheet, options: Mapping[str, str]) -> dict[str, Column]:
    """Meaning -> the sheet's column for it, without meanings that have none.

    Args:
        sheet: the sheet.
        options: ``<what>_column`` names a column and overrides any guess; empty: none.

    Raises:
        UsageError: a named column is missing.
        LayoutError: no column for the path or the label is known.
    """
    columns: dict[str, Column] = {}
    has = ", ".join(sheet.columns)[:200]
    for what in GUESSES:
        named = options.get(f"{what}_column")
        name = guess(sheet, what) if named is None else named and sheet.column(named)
        if named and name is None:
            raise UsageError(
                f"options: {what}_column is {named!r}, but {sheet.path} only has the columns {has}"
            )
        if name:
            columns[what] = Column(name, is_guessed=named is None)
        elif what in NEEDED:
            raise LayoutError(
                f"{sheet.path}: none of its columns {has} is known to contain the {what}: name it "
                f"with the option {what}_column"
            )
    return _apart(columns)


def _apart(columns: dict[str, Column]) -> dict[str, Column]:
    """Drop guesses for a column that the user named for something else."""
    named = {column.name for column in columns.values() if not column.is_guessed}
    return {
        what: column
        for what, column in columns.items()
        if not (column.is_guessed and column.name in named and what not in NEEDED)
    }
