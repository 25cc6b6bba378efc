"""The 14 columns of CheXpert's labeller: 1 said, 0 denied, -1 uncertain, empty not mentioned."""

from __future__ import annotations

from pulmospark.layouts.sheet import Cells, Sheet

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip

UNCERTAIN_OPTION = (
    "'leave' (default) uncertain labels (-1) out of the finding, or count them as 'positive'"
)


def label_columns(sheet: Sheet) -> dict[str, str]:
    """Label -> the sheet's column, of those that it has."""
    found = {label: sheet.column(label) for label in LABELS}
    return {label: column for label, column in found.items() if column is not None}


def finding(cell: Cells, columns: dict[str, str], *, uncertain: bool) -> str | None:
    """The labels that are said, with ``|`` between; ``None`` where none is.

    Args:
        cell: of the row.
        columns: label -> column.
        uncertain: whether an uncertain label counts as said.
    """
    counted = {"1", "1.0", "-1", "-1.0"} if uncertain else {"1", "1.0"}
    said = [label for label, column in columns.items() if cell(column).strip() in counted]
    return "|".join(said) or None
