"""Cohorts with images of noise, written without Spark, and what an expansion makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks import chunks_of, write_part
from pulmospark.config.expand import ExpandSettings
from pulmospark.core import files, schemas
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.data.expand.plan import choose_parents, copies_of, write_plan
from pulmospark.data.expand.table import RECORD, TABLE, ExpandResult
from pulmospark.data.expand.tasks import ExpandWork

SIDE = 12
CLASSES = ("covid", "normal")
Row = dict[str, Any]


def member(number: int, label: str | None = "covid", split: str = "train", **other: Any) -> Row:
    """A row of a cohort; ``other`` replaces what it holds."""
    row: Row = dict.fromkeys(schemas.COHORT.names)
    row |= {
        "image_id": hashlib.sha256(str(number).encode()).hexdigest(),
        "uri": f"/images/{number:05d}.png",
        "source": "noise",
        "patient_id": f"noise:{number}",
        "group_id": f"noise:{number}",
        "finding": label,
        "label": label,
        "view": "PA",
        "age": 40.5,
        "split": split,
        "reason": None if split != "excluded" else "no finding",
    }
    return row | other


def pixels_of(uri: str, side: int = SIDE) -> bytes:
    """The image at a path: noise, another for each."""
    seed = int.from_bytes(hashlib.sha256(uri.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).integers(0, 256, side * side, dtype=np.uint8).tobytes()


def write_cohort(
    folder: Path, rows: Sequence[Row], *, folds: int = 0, parts: int = 2, side: int = SIDE
) -> tuple[Path, Path]:
    """``folder/tables/images`` and ``folder/cohort`` of these rows."""
    images, cohort = folder / "tables" / "images", folder / "cohort"
    images.mkdir(parents=True)
    (cohort / "table").mkdir(parents=True)
    image_rows = [_image(row, side) for row in rows]
    for part in range(parts):
        table = pa.Table.from_pylist(image_rows[part::parts], schema=schemas.IMAGES)
        pq.write_table(table, images / f"{part}.parquet", row_group_size=5)
    table = pa.Table.from_pylist(list(rows), schema=schemas.COHORT)
    pq.write_table(table, cohort / "table" / "0.parquet")
    used = [row for row in rows if row["reason"] is None]
    result = SplitResult(
        cohort=cohort,
        cohort_id=hashlib.sha256(repr(rows).encode()).hexdigest(),
        classes=CLASSES,
        images=len(used),
        excluded=len(rows) - len(used),
        folds=folds,
        shares=(),
        exclusions=(),
        warnings=(),
    )
    files.write_json(cohort / "split.json", {"result": result.model_dump(mode="json")})
    return images, cohort


def _image(row: Row, side: int) -> Row:
    image: Row = dict.fromkeys(schemas.IMAGES.names)
    image |= {name: row[name] for name in schemas.IMAGES.names if name in row}
    return image | {
        "modality": "X-ray",
        "view_measured": False,
        "format": "png",
        "size_bytes": 1,
        "modified_ns": 1,
        "height": side,
        "width": side,
        "pixels": pixels_of(row["uri"], side),
        "phash": 0,
    }


def expand_here(
    images: Path, cohort: Path, settings: ExpandSettings, target: Path, seed: int = 1
) -> pa.Table:
    """The expanded table, made in this process: the plan and the work, without Spark."""
    rows = pq.read_table(cohort / "table", schema=schemas.COHORT)
    parents = choose_parents(rows)
    children, _ = copies_of(
        parents["label"].to_pylist(),
        parents["image_id"].to_pylist(),
        CLASSES,
        settings.per_class,
        seed,
    )
    target.parent.mkdir(exist_ok=True)
    plan = target.parent / "plan.parquet"
    write_plan(parents, children, images, plan, image_bytes=SIDE * SIDE)
    (target / TABLE).mkdir(parents=True)
    work = ExpandWork(str(images), settings.augment, seed)
    with pq.ParquetFile(plan) as file:
        for chunk in chunks_of([plan]):
            made = work(file.read_row_group(chunk.row_group))
            write_part(made["expanded"], target / TABLE / f"{chunk.row_group}.parquet")
    told = files.read_json(cohort / "split.json")["result"]
    result = ExpandResult(
        expanded=target,
        cohort_id=told["cohort_id"],
        per_class=settings.per_class,
        rows=0,
        images=0,
        copies=0,
        classes=(),
        warnings=(),
    )
    files.write_json(target / RECORD, {"result": result.model_dump(mode="json")})
    return pq.read_table(target / TABLE)
