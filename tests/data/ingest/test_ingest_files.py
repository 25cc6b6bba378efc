"""Ingest of files of every kind: each is one row of the images or of the rejects."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.samples import (
    SIDE,
    bad_files,
    content_of,
    good_files,
    grey,
    images,
    plant,
    rows_of,
    source,
)
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import schemas
from pulmospark.core.errors import InputError
from pulmospark.core.hashing import bytes_id
from pulmospark.core.schemas import RejectReason
from pulmospark.data.ingest.ingest import IngestResult, IngestWork, ingest, read_ingest
from pulmospark.layouts.manifest import write_manifest

pytestmark = pytest.mark.spark
SMALL = IngestSettings(size=SIDE)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> IngestResult:
    """Every good and every bad kind of file, and a folder named as an image, ingested."""
    root = tmp_path_factory.mktemp("mixed")
    plant(root / "set" / "covid", {name: data for name, (data, _) in good_files().items()})
    plant(root / "set" / "normal", {name: data for name, (data, _) in bad_files().items()})
    return ingest([source(root / "set")], SMALL, root / "tables", spark, quiet=True)


def test_images_and_rejects_are_the_files_seen(mixed: IngestResult) -> None:
    good, bad = good_files(), bad_files()
    assert (mixed.images, mixed.rejects) == (len(good), len(bad))
    assert mixed.files == len(good) + len(bad)
    assert mixed.already == 0
    assert set(rows_of(mixed.tables, "images")) == set(good)
    assert set(rows_of(mixed.tables, "rejects")) == set(bad)


@pytest.mark.parametrize("name", bad_files())
def test_each_bad_file_is_a_reject_with_its_reason(mixed: IngestResult, name: str) -> None:
    data, reason = bad_files()[name]
    row = rows_of(mixed.tables, "rejects")[name]
    assert row["reason"] == reason.value
    assert row["detail"]
    assert "\n" not in row["detail"]
    assert row["image_id"] == bytes_id(data)
    assert row["size_bytes"] == len(data)


@pytest.mark.parametrize("name", good_files())
def test_each_good_file_is_the_image_that_was_drawn(mixed: IngestResult, name: str) -> None:
    data, kind = good_files()[name]
    row = rows_of(mixed.tables, "images")[name]
    assert (row["format"], row["height"], row["width"]) == (kind, SIDE, SIDE)
    assert row["image_id"] == bytes_id(data)
    assert (row["finding"], row["source"], row["patient_id"]) == ("covid", "set", None)
    pixels = np.frombuffer(row["pixels"], np.uint8).reshape(SIDE, SIDE).astype(float)
    # The palette and JPEG lose a little; a 16-bit image is windowed to its own range.
    expected = grey().astype(float)
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.999
    if name in {"grey.png", "rgba.PNG", "image.tif", "image.bmp", "webp_named.png"}:
        assert np.array_equal(pixels, expected)


def test_tables_have_their_schema(mixed: IngestResult) -> None:
    for name, schema in {"images": schemas.IMAGES, "rejects": schemas.REJECTS}.items():
        for part in (mixed.tables / name).glob("*.parquet"):
            assert pq.read_schema(part).remove_metadata().equals(schema), part
    reasons = {row["reason"] for row in rows_of(mixed.tables, "rejects").values()}
    assert set(mixed.rejects_by_reason) == reasons
    assert sum(mixed.formats.values()) == mixed.images


def test_result_can_be_read_again(mixed: IngestResult) -> None:
    assert read_ingest(mixed.tables) == mixed
    assert not list(mixed.tables.parent.glob(".*"))  # nothing is left of the work


def test_two_ingests_give_the_same_rows(
    mixed: IngestResult, tmp_path: Path, spark: SparkSession
) -> None:
    root = mixed.tables.parent / "set"
    again = ingest([source(root)], SMALL, tmp_path / "tables", spark, quiet=True)
    assert again.already == 0
    assert content_of(again.tables) == content_of(mixed.tables)


def _worked(manifest: Path) -> dict[str, pa.Table]:
    rows = pq.read_table(manifest)
    return dict(IngestWork(SMALL)(rows))


def test_files_that_change_between_listing_and_reading(tmp_path: Path) -> None:
    """What a worker meets when the folder is not what it was: each still one row."""
    root = plant(tmp_path / "set", images(4))
    write_manifest([source(root)], tmp_path / "manifest.parquet")
    (root / "covid" / "000.png").unlink()
    (root / "covid" / "001.png").unlink()
    (root / "covid" / "001.png").mkdir()
    (root / "covid" / "002.png").unlink()
    os.mkfifo(root / "covid" / "002.png")
    made = _worked(tmp_path / "manifest.parquet")
    rejects = {Path(row["uri"]).name: row for row in made["rejects"].to_pylist()}
    assert {name: row["reason"] for name, row in rejects.items()} == {
        "000.png": RejectReason.VANISHED,
        "001.png": RejectReason.UNREADABLE,
        "002.png": RejectReason.UNREADABLE,
    }
    assert [Path(row["uri"]).name for row in made["images"].to_pylist()] == ["003.png"]
    assert all(row["image_id"] is None for row in rejects.values())


def test_a_file_that_the_system_refuses_to_read(tmp_path: Path, spark: SparkSession) -> None:
    """``chmod 000`` stops no root; a regular file of /proc that cannot be read stops all."""
    root = plant(tmp_path / "set", images(2))
    (root / "covid" / "refused.png").symlink_to("/proc/self/mem")
    result = ingest([source(root)], SMALL, tmp_path / "tables", spark, quiet=True)
    assert (result.images, result.rejects) == (2, 1)
    refused = rows_of(result.tables, "rejects")["refused.png"]
    assert refused["reason"] == RejectReason.UNREADABLE


def test_entries_that_are_no_files_are_told_not_read(tmp_path: Path, spark: SparkSession) -> None:
    root = plant(tmp_path / "set", images(2))
    (root / "covid" / "folder.png").mkdir()
    os.mkfifo(root / "covid" / "pipe.png")
    (root / "covid" / "nowhere.png").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(root / "covid")  # a socket's path may have 107 bytes only
        try:
            plug.bind("socket.png")
        finally:
            os.chdir(here)
    result = ingest([source(root)], SMALL, tmp_path / "tables", spark, quiet=True)
    assert (result.images, result.rejects, result.files) == (2, 0, 2)
    counts = result.sources[0].notes.counts
    assert counts["special_files"] == 2
    assert counts["symlinks_left_out"] == 1


def test_a_name_that_is_no_text(tmp_path: Path, spark: SparkSession) -> None:
    root = plant(tmp_path / "set", images(1))
    with open(os.fsencode(root / "covid") + b"/\xff\xfe.png", "wb") as file:  # noqa: PTH123
        file.write(images(1)["covid/000.png"])
    result = ingest([source(root)], SMALL, tmp_path / "tables", spark, quiet=True)
    assert (result.images, result.rejects) == (1, 1)
    assert result.rejects_by_reason == {RejectReason.BAD_NAME: 1}


def test_nothing_to_ingest_is_one_line(tmp_path: Path, spark: SparkSession) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "readme.txt").write_text("no image here")
    with pytest.raises(InputError) as caught:
        ingest([source(tmp_path / "set")], SMALL, tmp_path / "tables", spark, quiet=True)
    assert str(tmp_path / "set") in caught.value.message
    assert "\n" not in caught.value.message
    assert not (tmp_path / "tables").exists()


def test_all_rejected_leaves_two_tables(tmp_path: Path, spark: SparkSession) -> None:
    root = plant(tmp_path / "set", {"covid/a.png": b"", "normal/b.png": b"text"})
    result = ingest([source(root)], SMALL, tmp_path / "tables", spark, quiet=True)
    assert (result.images, result.rejects) == (0, 2)
    assert spark.read.parquet(str(result.tables / "images")).count() == 0
