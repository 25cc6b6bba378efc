"""Actualmed: ``metadata.csv`` (Windows-1252) next to ``images/``."""

from __future__ import annotations

from pulmospark.layouts.parsing.single_sheet import OneSheet


class Actualmed(OneSheet):
    """Findings ``COVID-19``, ``No finding``; inconclusive images have none."""

    name = "actualmed"
    title = "Actualmed COVID-19 chest X-ray dataset"
    home = "https://github.com/agchung/Actualmed-COVID-chestxray-dataset"
    download = "https://codeload.github.com/agchung/Actualmed-COVID-chestxray-dataset/zip/refs/heads/master"
    licence = "according to its publishers"
    holds = "238 images from one provider, COVID-19 and not"
    looked_for = "metadata.csv with the columns imagename, patientid and finding"
    faults = (
        "metadata.csv is Windows-1252",
        "inconclusive images have an empty finding",
        "one patient may have images with and without COVID-19",
    )
    sheet_name = "metadata.csv"
    columns = ("imagename", "patientid", "finding")
