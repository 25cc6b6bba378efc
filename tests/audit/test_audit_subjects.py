"""What is audited, read from the tables of a run; distances."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.audit_images import clean_subject, copies_of

from data.cohorts import hospital, image, parted, write_images
from pulmospark.audit.duplicate_pairs import as_csv, pairs_of
from pulmospark.audit.subject import FACTS, ModelLeftOut, subject_of
from pulmospark.config.audit import AuditSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import files
from pulmospark.core.errors import InputError


def test_without_a_cohort_every_finding_is_a_class_and_a_patient_a_group(tmp_path: Path) -> None:
    rows = [*hospital(6), image(90, None, "p"), image(91, "TB", None)]
    images = write_images(tmp_path, rows[::-1], parts=3)
    settings = AuditSettings()
    subject = subject_of(images, None, settings, seed=7)
    uris = sorted(row["uri"] for row in rows)
    assert subject.column("uri").tolist() == uris
    assert set(FACTS) <= set(subject.rows.column_names)
    assert subject.classes == ("COVID-19", "No Finding", "TB")
    by_uri = {row["uri"]: row for row in rows}
    assert subject.column("label").tolist() == [by_uri[uri]["finding"] for uri in uris]
    assert subject.column("group_id").tolist() == [
        by_uri[uri]["patient_id"] or by_uri[uri]["image_id"] for uri in uris
    ]
    assert not subject.has_split
    assert not subject.has_folds
    assert (subject.images, subject.settings, subject.seed) == (images, settings, 7)
    assert (subject.confidence, subject.left_out, subject.layouts) == (0.95, {}, {})
    assert (subject.predictions, subject.expanded, subject.model_left_out) == (None, None, None)
    kinds = {name: str(subject.rows.schema.field(name).type) for name in ("split", "fold")}
    assert kinds == {"split": "string", "fold": "int32"}


@pytest.mark.parametrize("folds", [0, 3])
def test_a_cohort_says_who_takes_part_and_where(tmp_path: Path, folds: int) -> None:
    rows = [*hospital(30), image(900, None, "x"), image(901, None, "y"), image(902, "TB", "z")]
    result, cohort = parted(tmp_path, rows, SplitSettings(folds=folds))
    files.write_json(
        tmp_path / "ingest.json",
        {"result": {"sources": [{"name": "a", "layout": "kermany", "files": 3}]}},
    )
    left = ModelLeftOut("why", "remedy")
    predictions = pa.table({"uri": ["/a"]})
    subject = subject_of(
        tmp_path / "images", result.cohort, AuditSettings(), seed=1, confidence=0.9,
        classes=("normal", "covid"), predictions=predictions, expanded=tmp_path / "e",
        model_left_out=left,
    )  # fmt: skip
    used = [row for row in cohort if row["reason"] is None]
    for name in ("uri", "label", "group_id", "split", "fold"):
        assert subject.column(name).tolist() == [row[name] for row in used]
    assert subject.column("height").tolist() == [16] * len(used)
    assert subject.left_out == {"no finding": 2, "finding of no class: TB": 1}
    assert subject.layouts == {"a": "kermany"}
    assert subject.has_folds == bool(folds)
    assert subject.has_split
    assert subject.classes == ("normal", "covid")
    assert (subject.confidence, subject.model_left_out) == (0.9, left)
    assert (subject.predictions, subject.expanded) == (predictions, tmp_path / "e")
    named = subject_of(tmp_path / "images", result.cohort, AuditSettings(), seed=1)
    assert named.classes == ("covid", "normal")


def test_what_is_no_images_table_is_told(tmp_path: Path) -> None:
    def told(images: Path) -> str:
        with pytest.raises(InputError) as caught:
            subject_of(images, None, AuditSettings(), seed=1)
        return caught.value.message

    assert told(tmp_path / "none") == (
        f"{tmp_path / 'none'}: no images table: specify a run, or the tables folder of an ingest"
    )
    images = write_images(tmp_path, hospital(3))
    table = pq.read_table(images / "0.parquet")
    pq.write_table(table.slice(0, 0), images / "0.parquet")
    nothing = f"{images}: empty, or not an images table: run ingest first"
    assert told(images) == nothing
    pq.write_table(table.drop_columns(["phash"]), images / "0.parquet")
    assert told(images).startswith(
        f"{images}: not an images table: No match for FieldRef.Name(phash)"
    )
    (images / "0.parquet").write_bytes(b"no Parquet" * 40)
    assert told(images).startswith(f"{images}: not an images table: ")
    assert len(told(images)) <= len(f"{images}: not an images table: ") + 120


def test_bands_of_ages_begin_with_those_under_18() -> None:
    from pulmospark.audit.subgroups import _subgroups

    ages: list[float | None] = [0.0, 17.9, 18.0, 39.9, 40.0, 60.0, 75.0, 99.0, None, None]
    subject = clean_subject(10, age=pa.array(ages, pa.float32()))
    bands = {name: which.tolist() for name, which in _subgroups(subject) if name[:3] == "age"}
    assert {name: [n for n, of in enumerate(which) if of] for name, which in bands.items()} == {
        "age: under 18": [0, 1],
        "age: 18 to 39": [2, 3],
        "age: 40 to 59": [4],
        "age: 60 to 74": [5],
        "age: 75 and above": [6, 7],
    }


def test_pairs_without_a_split_leak_nothing() -> None:
    subject = clean_subject(20, split=pa.nulls(20, pa.string()))
    table = pairs_of(subject, copies_of(20, [(0, 1), (2, 9)]))
    assert table["leak"].to_pylist() == [False, False]
    assert table["first_part"].to_pylist() == [None, None]
    assert table.column_names == [
        *(f"{side}_{name}" for side in ("first", "second")
          for name in ("uri", "image_id", "source", "label", "part")),
        "correlation", "cluster", "same_patient", "same_group", "leak",
    ]  # fmt: skip
    assert as_csv(table).splitlines()[0] == ",".join(table.column_names)
    cells = pa.table({"a": ["\tx", "\ry", "z"], "b": [0.5, 1.0, 2.0], "c": [1, 2, 3]})
    assert as_csv(cells) == "a,b,c\n'\tx,0.500000,1\n\"'\ry\",1.000000,2\nz,2.000000,3\n"
