"""BIMCV-COVID19+ and -: ``sub-S*/ses-E*/mod-rx/*.png`` and tab-separated sheets."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import has_columns, open_sheet
from pulmospark.layouts.walk import FoundFile, files_like, glance, walk

_LABELS, _PEOPLE = "derivatives/labels", "participants.tsv"
_PLACE = re.compile(r"sub-(S[0-9]+)_ses-(E[0-9]+)_")
_VIEW = re.compile(r"_vp-([A-Za-z-]+?)(?=[_.])")
_KIND = re.compile(r"_(cr|dx|ct)\.", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_AGES_APART = 1.0  # years: of one hospital stay


class _Person(NamedTuple):
    age: float | None
    sex: str | None


class BimcvCovid19(Layout):
    """Findings are the labels of the session's report, separated by ``|``, in the sheet's order.
    If no sheet lists the session, the finding is empty.
    """

    name = "bimcv_covid19"
    title = "BIMCV-COVID19+ and BIMCV-COVID19-"
    home = "https://bimcv.cipf.es/bimcv-projects/bimcv-covid19/"
    licence = "BIMCV's research use agreement, to be accepted before downloading"
    holds = "images as 16-bit PNG and CT as NIfTI, of patients tested for SARS-CoV-2; with reports"
    looked_for = "folders sub-S* with ses-E*, participants.tsv or derivatives/labels/*.tsv"
    faults = (
        "labels were extracted from reports; positive PCR results are in another sheet",
        "positives and negatives are two collections from different times and hospitals",
        "some 16-bit images are stored inverted (MONOCHROME1), as stated in the JSON next to them",
        "CT volumes (NIfTI) are not read",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 if a subject's folder contains sessions."""
        for name in glance(folder).folders:
            if name.startswith("sub-S"):
                inside = glance(folder / name).folders
                return 0.95 if any(ses.startswith("ses-E") for ses in inside) else 0.0
        return 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image; NIfTI volumes are counted as ignored."""
        self.check_options(options)
        labels, people = _labels(folder, notes), _people(folder / _PEOPLE, notes)
        seen: set[tuple[str, str]] = set()
        for file in walk(folder, notes):
            yield _row(file, source_name, labels, people, seen, notes)
        for session in labels:
            if session not in seen:
                notes.add(NoteKind.ROWS_WITHOUT_FILE, "/".join(session))


def _row(  # noqa: PLR0917 - the file, and what is known
    file: FoundFile,
    source: str,
    labels: Mapping[tuple[str, str], str],
    people: Mapping[str, _Person],
    seen: set[tuple[str, str]],
    notes: ListingNotes,
) -> ManifestRow:
    name = file.parts[-1]
    if (place := _PLACE.match(name)) is None:
        notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
        return row_of(file, source)
    session = (place[1], place[2])
    seen.add(session)
    if session not in labels:
        notes.add(NoteKind.FILES_WITHOUT_ROW, file.uri)
    kind, view = _KIND.search(name), _VIEW.search(name)
    made_by = values.modality(kind[1]) if kind else Modality.UNKNOWN
    person = people.get(place[1], _Person(None, None))
    position = values.view(view[1] if view else None, notes)
    return row_of(
        file,
        source,
        patient_id=values.patient_id(source, place[1]),
        study_id=place[2],
        finding=labels.get(session),
        view=View.AXIAL if made_by is Modality.CT and position is View.UNKNOWN else position,
        modality=made_by,
        age=person.age,
        sex=person.sex,
    )


def _labels(folder: Path, notes: ListingNotes) -> dict[tuple[str, str], str]:
    """Subject and session -> labels of the report."""
    labels_of: dict[tuple[str, str], str] = {}
    for name in files_like(folder / _LABELS, lambda name: name.endswith(".tsv")):
        path = folder / _LABELS / name
        if not has_columns(path, "PatientID", "ReportID", "Labels"):
            continue
        sheet = open_sheet(path)
        patient, report, labels = (sheet.need(n) for n in ("PatientID", "ReportID", "Labels"))
        for _, cell in sheet.rows():
            key = (
                cell(patient).strip().removeprefix("sub-"),
                cell(report).strip().removeprefix("ses-"),
            )
            words = dict.fromkeys(word.strip() for word in _QUOTED.findall(cell(labels)))
            text = "|".join(word for word in words if word)
            if not text:
                continue
            if labels_of.setdefault(key, sys.intern(text)) != text:
                notes.add(NoteKind.CONFLICTING_FINDINGS, f"{'/'.join(key)}: {text}")
    return labels_of


def _people(path: Path, notes: ListingNotes) -> dict[str, _Person]:
    """Subject -> age and sex; ages of several studies are a list."""
    if not has_columns(path, "participant"):
        return {}
    sheet = open_sheet(path)
    patient, age, sex = sheet.need("participant"), sheet.column("age"), sheet.column("gender")
    people: dict[str, _Person] = {}
    for _, cell in sheet.rows():
        ages = [float(text) for text in _NUMBER.findall(cell(age))] if age else []
        near = ages and max(ages) - min(ages) <= _AGES_APART
        people[cell(patient).strip().removeprefix("sub-")] = _Person(
            age=values.age_years(str(ages[0]), notes) if near else None,
            sex=values.sex(cell(sex)) if sex else None,
        )
    return people
