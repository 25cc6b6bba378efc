"""Hannover's covid-19-image-repository: ``data.csv`` next to ``png/``."""

from __future__ import annotations

from dataclasses import replace

from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.parsing.sheet import Cells, Facts, Sheet
from pulmospark.layouts.parsing.single_sheet import OneSheet


class Hannover(OneSheet):
    """The sheet has no finding: all images are of COVID-19 patients."""

    name = "hannover"
    title = "COVID-19 Image Repository (Hannover Medical School)"
    home = "https://github.com/ml-workgroup/covid-19-image-repository"
    download = (
        "https://codeload.github.com/ml-workgroup/covid-19-image-repository/zip/refs/heads/master"
    )
    licence = "CC BY 3.0"
    holds = "243 images of COVID-19 patients, many from intensive care, with laboratory values"
    looked_for = "data.csv with the columns image_id, patient_id and admission_offset"
    faults = (
        "COVID-19 only, from one hospital",
        "some patients have over 20 images; ages are empty",
        "some images are also in ieee8023's collection",
    )
    sheet_name = "data.csv"
    columns = ("image_id", "patient_id", "admission_offset")

    def facts(self, sheet: Sheet, cell: Cells, source: str, notes: ListingNotes) -> Facts:
        """As the others, with the collection's finding."""
        row = super().facts(sheet, cell, source, notes)
        return replace(row, finding="COVID-19")
