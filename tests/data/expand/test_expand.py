"""Expand on Spark: whole or not at all, killed and gone on with, the same for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.expansions import CLASSES, expand_here, member, write_cohort
from pulmospark.chunks.parts import parts_of
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core import files
from pulmospark.core.errors import ClassError, InputError
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.expand.expand import expand
from pulmospark.data.expand.table import TABLE, read_expanded
from pulmospark.training.augmented_images import check_augmentation

pytestmark = pytest.mark.spark
_WAIT_S = 90
SETTINGS = ExpandSettings(per_class=40)

_RUN = """
import sys
from pathlib import Path
from pulmospark.config.expand import ExpandSettings
from pulmospark.data.expand.expand import expand
from pulmospark.spark.session import spark_session

root = Path(sys.argv[1])
with spark_session("local[1]") as spark:
    expand(root / "tables" / "images", root / "cohort", ExpandSettings(per_class=int(sys.argv[2])),
           root / "expanded", spark, seed=1, quiet=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    rows = [member(n, CLASSES[n % 2], "test" if n % 5 == 4 else "train") for n in range(30)]
    return write_cohort(tmp_path, rows)


def _content(target: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(target / TABLE).sort_by("uri").to_pylist()
    return rows


def test_the_table_is_what_one_process_makes(
    place: tuple[Path, Path], tmp_path: Path, spark: SparkSession
) -> None:
    target = tmp_path / "expanded"
    result = expand(*place, SETTINGS, target, spark, seed=1, quiet=True)
    assert (result.rows, result.images, result.copies) == (80, 24, 56)
    assert [(one.label, one.images, one.copies) for one in result.classes] == [
        ("covid", 12, 28),
        ("normal", 12, 28),
    ]
    assert {one.copies_per_image for one in result.classes} == {3}
    assert result.warnings == ()
    assert read_expanded(target) == result
    wanted = expand_here(*place, SETTINGS, tmp_path / "here" / "expanded")
    assert _content(target) == wanted.sort_by("uri").to_pylist()
    assert not list(tmp_path.glob(".expanded*"))


def test_a_second_run_does_nothing_and_another_seed_does_all(
    place: tuple[Path, Path], tmp_path: Path, spark: SparkSession
) -> None:
    target = tmp_path / "expanded"
    first = expand(*place, SETTINGS, target, spark, seed=1, quiet=True)
    inodes = {part.stat().st_ino for part in parts_of(target / TABLE)}
    again = expand(*place, SETTINGS, target, spark, seed=1, quiet=True)
    assert again == first.model_copy(update={"already": True})
    assert {part.stat().st_ino for part in parts_of(target / TABLE)} == inodes
    before = _content(target)
    parts_of(target / TABLE)[0].unlink()  # someone lost a part: it is made again
    assert not expand(*place, SETTINGS, target, spark, seed=1, quiet=True).already
    assert _content(target) == before
    assert not expand(*place, SETTINGS, target, spark, seed=2, quiet=True).already
    assert _content(target) != before


def test_the_same_rows_of_another_cohort_are_told_of_that_cohort(
    place: tuple[Path, Path], tmp_path: Path, spark: SparkSession
) -> None:
    images, cohort = place
    target = tmp_path / "expanded"
    first = expand(images, cohort, SETTINGS, target, spark, seed=1, quiet=True)
    inodes = {part.stat().st_ino for part in parts_of(target / TABLE)}
    told = files.read_json(cohort / "split.json")
    told["result"]["cohort_id"] = "another"  # the training part is the same
    files.write_json(cohort / "split.json", told)
    again = expand(images, cohort, SETTINGS, target, spark, seed=1, quiet=True)
    assert again == first.model_copy(update={"already": True, "cohort_id": "another"})
    assert {part.stat().st_ino for part in parts_of(target / TABLE)} == inodes
    check_augmentation(TrainSettings(expanded=True), target, cohort, read_split(cohort))


def test_what_is_odd_is_said(
    place: tuple[Path, Path], tmp_path: Path, spark: SparkSession
) -> None:
    augment = AugmentSettings.model_validate({"flip": {"probability": 0.5}})
    settings = ExpandSettings(per_class=7, augment=augment)
    result = expand(*place, settings, tmp_path / "expanded", spark, seed=1, quiet=True)
    assert (result.rows, result.copies) == (24, 0)
    text = "\n".join(result.warnings)
    assert "class 'covid' has 12 images in the training split, more than the requested 7" in text
    assert "heart" in text


def test_a_parent_of_the_test_part_is_refused(
    place: tuple[Path, Path], tmp_path: Path, spark: SparkSession
) -> None:
    target = tmp_path / "expanded"
    with pytest.raises(InputError, match=r"/images/00004\.png: is in the test split"):
        expand(*place, SETTINGS, target, spark, seed=1, only=["/images/00004.png"], quiet=True)
    assert not target.exists()
    only = ["/images/00000.png", "/images/00001.png"]
    result = expand(*place, SETTINGS, target, spark, seed=1, only=only, quiet=True)
    assert {row["parent_uri"] or row["uri"] for row in _content(target)} == set(only)
    assert result.classes[0].copies_per_image == 39


def test_a_class_without_a_training_image(tmp_path: Path, spark: SparkSession) -> None:
    rows = [member(1), member(2), member(3, "normal", "test")]
    with pytest.raises(ClassError, match="no image of 'normal'"):
        expand(*write_cohort(tmp_path, rows), SETTINGS, tmp_path / "x", spark, seed=1, quiet=True)


def test_killed_and_started_again(tmp_path: Path, spark: SparkSession) -> None:
    rows = [member(n, CLASSES[n % 2]) for n in range(40)]
    images, cohort = write_cohort(tmp_path, rows, side=64)
    target, per_class = tmp_path / "expanded", 6_000
    parts = tmp_path / ".expanded.work" / "parts"
    command = [sys.executable, "-c", _RUN, str(tmp_path), str(per_class)]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        end = time.monotonic() + _WAIT_S
        while not list(parts.glob("*.done")):
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end, "it wrote no part"
            time.sleep(0.01)
    finally:
        os.killpg(child.pid, signal.SIGKILL)  # the driver, its JVM and its Python workers
        child.wait()
    done = [parts / f"expanded-{path.stem}.parquet" for path in parts.glob("*.done")]
    inodes = {path.stat().st_ino for path in done}
    assert not target.exists()  # whole or not at all
    settings = ExpandSettings(per_class=per_class)
    result = expand(images, cohort, settings, target, spark, seed=1, quiet=True)
    assert result.rows == 2 * per_class
    kept = {path.stat().st_ino for path in parts_of(target / TABLE)}
    assert 0 < len(inodes) < len(kept), "not killed in the middle"
    assert inodes <= kept, "the parts of the killed run were not used"
    whole = expand(images, cohort, settings, tmp_path / "whole", spark, seed=1, quiet=True)
    names = ["uri", "image_id", "operations", "label"]
    tables = [
        pq.read_table(one / TABLE, columns=names).sort_by("uri")
        for one in (target, whole.expanded)
    ]
    assert isinstance(tables[0], pa.Table)
    assert tables[0].equals(tables[1])
