"""The plan of an expansion: so many a class, dealt evenly, and never out of the training part."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.expansions import CLASSES, SIDE, Row, expand_here, member, pixels_of, write_cohort
from pulmospark.augment.apply import apply
from pulmospark.augment.operations import from_json
from pulmospark.config.expand import ExpandSettings
from pulmospark.core import limits, schemas
from pulmospark.core.errors import ClassError, InputError, UsageError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.expand.plan import choose_parents, copies_of, write_plan
from pulmospark.data.expand.table import check_expanded, expanded_for, read_expanded
from pulmospark.data.expand.tasks import ExpandWork, child_id

PARTS = ("train", "train", "validation", "test")


@given(
    counts=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    per_class=st.integers(1, 120),
    seed=st.integers(0, 1000),
)
def test_each_class_has_as_many_rows_as_asked_for_dealt_evenly(
    counts: tuple[int, int], per_class: int, seed: int
) -> None:
    labels = [name for name, count in zip(CLASSES, counts, strict=True) for _ in range(count)]
    ids = [f"image-{n}" for n in range(len(labels))]
    children, plans = copies_of(labels, ids, CLASSES, per_class, seed)
    for plan, unchanged in zip(plans, counts, strict=True):
        own = children[np.asarray(labels) == plan.label]
        assert plan.images == len(own) == unchanged
        assert plan.copies == own.sum()
        assert unchanged + own.sum() == max(unchanged, per_class)
        assert own.max() == plan.most
        assert own.max() - own.min() <= 1
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    again, _ = copies_of(
        [labels[n] for n in order], [ids[n] for n in order], CLASSES, per_class, seed
    )
    assert again.tolist() == children[order].tolist()


def test_who_has_one_more_follows_from_the_seed() -> None:
    ids = [f"image-{n}" for n in range(20)]
    deals = {
        tuple(copies_of(["covid"] * 20, ids, ("covid",), 30, seed)[0].tolist())
        for seed in range(5)
    }
    assert len(deals) == 5


def test_a_class_without_a_image_is_an_error() -> None:
    with pytest.raises(ClassError, match="no image of 'normal' to expand"):
        copies_of(["covid"], ["image"], CLASSES, 5, 1)


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schemas.COHORT)


@pytest.mark.parametrize("split", ["validation", "test", "excluded"])
def test_a_image_of_another_part_is_no_parent(split: str) -> None:
    rows = [member(1), member(2, split=split), member(3)]
    assert choose_parents(_table(rows))["uri"].to_pylist() == [rows[0]["uri"], rows[2]["uri"]]
    with pytest.raises(InputError) as caught:
        choose_parents(_table(rows), [rows[0]["uri"], rows[1]["uri"]])
    assert f"{rows[1]['uri']}: is in the {split} split" in caught.value.message
    assert "\n" not in caught.value.message


def test_images_may_be_named_by_path_or_id() -> None:
    twin = member(4, split="excluded", image_id=member(2)["image_id"], reason="identical file")
    rows = [member(1), member(2), member(3), twin]
    chosen = choose_parents(_table(rows), [rows[0]["uri"], rows[1]["image_id"]])
    assert chosen["uri"].to_pylist() == [rows[0]["uri"], rows[1]["uri"]]
    with pytest.raises(InputError, match="nonsense: not in the cohort"):
        choose_parents(_table(rows), ["nonsense"])


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[list[Row], int]:
    """Patients with one to three images, in parts or folds; both classes are trained on."""
    folds = draw(st.sampled_from([0, 2, 3]))
    rows: list[Row] = []
    for patient in range(draw(st.integers(4, 14))):
        label = CLASSES[patient % 2]
        split = draw(st.sampled_from(PARTS if not folds else PARTS[:3]))
        split = "train" if patient < 4 else split
        fold = (patient // 2) % folds if folds else None
        group = f"noise:p{patient}"
        for _ in range(draw(st.integers(1, 3))):
            told: dict[str, Any] = {"group_id": group, "patient_id": group, "fold": fold}
            rows.append(member(len(rows), label, split, **told))
    rows.append(member(900, None, "excluded"))
    random.Random(draw(st.integers(0, 99))).shuffle(rows)
    return rows, folds


@settings(max_examples=40, deadline=None)
@given(drawn=cohorts(), per_class=st.integers(1, 30))
def test_a_parent_and_its_children_never_part(
    drawn: tuple[list[Row], int], per_class: int
) -> None:
    rows, folds = drawn
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, cohort = write_cohort(folder, rows, folds=folds)
        target = folder / "expanded"
        made = expand_here(images, cohort, ExpandSettings(per_class=per_class), target)
        told = read_cohort(cohort)
        check_expanded(target, cohort)
        groups = np.asarray(told["group_id"].to_pylist(), dtype=object)
        for fold in (None, *range(folds)):
            here = expanded_for(target, Part(Split.TRAIN, fold))
            trained = told.filter(pa.array(in_part(told, Part(Split.TRAIN, fold))))
            unchanged = here.filter(pc.equal(here["draw"], 0))
            assert sorted(unchanged["uri"].to_pylist()) == trained["uri"].to_pylist()
            parents = set(trained["image_id"].to_pylist())
            wanted = {
                row["image_id"]
                for row in made.select(["image_id", "parent_id"]).to_pylist()
                if (row["parent_id"] or row["image_id"]) in parents
            }
            assert set(here["image_id"].to_pylist()) == wanted
            for other in (Split.VALIDATION, Split.TEST):
                away = set(groups[in_part(told, Part(other, fold))])
                assert not away & set(here["group_id"].to_pylist())
            # Whoever takes the folder for a cohort sees the same.
            same = read_cohort(target)
            mask = pa.array(in_part(same, Part(Split.TRAIN, fold)))
            assert same.filter(mask)["uri"].to_pylist() == here["uri"].to_pylist()
        for label, count in Counter(made["label"].to_pylist()).items():
            own = sum(row["split"] == "train" and row["label"] == label for row in rows)
            assert count == max(per_class, own)


@pytest.fixture(scope="module")
def expanded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    rows = [member(n, CLASSES[n % 2], "test" if n % 5 == 4 else "train") for n in range(30)]
    folder = tmp_path_factory.mktemp("expanded")
    images, cohort = write_cohort(folder, rows)
    made = expand_here(images, cohort, ExpandSettings(per_class=50), folder / "expanded")
    return folder, made


def test_a_row_follows_from_its_parent_and_its_operations(
    expanded: tuple[Path, pa.Table],
) -> None:
    _, made = expanded
    rows = made.to_pylist()
    assert len(rows) == 100
    assert len({row["image_id"] for row in rows}) == len({row["uri"] for row in rows}) == 100
    for row in random.Random(3).sample(rows, 25):
        parent = row["parent_uri"] or row["uri"]
        image = np.frombuffer(pixels_of(parent), np.uint8).reshape(SIDE, SIDE)
        operations = from_json(row["operations"])
        assert apply(image, operations).tobytes() == row["pixels"]
        if row["draw"]:
            assert row["image_id"] == child_id(row["parent_id"], row["operations"])
            assert row["uri"] == f"{parent}#draw-{row['draw']}"
        else:
            assert operations == ()
            assert row["pixels"] == pixels_of(row["uri"])
    draws: dict[str, list[int]] = {}
    for row in rows:
        draws.setdefault(row["parent_uri"] or row["uri"], []).append(row["draw"])
    assert all(sorted(found) == list(range(len(found))) for found in draws.values())
    assert made.schema.names == schemas.EXPANDED.names


def test_metadata_is_the_parents(expanded: tuple[Path, pa.Table]) -> None:
    folder, made = expanded
    told = {row["image_id"]: row for row in read_cohort(folder / "cohort").to_pylist()}
    same = ("source", "patient_id", "group_id", "finding", "label", "view", "age", "fold", "split")
    for row in made.to_pylist():
        parent = told[row["parent_id"] or row["image_id"]]
        assert {name: row[name] for name in same} == {name: parent[name] for name in same}


@pytest.mark.parametrize("name", [Split.VALIDATION, Split.TEST])
def test_other_parts_have_no_expanded_images(name: Split, expanded: tuple[Path, pa.Table]) -> None:
    with pytest.raises(UsageError, match=f"the {name.value} split has no augmented images"):
        expanded_for(expanded[0] / "expanded", Part(name))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": "test"}, "now in the test split"),
        ({"fold": 1}, "fold 1"),
        ({"label": "normal"}, "class 'normal'"),
        ({"image_id": "another"}, "00000.png"),
        ({"reason": "view: lateral", "split": "excluded"}, "now not in the cohort"),
    ],
)
def test_a_cohort_that_was_made_anew_is_told(
    changed: Row, words: str, expanded: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    rows = pq.read_table(expanded[0] / "cohort" / "table").to_pylist()
    first = next(row for row in rows if row["uri"] == "/images/00000.png")
    first |= changed
    _, cohort = write_cohort(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        check_expanded(expanded[0] / "expanded", cohort)
    assert "/images/00000.png" in caught.value.message
    assert words in caught.value.message
    assert "pulmospark expand" in caught.value.message


def test_chunks_are_bounded_by_rows_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cohort = write_cohort(tmp_path, [member(n) for n in range(7)])
    parents = choose_parents(pq.read_table(cohort / "table", schema=schemas.COHORT))
    children = np.full(7, 9, dtype=np.int64)

    def groups(name: str) -> list[int]:
        plan = tmp_path / name
        assert write_plan(parents, children, images, plan, image_bytes=SIDE * SIDE) == 70
        told = pq.read_metadata(plan)
        return [told.row_group(n).num_rows for n in range(told.num_row_groups)]

    assert groups("all") == [70]
    monkeypatch.setattr(limits, "EXPAND_CHUNK_ROWS", 32)
    assert groups("rows") == [32, 32, 6]
    monkeypatch.setattr(limits, "CHUNK_BYTES_MAX", 20 * SIDE * SIDE)
    assert groups("bytes") == [20, 20, 20, 10]


def test_a_image_that_the_images_lack_is_told(tmp_path: Path) -> None:
    images, cohort = write_cohort(tmp_path, [member(n) for n in range(7)])
    (images / "1.parquet").unlink()
    parents = choose_parents(pq.read_table(cohort / "table", schema=schemas.COHORT))
    with pytest.raises(
        InputError, match=r"lacks 3 images of the cohort, such as /images/00001\.png"
    ):
        write_plan(parents, np.zeros(7, np.int64), images, tmp_path / "plan", image_bytes=1)


def test_the_name_of_a_chunk_changes_with_what_it_makes(tmp_path: Path) -> None:
    images, cohort = write_cohort(tmp_path, [member(n) for n in range(4)])
    parents = choose_parents(pq.read_table(cohort / "table", schema=schemas.COHORT))

    def chunk(copies: int) -> pa.Table:
        plan = tmp_path / "plan"
        write_plan(parents, np.full(4, copies), images, plan, image_bytes=SIDE * SIDE)
        return pq.read_table(plan)

    own = ExpandSettings(per_class=1).augment
    work = ExpandWork(str(images), own, 1)
    name = work.key(chunk(2))
    assert work.key(chunk(2)) == name
    milder = own.model_copy(update={"blur": own.blur.model_copy(update={"sigma": 0.1})})
    others = [
        ExpandWork(str(images), own, 2).key(chunk(2)),
        ExpandWork(str(images), milder, 1).key(chunk(2)),
        work.key(chunk(3)),
        work.key(chunk(2).slice(1)),
    ]
    (images / "0.parquet").touch()  # ingested again: the pixels may be others
    others.append(work.key(chunk(2)))
    assert len({name, *others}) == 6


def test_nothing_there_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `pulmospark expand` first"):
        read_expanded(tmp_path)
