"""Base class of small collections with one sheet, one row per image."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import (
    Cells,
    Facts,
    MetadataIndex,
    Sheet,
    has_columns,
    open_sheet,
)
from pulmospark.layouts.walk import walk


class OneSheet(Layout):
    """A sheet with one row per image, whose cells name the file with or without its extension."""

    sheet_name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """that identify the sheet; the first names the image"""
    other_columns: ClassVar[tuple[str, ...]] = ()
    """that identify a sheet as another collection's"""

    def recognises(self, folder: Path) -> float:
        """0.95 by the sheet's columns."""
        path = folder / self.sheet_name
        if any(has_columns(path, column) for column in self.other_columns):
            return 0.0
        return 0.95 if has_columns(path, *self.columns) else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per file with an image's name."""
        self.check_options(options)
        sheet = open_sheet(folder / self.sheet_name)
        image = sheet.need(self.columns[0])
        index = MetadataIndex(notes)
        for name, cell in sheet.named_rows(image, notes):
            index.add(_stem(name), self.facts(sheet, cell, source_name, notes))
        yield from index.rows(walk(folder, notes), source_name, lambda file: _stem(file.parts[-1]))

    def facts(self, sheet: Sheet, cell: Cells, source: str, notes: ListingNotes) -> Facts:
        """The facts of a row, from the columns that these collections share."""

        def value(*names: str) -> str:
            column = sheet.column(*names)
            return cell(column).strip() if column else ""

        finding = values.text(value("finding"))
        modality = values.modality(value("modality"))
        view = values.view(value("view", "projection"), notes)
        if modality is Modality.CT and view is View.UNKNOWN:
            view = View.AXIAL
        return Facts(
            patient_id=values.patient_id(source, value("patientid", "patient_id")),
            finding=None if finding is None else sys.intern(finding),
            view=view,
            modality=modality,
            age=values.age_years(value("age").removesuffix("+"), notes),
            sex=values.sex(value("sex")),
        )


def _stem(name: str) -> str:
    """An image's name without its extension, if it is an image's."""
    path = Path(name)
    known = {".png", ".jpg", ".jpeg"}
    return path.stem if path.suffix.lower() in known else name
