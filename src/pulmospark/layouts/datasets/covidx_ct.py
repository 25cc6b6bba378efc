"""COVIDx CT: lists ``file class xmin ymin xmax ymax`` next to a folder of PNG slices.

File names are those of the sources: ``<class>_<patient>_<scan>_<slice>.png`` of CC-CCII,
``137covid_patient1_SR_2_IM00001.png`` of COVID-CTset, ``volume-covid19-A-0001-0012.png`` of
TCIA, and so on. The patient is the ``patient id`` in ``metadata.csv`` that the file name begins
with, else derived from the file name.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.ct_series import slice_number
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, key_of, open_sheet
from pulmospark.layouts.parsing.text_lists import begins_with_row, lists_of, rows_of
from pulmospark.layouts.walk import is_image_name, walk

_LIST = re.compile(r"(train|val|test)(?:_COVIDx[_-]?CT[-\w]*)?\.txt", re.IGNORECASE)
_SHEET = "metadata.csv"
_CLASSES = {"0": "Normal", "1": "Pneumonia", "2": "COVID-19"}
_ROW_CELLS = 6
_CNCB = re.compile(r"((?:NCP|CP|Normal)_[0-9]+)_([0-9]+)_")
_CTSET = re.compile(r"(?:.*_)?(patient[0-9]+)_SR_([0-9]+)_", re.IGNORECASE)
_VOLUME = re.compile(r"(volume-covid19-A-[0-9]+)")
_LAST_NUMBER = re.compile(r"[_-][A-Za-z]*[0-9]+$")
_CHOSEN = frozenset({"expert", "non-expert", "automatic"})


class _Person(NamedTuple):
    age: float | None
    sex: str | None
    chosen: bool
    """slices of this patient were selected, such as those with lesions"""


class _Name(NamedTuple):
    patient: str
    scan: str


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    label: str


class CovidxCt(Layout):
    """Findings ``Normal``, ``Pneumonia`` and ``COVID-19``; the bounding boxes are not used."""

    name = "covidx_ct"
    title = "COVIDx CT"
    home = "https://www.kaggle.com/datasets/hgunraj/covidxct"
    licence = "that of each of its sources, as listed by haydengunraj/COVIDNet-CT"
    holds = "up to 425,024 CT slices of 5,312 patients in edition 3A: COVID-19, pneumonia, normal"
    looked_for = "train_COVIDx_CT*.txt with rows 'file class xmin ymin xmax ymax'"
    faults = (
        "COVID-19 and pneumonia slices were selected for lesions, normal ones are complete",
        "the sources differ in class: some only have COVID-19, LIDC-IDRI only normals",
        "some patients have two ids, volume-covid19-A-0028_0 and _1; merged here",
        "much of it is CC-CCII",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by the first row of a list."""
        matches = (begins_with_row(path, _row, 1) for path, _ in lists_of(folder, _LIST))
        return 0.95 if any(matches) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per slice; a listed file may be in any folder."""
        self.check_options(options)
        people = _people(folder / _SHEET, notes)
        index = MetadataIndex(notes)
        chosen: defaultdict[str, Counter[bool]] = defaultdict(Counter)
        for path, split in lists_of(folder, _LIST):
            for number, row in rows_of(path, _row, notes):
                name = _name(Path(row.file).stem, people)
                person = people.get(name.patient)
                if person is not None:
                    chosen[row.label][person.chosen] += 1
                patient = _VOLUME.match(name.patient)
                index.add(
                    key_of(row.file) or f"{path.name}:{number}",
                    Facts(
                        patient_id=values.patient_id(
                            source_name, patient[1] if patient else name.patient
                        ),
                        scan_id=name.scan,
                        slice_index=slice_number(row.file),
                        finding=row.label,
                        view=View.AXIAL,
                        modality=Modality.CT,
                        age=person.age if person else None,
                        sex=person.sex if person else None,
                        published_split=split,
                    ),
                )
        _note_choice(chosen, notes)

        def wanted(parts: tuple[str, ...]) -> bool:
            return is_image_name(parts[-1])

        yield from index.rows(walk(folder, notes, wanted), source_name)


def _row(line: str) -> _Row | None:
    cells = line.rsplit(maxsplit=_ROW_CELLS - 1)
    numbers = len(cells) == _ROW_CELLS and all(cell.isdigit() for cell in cells[1:])
    if not numbers or cells[1] not in _CLASSES or not is_image_name(cells[0]):
        return None
    return _Row(cells[0], _CLASSES[cells[1]])


def _people(path: Path, notes: ListingNotes) -> dict[str, _Person]:
    if not path.is_file():
        return {}
    sheet = open_sheet(path)
    patient = sheet.need("patient id")
    age, sex, chosen = (sheet.column(n) for n in ("age", "sex", "slice selection"))
    return {
        cell(patient).strip(): _Person(
            age=values.age_years(cell(age), notes) if age else None,
            sex=values.sex(cell(sex)) if sex else None,
            chosen=bool(chosen) and cell(chosen or "").strip().casefold() in _CHOSEN,
        )
        for _, cell in sheet.rows()
    }


def _name(stem: str, people: Mapping[str, _Person]) -> _Name:
    """Patient and scan from a slice's name."""
    if match := _CNCB.match(stem):
        return _Name(match[1], f"{match[1]}_{match[2]}")
    if match := _CTSET.match(stem):
        return _Name(match[1], f"{match[1]}_SR_{match[2]}")
    scan = _LAST_NUMBER.sub("", stem) or stem
    known = stem
    while known and known not in people:
        known = known[: max(known.rfind("_"), known.rfind("-"), 0)]
    return _Name(known or scan, scan)


def _note_choice(chosen: Mapping[str, Counter[bool]], notes: ListingNotes) -> None:
    """Note if slices of one class were selected while another class is complete."""
    whole = sorted(label for label, counts in chosen.items() if not counts[True])
    for label, counts in sorted(chosen.items()):
        if whole and counts[True]:
            notes.add(
                NoteKind.SLICES_CHOSEN_BY_CLASS,
                f"{label}: {counts[True]} of {counts.total()} slices are of patients whose "
                f"slices were selected; {', '.join(whole)}: none",
                counts[True],
            )
