"""Small images tables without images, and the cohorts that a split makes of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.config.split import SplitSettings
from pulmospark.core import schemas
from pulmospark.data.cohort.split import Search, split
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.data.ingest.ingest import IngestResult
from pulmospark.layouts.manifest import SourceListing
from pulmospark.layouts.notes import ListingNotes

Row = dict[str, Any]
CLASSES = {"covid": ("COVID-19",), "normal": ("No Finding",)}


def image(number: int, finding: str | None, patient: str | None, **other: Any) -> Row:
    """A row of the images table; ``other`` replaces what it holds."""
    source = other.get("source", "a")
    row: Row = dict.fromkeys(schemas.IMAGES.names)
    row |= {
        "image_id": hashlib.sha256(str(number).encode()).hexdigest(),
        "uri": f"/images/{number:05d}.png",
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
    """Patients with 1 to ``each`` images, the findings in turn."""
    rows = []
    for patient in range(patients):
        finding = ("COVID-19", "No Finding", "No Finding")[patient % 3]
        for place in range(1 + patient % each):
            number = first + patient * each + place
            rows.append(image(number, finding, f"p{patient}", source=source))
    return rows


def write_images(folder: Path, rows: Sequence[Row], parts: int = 1) -> Path:
    """Write an images table in some number of files."""
    target = folder / "images"
    target.mkdir(parents=True)
    for part in range(parts):
        table = pa.Table.from_pylist(list(rows[part::parts]), schema=schemas.IMAGES)
        pq.write_table(table, target / f"{part}.parquet")
    return target


def ingested(folder: Path, rows: Sequence[Row]) -> IngestResult:
    """What an ingest would say of these rows."""
    sources = sorted({row["source"] for row in rows})
    return IngestResult(
        tables=folder,
        images=len(rows),
        rejects=0,
        files=len(rows),
        already=0,
        formats={},
        rejects_by_reason={},
        sources=tuple(
            _listing(name, [r for r in rows if r["source"] == name]) for name in sources
        ),
    )


def _listing(source: str, rows: Sequence[Row]) -> SourceListing:
    findings = Counter(row["finding"] for row in rows if row["finding"] is not None)
    return SourceListing(
        name=source,
        layout="csv",
        title="rows of a test",
        home="",
        licence="",
        path="",
        files=len(rows),
        findings=dict(findings),
        without_finding=len(rows) - findings.total(),
        views={},
        published_splits={},
        with_patient=0,
        with_mask=0,
        notes=ListingNotes().summary(),
    )


def parted(
    folder: Path,
    rows: Sequence[Row],
    settings: SplitSettings | None = None,
    *,
    classes: Mapping[str, Sequence[str]] | None = None,
    seed: int = 1,
    parts: int = 1,
    search: Search | None = None,
) -> tuple[SplitResult, list[Row]]:
    """The result of a split, and the rows of its cohort by ``uri``."""
    write_images(folder, rows, parts)
    result = split(
        ingested(folder, rows),
        CLASSES if classes is None else classes,
        settings or SplitSettings(),
        folder / "cohort",
        seed=seed,
        search=search,
    )
    table = pq.read_table(folder / "cohort" / "table")
    return result, sorted(table.to_pylist(), key=lambda row: str(row["uri"]))
