"""Hannover's covid-19-image-repository: ``data.csv`` beside ``png/``."""

from __future__ import annotations

from dataclasses import replace

from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.one_sheet import OneSheet
from pulmospark.layouts.sheet import Cells, Facts, Sheet


class Hannover(OneSheet):
    """The sheet has no finding: all are films of COVID-19 patients, and so it says."""

    name = "hannover"
    title = "COVID-19 Image Repository (Hannover Medical School)"
    home = "https://github.com/ml-workgroup/covid-19-image-repository"
    download = (
        "https://codeload.github.com/ml-workgroup/covid-19-image-repository/zip/refs/heads/master"
    )
    licence = "CC BY 3.0"
    holds = "243 films of COVID-19 patients, many of intensive care, with laboratory values"
    looked_for = "data.csv with the columns image_id, patient_id and admission_offset"
    faults = (
        "COVID-19 alone; a class of one hospital",
        "some patients have over 20 films; ages are empty",
        "some of its films are in ieee8023's collection, too",
    )
    sheet_name = "data.csv"
    columns = ("image_id", "patient_id", "admission_offset")

    def facts(self, sheet: Sheet, cell: Cells, source: str, notes: ListingNotes) -> Facts:
        """As the others, with the finding that the collection is of."""
        found = super().facts(sheet, cell, source, notes)
        return replace(found, finding="COVID-19")
