"""Split: no patient on both sides, strata kept, the same for ever, and said what is odd."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.cohorts import CLASSES, Row, hospital, image, parted
from pulmospark.config.split import ImagesPerSplit, SplitSettings
from pulmospark.core import schemas
from pulmospark.core.errors import ClassError, InputError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.assignment import part_ends
from pulmospark.data.cohort.split_summary import SplitResult, read_split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.ingest.ingest import read_ingest

Cohort = tuple[SplitResult, list[Row]]
_FOLDS = 4


def _two_hospitals() -> list[Row]:
    """120 patients of one source and 60 of another, and images that are left out."""
    return [
        *hospital(120, each=3),
        *hospital(60, first=1000, source="b"),
        image(2000, "COVID-19", "p1", view="lateral"),
        image(2001, None, "p2"),
        image(2002, "Pneumothorax", "p3"),
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return parted(tmp_path_factory.mktemp("one"), _two_hospitals())


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    settings = SplitSettings(folds=_FOLDS)
    return parted(tmp_path_factory.mktemp("folded"), _two_hospitals(), settings)


def _used(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["reason"] is None]


def test_one_row_an_image_and_each_left_out_has_its_reason(one: Cohort) -> None:
    result, rows = one
    assert [row["uri"] for row in rows] == sorted(row["uri"] for row in _two_hospitals())
    assert pq.read_schema(next((result.cohort / "table").glob("*.parquet"))).names == (
        schemas.COHORT.names
    )
    reasons = {row["uri"][-10:-4]: row["reason"] for row in rows if row["split"] == "excluded"}
    assert reasons == {
        "/02000": "view: lateral",
        "/02001": "no finding",
        "/02002": "finding of no class: Pneumothorax",
    }
    assert (result.images, result.excluded) == (len(rows) - 3, 3)
    assert sum(one.images for one in result.exclusions) == 3
    assert sum(share.images for share in result.shares) == result.images
    assert all((row["label"] is None) == (row["reason"] is not None) for row in rows)


_PATIENT = {row["uri"]: row["patient_id"] for row in _two_hospitals()}
"""whose image is whose, as the test made it up"""


@pytest.mark.parametrize("kind", ["one", "folded"])
def test_the_images_of_a_patient_are_in_one_part(
    kind: str, request: pytest.FixtureRequest
) -> None:
    _, rows = request.getfixturevalue(kind)
    parts, groups = defaultdict(set), defaultdict(set)
    for row in _used(rows):
        parts[_PATIENT[row["uri"]]].add((row["split"], row["fold"]))
        groups[row["group_id"]].add(_PATIENT[row["uri"]])
    assert len(parts) == 180
    assert all(len(found) == 1 for found in parts.values())
    assert all(len(found) == 1 for found in groups.values())
    assert max(Counter(_PATIENT[row["uri"]] for row in _used(rows)).values()) == 3


def test_each_class_of_each_source_has_its_share(one: Cohort) -> None:
    _, rows = one
    splits: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in _used(rows):
        splits[row["source"], row["label"]].append(row["split"])
    for members in splits.values():
        counts = Counter(members)
        for name, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
            # Patients have up to three images, and one that comes before may be owed.
            assert abs(counts[name] - share * len(members)) <= 3, (counts, len(members))


def test_folds_have_like_numbers_of_each_class_and_source(folded: Cohort) -> None:
    result, rows = folded
    assert result.folds == _FOLDS
    for source in ("a", "b"):
        for label in CLASSES:
            here = [r for r in _used(rows) if (r["source"], r["label"]) == (source, label)]
            people = Counter(f for _, f in {(_PATIENT[r["uri"]], r["fold"]) for r in here})
            assert max(people.values()) - min(people.values()) <= 2
            images = Counter(row["fold"] for row in here)
            assert set(images) == set(range(_FOLDS))
            assert max(images.values()) - min(images.values()) <= 3


def test_folds_test_each_image_once_and_never_one_they_learn_from(folded: Cohort) -> None:
    result, _ = folded
    rows = read_cohort(result.cohort)
    tested = sum(in_part(rows, Part(schemas.Split.TEST, k)).astype(int) for k in range(_FOLDS))
    assert set(np.asarray(tested).tolist()) == {1}
    groups = [_PATIENT[uri] for uri in rows["uri"].to_pylist()]
    for k in range(_FOLDS):
        sides = {
            name: {g for g, here in zip(groups, in_part(rows, Part(name, k)), strict=True) if here}
            for name in (schemas.Split.TRAIN, schemas.Split.VALIDATION, schemas.Split.TEST)
        }
        assert sides[schemas.Split.VALIDATION]
        assert not sides[schemas.Split.TEST] & sides[schemas.Split.TRAIN]
        assert not sides[schemas.Split.TEST] & sides[schemas.Split.VALIDATION]
        assert not sides[schemas.Split.TRAIN] & sides[schemas.Split.VALIDATION]


def test_order_and_partitions_of_the_rows_do_not_matter(one: Cohort, tmp_path: Path) -> None:
    rows = _two_hospitals()
    random.Random(7).shuffle(rows)
    result, found = parted(tmp_path, rows, parts=5)
    assert found == one[1]
    assert result.cohort_id == one[0].cohort_id
    assert result.shares == one[0].shares


def test_another_seed_is_another_split(one: Cohort, tmp_path: Path) -> None:
    result, rows = parted(tmp_path, _two_hospitals(), seed=2)
    assert result.cohort_id != one[0].cohort_id
    moved = sum(a["split"] != b["split"] for a, b in zip(rows, one[1], strict=True))
    assert moved > len(rows) / 10


def test_the_other_source_does_not_matter_much(one: Cohort, tmp_path: Path) -> None:
    """A set that comes later in the alphabet leaves those before it where they were."""
    _, rows = parted(tmp_path, hospital(120, each=3))
    before = {row["uri"]: row["split"] for row in rows}
    after = {row["uri"]: row["split"] for row in one[1]}
    assert before == {uri: after[uri] for uri in before}


def test_result_can_be_read_again(folded: Cohort) -> None:
    assert read_split(folded[0].cohort) == folded[0]


def test_warnings_name_what_is_odd(tmp_path: Path) -> None:
    rows = hospital(30)
    rows += [image(500 + n, "COVID-19", None, source="images") for n in range(3)]
    rows += [image(600, "COVID-19", "both"), image(601, "No Finding", "both")]
    result, found = parted(tmp_path, rows)
    text = "\n".join(result.warnings)
    assert "'images': 3 images have no patient id" in text
    assert "keep 0 of them" in text
    assert "1 patient has images of more than one class" in text
    assert "a:both (covid and normal)" in text
    both = {row["split"] for row in found if row["patient_id"] == "a:both"}
    assert len(both) == 1
    alone = [row for row in found if row["source"] == "images"]
    assert all(row["group_id"] == row["image_id"] for row in alone)


def test_identical_files_count_once_and_conflicts_not_at_all(tmp_path: Path) -> None:
    rows = hospital(30)
    twin, other = rows[0]["image_id"], rows[4]["image_id"]
    conflict = "No Finding" if rows[4]["finding"] == "COVID-19" else "COVID-19"
    rows.append(image(700, rows[0]["finding"], "twin", image_id=twin))
    rows.append(image(701, conflict, "conflict", image_id=other))
    rows.append(image(702, "COVID-19", "side", image_id=rows[6]["image_id"], view="lateral"))
    result, found = parted(tmp_path, rows)
    reasons = {row["uri"]: row["reason"] for row in found if row["reason"]}
    assert reasons == {
        "/images/00700.png": "identical file",
        "/images/00701.png": "label conflict between identical files",
        rows[4]["uri"]: "label conflict between identical files",
        "/images/00702.png": "view: lateral",  # the one that takes part keeps its place
    }
    assert {one.reason: one.images for one in result.exclusions} == dict(Counter(reasons.values()))


def test_without_classes_each_finding_is_one(tmp_path: Path) -> None:
    result, rows = parted(tmp_path, hospital(30), classes={})
    assert result.classes == ("COVID-19", "No Finding")
    assert all(row["label"] == row["finding"] for row in rows)


_ALONE = [*[image(n, "No Finding", f"p{n}") for n in range(20)], image(99, "COVID-19", "c")]


@pytest.mark.parametrize(
    ("rows", "settings", "words"),
    [
        ([image(1, "TB", None)], SplitSettings(), "no image is of class 'covid', 'normal'"),
        (_ALONE[:-1], SplitSettings(), "no image is of class 'covid'"),
        (
            _ALONE,
            SplitSettings(folds=3),
            "fold 2 has no image of 'covid' (covid: 1 images in all)",
        ),
        (_ALONE, SplitSettings(), "test has no image of 'covid'"),
    ],
)
def test_what_cannot_be_split_is_said_in_one_line(
    rows: list[Row], settings: SplitSettings, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ClassError) as caught:
        parted(tmp_path, rows, settings)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert not (tmp_path / "cohort").exists()


def test_no_images_table_names_the_step_before(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pulmospark ingest"):
        read_ingest(tmp_path / "no")


@pytest.mark.parametrize(("rows", "words"), [([], "no image"), (_ALONE[:-1], "only one class")])
def test_fewer_than_two_findings(rows: list[Row], words: str, tmp_path: Path) -> None:
    with pytest.raises(ClassError, match=words):
        parted(tmp_path, rows, classes={})


def test_images_are_counted_class_by_class_and_no_patient_parted(tmp_path: Path) -> None:
    wanted = {
        "covid": ImagesPerSplit(train=30, validation=5, test=15),
        "normal": ImagesPerSplit(train=60, validation=10, test=20),
    }
    result, rows = parted(tmp_path, _two_hospitals(), SplitSettings(images=wanted))
    images = Counter((row["label"], row["split"]) for row in _used(rows))
    for name, parts in wanted.items():
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST):
            most = getattr(parts, part.value)
            # Patients of up to three images are not parted to fill a part.
            assert most - 3 < images[name, part.value] <= most + 2
        assert sum(images[name, part.value] for part in Split) <= parts.total
    assert result.excluded == len(rows) - sum(images.values())
    places: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["reason"] is None or row["reason"].startswith("beyond"):
            places[row["group_id"]].add(row["split"])
    assert all(len(found) == 1 for found in places.values())
    assert any(found == {Split.EXCLUDED.value} for found in places.values())


def test_no_image_is_lost_to_rounding(tmp_path: Path) -> None:
    many = ImagesPerSplit(train=50, test=50)
    rows = [
        image(100 * place + n, finding, f"{place}-{n}")
        for place, finding in enumerate(("COVID-19", "No Finding"))
        for n in range(58)
    ]
    _, found = parted(tmp_path, rows, SplitSettings(images=dict.fromkeys(CLASSES, many)))
    images = Counter((row["label"], row["split"]) for row in found)
    # In doubles 50 times 58 / 100 is less than 29.
    assert images == {(name, part): 29 for name in CLASSES for part in ("train", "test")}


def test_ends_of_parts_are_whole_shares_rounded_down() -> None:
    draw = random.Random(3)
    for most in (5, 50, 500, 50_000):
        for _ in range(500):
            test, train = draw.randint(1, most), draw.randint(1, most)
            validation, there = draw.randint(0, most), draw.randint(1, most)
            parts = ImagesPerSplit(train=train, validation=validation, test=test)
            share = min(Fraction(1), Fraction(there, test + validation + train))
            ends = [floor(n * share) for n in (test, test + validation, parts.total)]
            assert list(part_ends(parts, there)) == ends
            assert ends[2] == min(there, parts.total)


def test_a_class_with_fewer_images_keeps_the_proportions(tmp_path: Path) -> None:
    many = ImagesPerSplit(train=6000, validation=1000, test=3000)
    _, rows = parted(
        tmp_path, _two_hospitals(), SplitSettings(images=dict.fromkeys(CLASSES, many))
    )
    used = _used(rows)
    images = Counter(row["split"] for row in used)
    assert images["test"] / len(used) == pytest.approx(0.3, abs=0.03)
    assert images["validation"] / len(used) == pytest.approx(0.1, abs=0.03)
    assert not [row for row in rows if (row["reason"] or "").startswith("beyond")]
