"""The id of a cohort: of who is where, whatever the order of the rows and wherever films lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.expansions import Row, member
from pulmospark.core import tables
from pulmospark.core.settings import SplitSettings
from pulmospark.data.split_summary import summary

_CLASSES = {"covid": ("covid",), "normal": ("normal",)}
_PARTS = ("train", "validation", "test")


def _rows() -> list[Row]:
    return [member(n, ("covid", "normal")[n % 2], _PARTS[n % 3]) for n in range(12)]


def _id(rows: Sequence[Row]) -> str:
    cohort = pa.Table.from_pylist(list(rows), schema=tables.COHORT)
    return summary(cohort, Path("cohort"), _CLASSES, settings=SplitSettings(), seed=1).cohort_id


@pytest.mark.parametrize(
    "change",
    [
        {"split": "test"},
        {"fold": 1},
        {"label": "normal"},
        {"group_id": "noise:1"},
        {"image_id": "f" * 64},
        {"split": "excluded", "reason": "no finding"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_film_elsewhere_is_another_cohort(change: dict[str, Any]) -> None:
    rows = _rows()
    assert _id([rows[0] | change, *rows[1:]]) != _id(rows)


def test_order_paths_and_names_of_groups_do_not_matter() -> None:
    rows = _rows()
    moved = [
        row | {"uri": f"/elsewhere{row['uri']}", "group_id": f"other {row['group_id']}"}
        for row in reversed(rows)
    ]
    assert _id(moved) == _id(rows)


def test_films_that_are_left_out_do_not_matter() -> None:
    rows = _rows()
    assert _id([*rows, member(99, None, "excluded")]) == _id(rows)


def test_the_views_that_take_part_are_told() -> None:
    cohort = pa.Table.from_pylist(_rows(), schema=tables.COHORT)
    settings = SplitSettings(views=("axial",))
    told = summary(cohort, Path("cohort"), _CLASSES, settings=settings, seed=1)
    assert told.views == ("axial",)
