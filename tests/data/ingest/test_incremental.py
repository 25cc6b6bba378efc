"""Ingest run again: what is there is not read again, and what has changed is followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.samples import SIDE, bad_files, content_of, images, plant, png, rows_of
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError
from pulmospark.data.ingest.ingest import IngestResult, ingest

pytestmark = pytest.mark.spark
SMALL = IngestSettings(size=SIDE)

Again = Callable[..., IngestResult]


@pytest.fixture
def again(tmp_path: Path, spark: SparkSession) -> Again:
    """Ingests ``tmp_path/set`` into ``tmp_path/tables``."""
    root = tmp_path / "set"
    plant(root, images(3) | images(3, "normal", first=3))
    plant(root / "normal", {name: data for name, (data, _) in bad_files().items()})
    sheet = ["path,label,patient,age"]
    sheet += [
        f"{p.relative_to(root)},{p.parent.name},P{p.stem},40" for p in sorted(root.glob("*/*"))
    ]
    (root / "images.csv").write_text("\n".join(sheet) + "\n")

    def run(settings: IngestSettings = SMALL, name: str = "tables") -> IngestResult:
        options = {"path_column": "path", "label_column": "label", "patient_column": "patient"}
        told = SourceSettings(path=root / "images.csv", layout="csv", name="set", options=options)
        return ingest([told], settings, tmp_path / name, spark, quiet=True)

    return run


def _changed(sheet: Path, before: str, after: str) -> None:
    text = sheet.read_text()
    assert before in text
    sheet.write_text(text.replace(before, after))


def _times(folder: Path) -> dict[str, int]:
    """When each part was written: a hard link keeps the time of its file."""
    return {part.name: part.stat().st_ino for part in folder.glob("*/*.parquet")}


def test_a_second_run_reads_nothing(again: Again, tmp_path: Path) -> None:
    first = again()
    rows, parts = content_of(first.tables), _times(first.tables)
    # Were an image opened again, its row would be another.
    for path in (tmp_path / "set").glob("*/*.png"):
        facts = path.stat()
        path.write_bytes(b"x" * facts.st_size)
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    second = again()
    assert second.already == second.files == first.files
    assert content_of(second.tables) == rows
    assert _times(second.tables) == parts
    assert second.model_copy(update={"already": 0}) == first


def test_changes_on_disk_are_followed(again: Again, tmp_path: Path) -> None:
    root = tmp_path / "set"
    first = again()
    (root / "covid/000.png").unlink()  # gone
    (root / "normal/empty.jpg").unlink()  # a reject, gone
    (root / "covid/001.png").write_bytes(png(99))  # changed
    (root / "normal/text.png").write_bytes(png(98))  # was no image, and is one now
    plant(root, {"covid/new.png": png(97)})
    _changed(root / "images.csv", "covid/000.png,covid,P000,40\n", "")
    _changed(
        root / "images.csv", "normal/empty.jpg,normal,Pempty,40\n", "covid/new.png,covid,Pnew,40\n"
    )
    second = again()
    assert second.files == first.files - 1
    assert second.already == second.files - 3
    fresh = again(name="fresh")
    assert content_of(second.tables) == content_of(fresh.tables)
    assert "new.png" in rows_of(second.tables, "images")
    assert "text.png" in rows_of(second.tables, "images")
    assert "000.png" not in rows_of(second.tables, "images")
    assert "empty.jpg" not in rows_of(second.tables, "rejects")


def test_changed_metadata_are_followed(again: Again, tmp_path: Path) -> None:
    again()
    _changed(tmp_path / "set/images.csv", "covid/001.png,covid,P001", "covid/001.png,covid,P777")
    _changed(tmp_path / "set/images.csv", "covid/002.png,covid,P002", "covid/002.png,normal,")
    second = again()
    assert second.already == second.files - 2
    rows = rows_of(second.tables, "images")
    assert rows["001.png"]["patient_id"] == "set:p777"
    assert (rows["002.png"]["finding"], rows["002.png"]["patient_id"]) == ("normal", None)
    assert content_of(second.tables) == content_of(again(name="fresh").tables)


def test_other_settings_read_all_again(again: Again) -> None:
    again()
    second = again(IngestSettings(size=48))
    assert second.already == 0
    assert {len(row["pixels"]) for row in rows_of(second.tables, "images").values()} == {48 * 48}
    assert content_of(second.tables) == content_of(again(IngestSettings(size=48), "fresh").tables)


def test_a_table_that_is_damaged_is_made_again(again: Again) -> None:
    first = again()
    rows = content_of(first.tables)
    shutil.rmtree(first.tables / "images")
    second = again()
    assert content_of(second.tables) == rows


def test_a_failed_run_leaves_the_old_tables(again: Again, tmp_path: Path) -> None:
    first = again()
    rows = content_of(first.tables)
    (tmp_path / "set/images.csv").unlink()
    with pytest.raises(InputError):
        again()
    assert content_of(first.tables) == rows


def test_manifest_stays_with_the_tables(again: Again) -> None:
    first = again()
    manifest = pq.read_table(first.tables / "manifest.parquet")
    assert manifest.num_rows == first.files
