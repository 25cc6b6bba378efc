"""Read the cohort table without Spark: the images of each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.core import schemas
from pulmospark.core.arrays import Mask
from pulmospark.core.schemas import Split


@dataclass(frozen=True)
class Part:
    """A split of a cohort, or of one of its folds.

    Attributes:
        name: train, validation or test.
        fold: with folds, the one that is tested on; ``None`` with one split, and for the final
            model of a cross-validation, which has no test fold.
    """

    name: Split
    fold: int | None = None


def read_cohort(cohort: Path, columns: list[str] | None = None) -> pa.Table:
    """The included rows of a cohort, ordered by ``uri``."""
    rows = pq.read_table(cohort / "table", schema=schemas.COHORT)
    rows = rows.filter(pc.is_null(rows["reason"])).sort_by("uri")
    return rows.select(columns) if columns else rows


def in_part(rows: pa.Table, part: Part) -> Mask:
    """Which rows of a cohort are in a part; bool (n,)."""
    split = np.asarray(rows["split"].to_pylist(), dtype=object)
    if part.fold is None:
        return np.asarray(split == part.name.value, dtype=np.bool_)
    inside = np.asarray(rows["fold"].to_numpy(zero_copy_only=False) == part.fold, dtype=np.bool_)
    if part.name is Split.TEST:
        return inside
    return ~inside & np.asarray(split == part.name.value, dtype=np.bool_)
