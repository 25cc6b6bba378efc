"""Figure 1: ``metadata.csv`` (Windows-1252) next to ``images/``."""

from __future__ import annotations

import re
from dataclasses import replace

from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.parsing.sheet import Cells, Facts, Sheet
from pulmospark.layouts.parsing.single_sheet import OneSheet

_IMAGE_LETTER = re.compile(r"(?<=[0-9])[a-z]$")


class Figure1(OneSheet):
    """The sheet's ``patientid`` names an image; its number is the patient's."""

    name = "figure1"
    title = "Figure 1 COVID-19 chest X-ray dataset"
    home = "https://github.com/agchung/Figure1-COVID-chestxray-dataset"
    download = (
        "https://codeload.github.com/agchung/Figure1-COVID-chestxray-dataset/zip/refs/heads/master"
    )
    licence = "according to its publishers"
    holds = "55 images sent in by physicians, mostly COVID-19"
    looked_for = "metadata.csv with the columns patientid, finding and artifacts/distortion"
    faults = (
        "metadata.csv is Windows-1252",
        "many rows have no finding; ages as 50+",
        "patientid names an image: COVID-00003a and COVID-00003b are one patient",
    )
    sheet_name = "metadata.csv"
    # The column originalfile was dropped in April 2020. No other column names the image, which
    # distinguishes the sheet from Actualmed's (imagename) and ieee8023's (filename).
    columns = ("patientid", "finding", "artifacts/distortion")
    other_columns = ("imagename", "filename")

    def facts(self, sheet: Sheet, cell: Cells, source: str, notes: ListingNotes) -> Facts:
        """``COVID-00003a`` and ``COVID-00003b`` are two images of one patient."""
        row = super().facts(sheet, cell, source, notes)
        patient = row.patient_id and _IMAGE_LETTER.sub("", row.patient_id)
        return replace(row, patient_id=patient)
