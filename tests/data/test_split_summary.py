"""What a split says of the cohort that it made."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pulmospark.core import tables
from pulmospark.core.settings import SplitSettings
from pulmospark.data.split_summary import SplitResult, summary


def _summary(parts: str, settings: SplitSettings) -> SplitResult:
    """Films of one source, a letter each: r for training, t for the test."""
    names = {"r": "train", "t": "test"}
    rows = [
        {
            **dict.fromkeys(tables.COHORT.names),
            **{"image_id": f"{n:064x}", "uri": f"/films/{n}.png", "source": "a", "view": "PA"},
            **{"group_id": f"a:{n}", "patient_id": f"a:{n}", "label": ("ill", "well")[n % 2]},
            "split": names[part],
        }
        for n, part in enumerate(parts)
    ]
    cohort = pa.Table.from_pylist(rows, schema=tables.COHORT)
    classes = {"ill": ("ill",), "well": ("well",)}
    return summary(cohort, Path("cohort"), classes, settings=settings, seed=1)


def test_other_parts_of_the_same_films_are_another_cohort() -> None:
    """As when copies are kept together, and the audits' settings find others."""
    settings = SplitSettings(copies="together")
    one = _summary("rrttrr", settings)
    assert one.cohort_id == _summary("rrttrr", settings).cohort_id
    assert one.cohort_id != _summary("rrrrtt", settings).cohort_id


def test_the_views_that_take_part_are_told() -> None:
    assert _summary("rrtt", SplitSettings(views=("axial",))).views == ("axial",)
