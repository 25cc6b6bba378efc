"""Small images tables without films, and the cohorts that a split makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark.core import tables
from pulmospark.core.settings import SplitSettings
from pulmospark.data.split import SplitResult, split

Row = dict[str, Any]
CLASSES = {"covid": ("COVID-19",), "normal": ("No Finding",)}


def image(number: int, finding: str | None, patient: str | None, **other: Any) -> Row:
    """A row of the images table; ``other`` replaces what it holds."""
    source = other.get("source", "a")
    row: Row = dict.fromkeys(tables.IMAGES.names)
    row |= {
        "image_id": hashlib.sha256(str(number).encode()).hexdigest(),
        "uri": f"/films/{number:05d}.png",
        "source": source,
        "patient_id": None if patient is None else f"{source}:{patient}",
        "finding": finding,
        "view": "PA",
        "modality": "X-ray",
        "view_measured": False,
        "format": "png",
        "size_bytes": 1,
        "modified_ns": 1,
        "height": 16,
        "width": 16,
        "pixels": b"\0" * 256,
        "phash": number,
    }
    return row | other


def hospital(patients: int, *, each: int = 2, first: int = 0, source: str = "a") -> list[Row]:
    """Patients with 1 to ``each`` films, the findings in turn."""
    rows = []
    for patient in range(patients):
        finding = ("COVID-19", "No Finding", "No Finding")[patient % 3]
        for film in range(1 + patient % each):
            number = first + patient * each + film
            rows.append(image(number, finding, f"p{patient}", source=source))
    return rows


def write_images(folder: Path, rows: Sequence[Row], parts: int = 1) -> Path:
    """Write an images table in some number of files."""
    target = folder / "images"
    target.mkdir(parents=True)
    for part in range(parts):
        table = pa.Table.from_pylist(list(rows[part::parts]), schema=tables.IMAGES)
        pq.write_table(table, target / f"{part}.parquet")
    return target


def parted(
    spark: SparkSession,
    folder: Path,
    rows: Sequence[Row],
    settings: SplitSettings | None = None,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    seed: int = 1,
    parts: int = 1,
) -> tuple[SplitResult, list[Row]]:
    """The result of a split, and the rows of its cohort by ``uri``."""
    images = write_images(folder, rows, parts)
    result = split(
        images,
        CLASSES if classes is None else classes,
        settings or SplitSettings(),
        folder / "cohort",
        spark,
        seed=seed,
    )
    table = pq.read_table(folder / "cohort" / "table")
    return result, sorted(table.to_pylist(), key=lambda row: str(row["uri"]))
