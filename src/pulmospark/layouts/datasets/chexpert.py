"""CheXpert: ``patient*/study*/view*.jpg`` and ``train.csv``, ``valid.csv``.

The small edition has them in ``train/`` and ``valid/``. The full one comes as four archives:
``CheXpert-v1.0 batch 1 (validate & csv)`` with the sheets and ``valid/``, and three more with the
patients of the training part, without a folder ``train``. Patient numbers are unique across both,
so an image is identified by patient, study and view, wherever it lies.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.chexpert_labels import UNCERTAIN_OPTION, finding, label_columns
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, has_columns, open_sheet
from pulmospark.layouts.walk import FoundFile, folders_like, walk

_SHEETS = ("train.csv", "valid.csv", "test.csv")
_PLACE = re.compile(r"(?<![^/])(?:(train|valid|test)/)?(patient[0-9]+)/(study[0-9]+)/([^/]+)$")
_BATCH_OF_SHEETS = re.compile(r".*batch 1\b.*", re.IGNORECASE)


class CheXpert(Layout):
    """Findings are the labels of the report, separated by ``|``."""

    name = "chexpert"
    title = "CheXpert"
    home = "https://stanfordaimi.azurewebsites.net/datasets/8cbd9ed4-2eb9-4565-affc-111cf4f7ebe2"
    licence = "Stanford University's research use agreement; not for commercial use"
    holds = "224,316 frontal and lateral images of 65,240 adults, 14 labels extracted from reports"
    looked_for = (
        "train.csv or valid.csv with the columns Path, Frontal/Lateral and Pneumonia, next to the "
        "images or in a folder '... batch 1 ...'"
    )
    faults = (
        "labels were extracted from reports automatically; many are uncertain (-1)",
        "'No Finding' may occur with support devices",
        "ages over 89 are stored as 90; one sex is given as Unknown",
    )
    options: ClassVar[Mapping[str, str]] = {"uncertain": UNCERTAIN_OPTION}

    def recognises(self, folder: Path) -> float:
        """0.95 by a sheet's columns."""
        needed = ("Path", "Frontal/Lateral", "Pneumonia")
        return 0.95 if next(_sheets(folder, *needed), None) is not None else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per image."""
        self.check_options(options)
        uncertain = self.choice(options, "uncertain", ("leave", "positive")) == "positive"
        index = MetadataIndex(notes)
        for sheet in _sheets(folder, "Path"):
            _read(sheet, source_name, index, notes, uncertain=uncertain)
        yield from index.rows(walk(folder, notes), source_name, _key_of)


def _sheets(folder: Path, *columns: str) -> Iterator[Path]:
    """The sheets with these columns, one per name: next to the images, or in batch 1."""
    batches = folders_like(folder, _BATCH_OF_SHEETS.fullmatch)
    for name in _SHEETS:
        places = (folder / name, *(folder / batch / name for batch in batches))
        yield from islice((path for path in places if has_columns(path, *columns)), 1)


def _key_of(file: FoundFile) -> str:
    path = "/".join(file.parts)
    place = _PLACE.search(path)
    return _key(place) if place else path


def _key(place: re.Match[str]) -> str:
    return f"{place[2]}/{place[3]}/{place[4]}"


def _read(
    path: Path, source: str, index: MetadataIndex, notes: ListingNotes, *, uncertain: bool
) -> None:
    sheet = open_sheet(path)
    image, labels = sheet.need("Path"), label_columns(sheet)
    side, position = sheet.column("Frontal/Lateral"), sheet.column("AP/PA")
    age, sex = sheet.column("Age"), sheet.column("Sex")
    for line, cell in sheet.rows():
        place = _PLACE.search(cell(image).strip())
        if place is None:
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{path.name}, line {line}: {cell(image)}")
            continue
        labelled = finding(cell, labels, uncertain=uncertain)
        view = values.view(cell(side), notes) if side else View.UNKNOWN
        if view is not View.LATERAL and position and cell(position).strip() in ("AP", "PA"):
            view = View(cell(position).strip())
        index.add(
            _key(place),
            Facts(
                patient_id=values.patient_id(source, place[2]),
                study_id=f"{place[2]}/{place[3]}",
                finding=None if labelled is None else sys.intern(labelled),
                view=view,
                modality=Modality.XRAY,
                age=values.age_years(cell(age), notes) if age else None,
                sex=values.sex(cell(sex)) if sex else None,
                published_split=values.split(place[1]),
            ),
        )
