"""The 14 columns of CheXpert's labeller: 1 present, 0 absent, -1 uncertain, empty unmentioned."""

from __future__ import annotations

from pulmospark.layouts.parsing.sheet import Cells, Sheet

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip

UNCERTAIN_OPTION = "'leave' (default) uncertain labels (-1) out, or count them as 'positive'"


def label_columns(sheet: Sheet) -> dict[str, str]:
    """Label -> the sheet's column, for the columns that exist."""
    columns = {label: sheet.column(label) for label in LABELS}
    return {label: column for label, column in columns.items() if column is not None}


def finding(cell: Cells, columns: dict[str, str], *, uncertain: bool) -> str | None:
    """The positive labels, separated by ``|``; ``None`` if there are none.

    Args:
        cell: of the row.
        columns: label -> column.
        uncertain: whether uncertain labels count as positive.
    """
    counted = {"1", "1.0", "-1", "-1.0"} if uncertain else {"1", "1.0"}
    present = [label for label, column in columns.items() if cell(column).strip() in counted]
    return "|".join(present) or None
