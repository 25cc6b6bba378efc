"""The table of near-copy pairs that a search detected, for manual review.

Written as Parquet and as CSV for a spreadsheet, with the same rows: pairs that leak first, then
pairs across sources, the most similar first.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.audit.subject import Subject
from pulmospark.core import files
from pulmospark.core.csv_files import write_row
from pulmospark.data.duplicates.near_duplicates import NearCopies

PARQUET, CSV = "near_copies.parquet", "near_copies.csv"
_FACTS = ("uri", "image_id", "source", "label")
"""what a spreadsheet takes for the beginning of a formula"""


def pairs_of(subject: Subject, copies: NearCopies) -> pa.Table:
    """One row per pair of near copies.

    Columns: of each image ``uri``, ``image_id``, ``source``, ``label`` and ``part`` (``first_``
    and ``second_``); ``correlation`` of one laid over the other; ``cluster`` (number);
    ``same_patient`` (no patient known: false), ``same_group`` (kept in the same split),
    ``leak`` (one is tested by a model trained on the other).
    """
    first, second = copies.first, copies.second
    columns: dict[str, object] = {}
    for side, rows in (("first", first), ("second", second)):
        for name in _FACTS:
            columns[f"{side}_{name}"] = subject.rows[name].take(pa.array(rows, pa.int64()))
        columns[f"{side}_part"] = pa.array(subject.parts[rows].tolist(), pa.string())
    patients, groups, sources = subject.patients, subject.groups, subject.column("source")
    leak = subject.leaks(first, second)
    across = np.asarray(sources[first] != sources[second], np.bool_)
    table = pa.table(
        {
            **columns,
            "correlation": copies.correlation,
            "cluster": copies.clusters[first],
            "same_patient": patients[first] == patients[second],
            "same_group": groups[first] == groups[second],
            "leak": leak,
        }
    )
    return table.take(pa.array(np.lexsort((-copies.correlation, ~across, ~leak))))


def write_pairs(table: pa.Table, folder: Path) -> None:
    """Write a table of pairs into a folder, as ``near_copies.parquet`` and ``.csv``.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    with files.disk_errors(folder):
        pq.write_table(table, folder / PARQUET)
    files.write_text(folder / CSV, as_csv(table))


def as_csv(table: pa.Table) -> str:
    """A table as CSV, for spreadsheets; see :mod:`pulmospark.core.csv_files`."""
    text = io.StringIO(newline="")
    write_row(text, table.column_names)
    for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        write_row(text, [f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row])
    return text.getvalue()
