"""What a split says of itself: its record, its warnings, and what it refuses, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data.cohorts import CLASSES, hospital, image, ingested, parted, write_images
from pulmospark.config.split import SplitSettings
from pulmospark.core import limits
from pulmospark.core.errors import ClassError, InputError
from pulmospark.data.cohort.patients_from_names import bounded, name_groups
from pulmospark.data.cohort.split import split
from pulmospark.data.cohort.split_summary import (
    CopiesHandled,
    Exclusion,
    NameGrouping,
    Share,
    SplitResult,
    check_classes,
    grouping_sentences,
    read_split,
)


def test_the_record_holds_the_result_and_how_it_was_made(tmp_path: Path) -> None:
    result, _ = parted(tmp_path, hospital(30), SplitSettings(folds=3), seed=5)
    record = json.loads((tmp_path / "cohort" / "split.json").read_text(encoding="utf-8"))
    assert set(record) == {"result", "provenance"}
    assert record["result"] == result.model_dump(mode="json")
    assert record["provenance"]["seed"] == 5
    assert SplitSettings(folds=3).model_dump(mode="json") in record["provenance"].values()
    assert result.folds == 3
    assert result.findings == {"covid": ("COVID-19",), "normal": ("No Finding",)}
    assert read_split(tmp_path / "cohort") == result
    assert [path.name for path in (tmp_path / "cohort" / "table").glob("*.parquet")] == [
        "cohort.parquet"
    ]


def test_no_split_names_the_step_before(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_split(tmp_path)
    assert caught.value.message == f"{tmp_path}: not split yet: run `pulmospark split` first"


def test_shares_and_exclusions_are_counted_and_in_order(tmp_path: Path) -> None:
    rows = hospital(12) + hospital(12, first=500, source="b")
    rows += [image(900, None, "x"), image(901, "TB", "y"), image(902, "TB", "z", source="b"),
             image(903, None, "w")]  # fmt: skip
    result, found = parted(tmp_path, rows)
    used = [row for row in found if row["reason"] is None]
    assert result.shares == tuple(
        Share(
            split=part, fold=None, label=label, source=source,
            images=len(some), groups=len({row["group_id"] for row in some}),
        )
        for part in ("test", "train", "validation")
        for label in CLASSES
        for source in ("a", "b")
        if (some := [row for row in used
                     if (row["split"], row["label"], row["source"]) == (part, label, source)])
    )  # fmt: skip
    assert result.exclusions == (
        Exclusion(source="a", reason="no finding", images=2),
        Exclusion(source="a", reason="finding of no class: TB", images=1),
        Exclusion(source="b", reason="finding of no class: TB", images=1),
    )
    folded, _ = parted(tmp_path / "folds", rows, SplitSettings(folds=3))
    order = [(one.split, one.fold, one.label, one.source) for one in folded.shares]
    assert order == sorted(order)
    assert {one.fold for one in folded.shares} == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_patients_of_two_classes_are_named(tmp_path: Path, count: int) -> None:
    rows = hospital(30)
    for number in range(count):
        for place, finding in enumerate(("No Finding", "COVID-19")):
            rows.append(image(600 + 2 * number + place, finding, f"two{number}"))
    result, _ = parted(tmp_path, rows)
    names = ", ".join(f"a:two{n} (covid and normal)" for n in range(min(count, 5)))
    have = "patients have" if count > 1 else "patient has"
    more = " and 1 more" if count > 5 else ""
    assert result.warnings == (
        f"{count} {have} images of more than one class, kept in the same split: {names}{more}",
    )


def test_images_of_unknown_patients_are_told_source_by_source(tmp_path: Path) -> None:
    rows = hospital(30)
    rows += [image(600 + n, "COVID-19", None, source="z", study_id=f"s{n // 2}") for n in range(6)]
    rows += [image(700 + n, "No Finding", None, source="b") for n in range(3)]
    result, _ = parted(tmp_path, rows)
    told = (
        "source '{}': {} images have no patient id. Study, scan, names and near copies keep {} of "
        "them in the same split as others; the rest is split by image, so images of one "
        "patient may be on both sides"
    )
    assert result.warnings == (told.format("b", 3, 0), told.format("z", 6, 6))
    assert result.name_groups == (
        NameGrouping(source="b", images=3, grouped=0, groups=3),
        NameGrouping(source="z", images=6, grouped=6, groups=3),
    )
    assert grouping_sentences(result) == (
        "Source 'z': 6 images have no patient id; study, scan or name group 6 of them, 3 groups "
        "in all.",
    )


def test_augmented_copies_are_not_split(tmp_path: Path) -> None:
    rows = hospital(9)
    for place, row in enumerate(rows[:2]):
        row["parent_id"] = f"p{place}"
    images = write_images(tmp_path, rows, parts=3)
    with pytest.raises(InputError) as caught:
        split(ingested(tmp_path, rows), CLASSES, SplitSettings(), tmp_path / "c", seed=1)
    assert caught.value.message == (
        f"{images}: contains 2 augmented copies, which a split could separate from their images: "
        "split first, then expand the training split"
    )


def _result(**changes: Any) -> SplitResult:
    shares = changes.pop("shares", {})
    told = {
        "cohort": Path("c"), "cohort_id": "i", "classes": ("covid", "normal"), "images": 1,
        "excluded": 0, "folds": 0, "exclusions": (), "warnings": (),
        "shares": tuple(
            Share(split=part, fold=fold, label=label, source="a", images=images, groups=1)
            for (part, fold, label), images in shares.items()
        ),
    }  # fmt: skip
    return SplitResult(**{**told, **changes})


_HINT = "compare the classes with the excluded findings"
_ALL = {(part, None, label): 2 for part in ("train", "test") for label in ("covid", "normal")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, f"no image is of class 'covid', 'normal': {_HINT} (none)"),
        ({"shares": {("train", None, "covid"): 3},
          "exclusions": tuple(Exclusion(source=f"s{n}", reason="no finding", images=n)
                              for n in range(7))},
         f"no image is of class 'normal': {_HINT} (" + "; ".join(
             f"{n} of s{n}: no finding" for n in range(6)) + ")"),
        ({"classes": ()}, f"no image has a class: {_HINT} (none)"),
        ({"classes": ("covid",), "shares": {("train", None, "covid"): 3}},
         f"only one class, 'covid': {_HINT} (none)"),
        ({"shares": {key: images for key, images in _ALL.items()
                     if key != ("test", None, "covid")}},
         "test has no image of 'covid' (covid: 2 images in all): use fewer folds, other shares, "
         "or more patients of the class"),
        ({"shares": {("test", None, "covid"): 1000, ("test", None, "normal"): 20}},
         "train has no image of 'covid', 'normal' (covid: 1,000 images in all, normal: 20 "
         "images in "
         "all): use fewer folds, other shares, or more patients of the class"),
        ({"folds": 2, "shares": {("train", 0, "covid"): 1, ("train", 0, "normal"): 1,
                                 ("train", 1, "normal"): 1}},
         "fold 2 has no image of 'covid' (covid: 1 images in all): use fewer folds, other shares, "
         "or more patients of the class"),
    ],
)  # fmt: skip
def test_cohorts_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClassError) as caught:
        check_classes(_result(**changes))
    assert caught.value.message == message


def test_cohorts_that_can_be_used() -> None:
    check_classes(_result(shares=_ALL))
    folds = {("train", fold, label): 1 for fold in (0, 1) for label in ("covid", "normal")}
    check_classes(_result(folds=2, shares=folds))


_COPIES = CopiesHandled(
    how="drop", pairs=1200, across=103, images=2050, clusters=960, groups_before=2257,
    groups_after=1190, tested=0, tested_with_copy=0, distance=12,
)  # fmt: skip


def test_what_dropping_copies_did_and_cost() -> None:
    assert grouping_sentences(_result(copies=_COPIES)) == (
        "1,200 pairs of near copies (2,050 images in 960 clusters), 103 of them between groups: "
        "one image per cluster is kept, none where classes differ. Without this 0 of 0 tested "
        "images would have a near copy in the training split. The cost is 1,067 groups without an "
        "image.",
    )


_ROOT = "/data/set"


def _keys(*names: str, root: str | None = _ROOT) -> list[str | None]:
    found = name_groups(pd.Series([f"{_ROOT}/{name}" for name in names]), root)
    return [None if pd.isna(key) else str(key) for key in found]


def test_the_keys_of_names() -> None:
    assert _keys("P/person7_virus_9.png", "patient-00012.png", "a/Case 7/x.png",
                 "sub-S03/x.png", "P10000032/x.png") == [
        "person7", "patient00012", "case7", "subs03", "p10000032",
    ]  # fmt: skip
    assert _keys("00012/study1/x.png", "00012/study2/deep/y.png", "covid/study1/z.png",
                 "covid/study1/more/z.png", "study9/w.png") == [
        "00012", "00012", "covid/study1", "covid/study1", "study9",
    ]  # fmt: skip
    assert _keys("IM-0115-0001.png", "1234_lateral.png", "12_3_PA.png", "x.png", "PA.png",
                 "77.png", "a-7.png", "a b-7-8.png") == [
        "IM-0115", "1234", "12", None, None, None, None, "a-b-7",
    ]  # fmt: skip
    # A folder called as the file is, is no patient's; a file may be.
    assert _keys("p1234567.png", "p1234567/a.png", root=None) == [None, None]
    assert _keys("patient7/1.png", root=f"{_ROOT}/sheet.csv") == ["patient7"]
    assert _keys("patient7/1.png", root="/elsewhere/set") == [None]
    assert _keys("person3.v1.png", "person4.tar.png") == ["person3", "person4"]


def test_a_study_may_hold_more_of_a_source_than_numbers_at_the_end_of_names() -> None:
    """Up to half of it; what is read from numbers at the end, up to a fifth."""
    others = [f"x{chr(97 + n)}.png" for n in range(14)]
    assert 0.2 < 6 / 20 < 0.5
    studies = _keys(*(f"covid/study1/{n}.png" for n in range(6)), *others)
    assert studies == ["covid/study1"] * 6 + [None] * 14
    numbered = _keys(*(f"IM-0115-000{n}.png" for n in range(6)), *others)
    assert numbered == [None] * 20


def test_a_key_of_too_many_images_is_none() -> None:
    few = pd.Series(["a"] * 12 + ["b"] * 3 + [None] * 5, dtype=object)
    assert bounded(few, 12 / 20).tolist() == few.tolist()
    assert bounded(few, 0.59).isna().all()
    # Of a small source one key may always have a few.
    small = pd.Series(["a"] * limits.NAME_GROUP_IMAGES + ["b"], dtype=object)
    assert bounded(small, 0.0).tolist() == small.tolist()
    assert bounded(pd.Series(["a", *small], dtype=object), 0.0).isna().all()
    none = pd.Series([None, None], dtype=object)
    assert bounded(none, 0.0).isna().all()
