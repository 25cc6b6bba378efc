"""The id of a cohort: of who is where, whatever the order of the rows and wherever images lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.expansions import Row, member
from pulmospark.config.split import SplitSettings
from pulmospark.core import schemas
from pulmospark.data.cohort.split_summary import (
    CopiesHandled,
    NameGrouping,
    SplitResult,
    grouping_sentences,
    summary,
)

_CLASSES = {"covid": ("covid",), "normal": ("normal",)}
_PARTS = ("train", "validation", "test")


def _rows() -> list[Row]:
    return [member(n, ("covid", "normal")[n % 2], _PARTS[n % 3]) for n in range(12)]


def _id(rows: Sequence[Row]) -> str:
    cohort = pa.Table.from_pylist(list(rows), schema=schemas.COHORT)
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
def test_one_image_elsewhere_is_another_cohort(change: dict[str, Any]) -> None:
    rows = _rows()
    assert _id([rows[0] | change, *rows[1:]]) != _id(rows)


def test_order_paths_and_names_of_groups_do_not_matter() -> None:
    rows = _rows()
    moved = [
        row | {"uri": f"/elsewhere{row['uri']}", "group_id": f"other {row['group_id']}"}
        for row in reversed(rows)
    ]
    assert _id(moved) == _id(rows)


def test_images_that_are_left_out_do_not_matter() -> None:
    rows = _rows()
    assert _id([*rows, member(99, None, "excluded")]) == _id(rows)


def test_the_views_that_take_part_are_told() -> None:
    cohort = pa.Table.from_pylist(_rows(), schema=schemas.COHORT)
    settings = SplitSettings(views=("axial",))
    told = summary(cohort, Path("cohort"), _CLASSES, settings=settings, seed=1)
    assert told.views == ("axial",)


def _result(**changes: Any) -> SplitResult:
    rows = pa.Table.from_pylist(_rows(), schema=schemas.COHORT)
    told = summary(rows, Path("cohort"), _CLASSES, settings=SplitSettings(), seed=1)
    return told.model_copy(update=changes)


_COPIES = CopiesHandled(
    how="together", pairs=118, across=103, images=205, clusters=96, groups_before=2257,
    groups_after=2190, tested=1000, tested_with_copy=154, distance=12,
)  # fmt: skip


def test_what_the_safe_choice_did_and_cost_is_said_with_its_counts() -> None:
    named = NameGrouping(source="x", images=300, grouped=120, groups=240)
    told = grouping_sentences(_result(copies=_COPIES, name_groups=(named,)))
    assert told == (
        "Source 'x': 300 images have no patient id; study, scan or name group 120 of them, 240 "
        "groups in all.",
        "118 pairs of near copies (205 images in 96 clusters), 103 of them between groups, are "
        "kept in the same split: 2,257 groups become 2,190. Without this 154 of 1,000 tested "
        "images (15.4%) would have a near copy in the training split. The cost is 67 fewer "
        "independent groups, and correspondingly wider CIs.",
    )
    counts = {"pairs": 1, "images": 2, "clusters": 1, "across": 1}
    single = _COPIES.model_copy(update={**counts, "groups_before": 120, "groups_after": 119})
    (sentence,) = grouping_sentences(_result(copies=single))
    assert sentence.startswith("1 pair of near copies (2 images in 1 cluster), 1 of them between")
    assert "is kept in the same split: 120 groups become 119" in sentence
    assert "The cost is 1 fewer independent group, and" in sentence
    dropped = _COPIES.model_copy(update={"how": "drop"})
    assert "one image per cluster is kept" in grouping_sentences(_result(copies=dropped))[0]
    none = _COPIES.model_copy(update={"pairs": 0})
    assert grouping_sentences(_result(copies=none)) == ("No near copies were found.",)
    alone = named.model_copy(update={"grouped": 0})
    assert grouping_sentences(_result(name_groups=(alone,))) == ()
