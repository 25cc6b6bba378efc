"""ieee8023/covid-chestxray-dataset: ``metadata.csv`` next to ``images/``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, Sheet, key_of, open_sheet
from pulmospark.layouts.walk import is_image_name, walk

_SHEET = "metadata.csv"
_IMAGES = "images"
_MASKS = "annotations/lungVAE-masks"  # segmented by a network, for some of the images
_VOLUME_ENDS = (".nii", ".nii.gz")


class CovidChestXray(Layout):
    """Findings as in the sheet, ``Pneumonia/Viral/COVID-19`` or, in old copies, ``COVID-19`` and
    ``COVID-19, ARDS``.
    """

    name = "covid_chestxray"
    title = "COVID-19 image data collection (ieee8023/covid-chestxray-dataset)"
    home = "https://github.com/ieee8023/covid-chestxray-dataset"
    download = "https://codeload.github.com/ieee8023/covid-chestxray-dataset/zip/refs/heads/master"
    licence = "per image, in the sheet's column 'license'"
    holds = "images and CT of COVID-19 and other pneumonias, from publications and hospitals"
    faults = (
        "few images without pneumonia: the class is nearly predictable from the source",
        "scans of figures in papers, of all sizes and qualities; some rows share an image",
        "much of it is also in other collections: COVIDx, the Radiography Database, COVID-QU-Ex",
    )
    looked_for = "metadata.csv with the columns patientid, finding and filename"

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's columns."""
        try:
            sheet = open_sheet(folder / _SHEET)
        except InputError:
            return 0.0
        needed = ("patientid", "finding", "filename", "modality")
        return 0.95 if all(name in sheet.columns for name in needed) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file that the sheet names or that lies in a folder it names."""
        self.check_options(options)
        index = _read(open_sheet(folder / _SHEET), source_name, notes)
        # The repository has pictures elsewhere too, such as figures of its documentation.
        homes = {key.rpartition("/")[0] for key in index} | {_IMAGES}

        def wanted(parts: tuple[str, ...]) -> bool:
            place = "/".join(parts[:-1])
            named = "/".join(parts) in index
            return named or (is_image_name(parts[-1]) and (place in homes or place == _MASKS))

        for file in walk(folder, notes, wanted):
            if "/".join(file.parts[:-1]) == _MASKS:
                notes.add(NoteKind.MASKS, file.uri)
                continue
            row = index.row(file, "/".join(file.parts), source_name)
            mask = folder / _MASKS / f"{Path(file.parts[-1]).stem}_mask.png"
            has_mask = file.problem is None and mask.is_file()
            yield replace(row, mask_uri=str(mask)) if has_mask else row
        index.close()


def _read(sheet: Sheet, source: str, notes: ListingNotes) -> MetadataIndex:
    patient, finding, filename = (sheet.need(n) for n in ("patientid", "finding", "filename"))
    folder, view, modality = (sheet.column(n) for n in ("folder", "view", "modality"))
    age, sex = sheet.column("age"), sheet.column("sex")
    index = MetadataIndex(notes)
    for line, cell in sheet.rows():
        name = cell(filename).strip()
        place = (folder and cell(folder).strip()) or _IMAGES
        key = key_of(f"{place}/{name}") if name else ""
        if not key:
            kind = NoteKind.ROWS_OUTSIDE_ROOT if name else NoteKind.ROWS_WITHOUT_PATH
            notes.add(kind, f"{sheet.path.name}, line {line}: {place}/{name}")
            continue
        if key.lower().endswith(_VOLUME_ENDS):
            notes.add(NoteKind.ROWS_OF_VOLUMES, key)
        made_by = values.modality(cell(modality)) if modality else Modality.UNKNOWN
        position = values.view(cell(view), notes) if view else View.UNKNOWN
        if made_by is Modality.CT and position is View.UNKNOWN:
            position = View.AXIAL
        labelled = values.text(cell(finding))
        facts = Facts(
            patient_id=values.patient_id(source, cell(patient)),
            finding=None if labelled is None else sys.intern(labelled),
            view=position,
            modality=made_by,
            age=values.age_years(cell(age), notes) if age else None,
            sex=values.sex(cell(sex)) if sex else None,
        )
        index.add(key, facts)
    return index
