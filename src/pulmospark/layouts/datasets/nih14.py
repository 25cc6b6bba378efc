"""NIH ChestX-ray14: ``Data_Entry_2017*.csv`` and ``images/`` or ``images_001/images/`` to 012."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.errors import InputError, LayoutError
from pulmospark.core.schemas import Modality, Split
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, Sheet, open_sheet
from pulmospark.layouts.walk import files_like, is_image_name, walk

_SHEET = re.compile(r"Data_Entry_2017.*\.csv")
_SPLIT_LISTS = {"train_val_list.txt": Split.TRAIN, "test_list.txt": Split.TEST}


class Nih14(Layout):
    """Findings as in the sheet, several of one image separated by ``|``."""

    name = "nih14"
    title = "NIH ChestX-ray14"
    home = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
    licence = "unrestricted; credit the NIH Clinical Center and Wang et al. 2017"
    holds = "112,120 frontal images of 30,805 adults and children, 14 findings from reports"
    faults = (
        "labels were extracted from reports automatically; 'No Finding' is not 'healthy'",
        "some ages are over 400 years",
    )
    looked_for = "Data_Entry_2017*.csv with the columns Image Index and Finding Labels"

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's name and columns."""
        for path in _sheets(folder):
            try:
                sheet = open_sheet(path)
            except InputError:
                continue
            if sheet.column("Image Index") and sheet.column("Finding Labels"):
                return 0.95
        return 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file with an image's name, wherever it lies: names are unique."""
        self.check_options(options)
        sheets = _sheets(folder)
        if not sheets:
            raise LayoutError(
                f"{folder}: contains no Data_Entry_2017*.csv, which the layout {self.name!r} "
                "needs: put it there, or use another --layout"
            )
        # If there are two, use the later edition: its name sorts last.
        index = _read(open_sheet(sheets[-1]), source_name, notes)
        for name, split in _SPLIT_LISTS.items():
            _read_split(folder / name, split, index, notes)

        def wanted(parts: tuple[str, ...]) -> bool:
            return is_image_name(parts[-1]) or parts[-1] in index

        yield from index.rows(walk(folder, notes, wanted), source_name)


def _sheets(folder: Path) -> list[Path]:
    return [folder / name for name in files_like(folder, _SHEET.fullmatch)]


def _read(sheet: Sheet, source: str, notes: ListingNotes) -> MetadataIndex:
    image, finding = sheet.need("Image Index"), sheet.need("Finding Labels")
    patient = sheet.need("Patient ID")
    age, sex = sheet.column("Patient Age"), sheet.column("Patient Gender", "Patient Sex")
    view = sheet.need("View Position")
    index = MetadataIndex(notes)
    for name, cell in sheet.named_rows(image, notes):
        labelled = values.text(cell(finding))
        index.add(
            name,
            Facts(
                patient_id=values.patient_id(source, cell(patient)),
                finding=None if labelled is None else sys.intern(labelled),
                view=values.view(cell(view), notes),
                modality=Modality.XRAY,
                age=values.age_years(cell(age), notes) if age else None,
                sex=values.sex(cell(sex)) if sex else None,
            ),
        )
    return index


def _read_split(path: Path, split: Split, index: MetadataIndex, notes: ListingNotes) -> None:
    if not path.is_file():
        return
    if (size := path.stat().st_size) > limits.METADATA_FILE_BYTES_MAX:
        raise InputError(f"{path}: {size} bytes, over {limits.METADATA_FILE_BYTES_MAX}")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name = line.strip()
            if name and not index.set_split(name, split.value):
                notes.add(NoteKind.SPLIT_NAMES_WITHOUT_ROW, f"{path.name}: {name}")
