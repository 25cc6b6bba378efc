"""PadChest: ``PADCHEST_chest_x_ray_images_labels_*.csv`` and PNG files in numbered folders."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pulmospark.core.errors import LayoutError
from pulmospark.core.schemas import Modality
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Cells, Facts, MetadataIndex, Sheet, open_sheet
from pulmospark.layouts.walk import files_like, walk

_SHEET = re.compile(r"PADCHEST_chest_x_ray_images_labels\w*[.\w-]*\.csv(\.gz)?", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_YEAR = re.compile(r"([0-9]{4})")


class PadChest(Layout):
    """Findings are the image's labels, with ``|`` between, as the sheet orders them; ``normal`` is
    one of them. The age is the year of the study less that of birth.
    """

    name = "padchest"
    title = "PadChest"
    home = "https://bimcv.cipf.es/bimcv-projects/padchest/"
    licence = "BIMCV's research use agreement, to be accepted before downloading"
    holds = "160,868 chest X-rays of 67,625 patients of one hospital, 174 findings from reports"
    looked_for = "PADCHEST_chest_x_ray_images_labels*.csv, next to the images or their folders"
    faults = (
        "27 % of the reports were labelled by physicians, the others by a program (MethodLabel)",
        "children are among the patients (Pediatric), and rib views (Projection COSTAL)",
        "some of its PNG are broken",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's name."""
        return 0.95 if _sheets(folder) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file with an image's name, wherever it is: names are unique."""
        self.check_options(options)
        sheets = [folder / name for name in _sheets(folder)]
        unpacked = [path for path in sheets if path.suffix != ".gz"]
        if not unpacked:
            packed = sheets[0].name if sheets else None
            raise LayoutError(
                f"{sheets[0]}: is packed: unpack it, with gunzip {packed}"
                if packed
                else f"{folder}: has no PADCHEST_chest_x_ray_images_labels*.csv, which the layout "
                f"{self.name!r} needs: put it there, or name another --layout"
            )
        index = _read(open_sheet(unpacked[-1]), source_name, notes)
        yield from index.rows(walk(folder, notes), source_name)


def _sheets(folder: Path) -> tuple[str, ...]:
    return files_like(folder, _SHEET.fullmatch)


def _read(sheet: Sheet, source: str, notes: ListingNotes) -> MetadataIndex:
    image, labels = sheet.need("ImageID"), sheet.need("Labels")
    patient, study = sheet.need("PatientID"), sheet.column("StudyID")
    view, sex = sheet.column("Projection"), sheet.column("PatientSex_DICOM")
    day, birth = sheet.column("StudyDate_DICOM"), sheet.column("PatientBirth")
    index = MetadataIndex(notes)
    for name, cell in sheet.named_rows(image, notes):
        finding = _finding(cell(labels))
        index.add(
            name,
            Facts(
                patient_id=values.patient_id(source, cell(patient)),
                study_id=values.text(cell(study)) if study else None,
                finding=None if finding is None else sys.intern(finding),
                view=values.view(cell(view) if view else None, notes),
                modality=Modality.XRAY,
                age=_age(cell, day, birth, notes),
                sex=values.sex(cell(sex)) if sex else None,
            ),
        )
    return index


def _finding(labels: str) -> str | None:
    """``['pneumonia', 'normal', 'pneumonia']``, a list of Python's -> ``pneumonia|normal``."""
    words = ((single or double).strip() for single, double in _QUOTED.findall(labels))
    return "|".join(dict.fromkeys(word for word in words if word)) or None


def _age(cell: Cells, day: str | None, birth: str | None, notes: ListingNotes) -> float | None:
    """Years from that of birth (``1938.0``) to that of the study (``20140915``)."""
    if day is None or birth is None:
        return None
    at, born = _YEAR.match(cell(day)), _YEAR.match(cell(birth))
    return values.age_years(str(int(at[1]) - int(born[1])), notes) if at and born else None
