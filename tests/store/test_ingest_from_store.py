"""A sheet whose cells are addresses: its images are ingested from the store."""

from __future__ import annotations

from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest

from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError
from pulmospark.data.ingest.ingest import ingest
from pulmospark.store.uri import StoreUri


def test_the_images_are_those_of_the_same_files(
    bucket: StoreUri, shared_data: Path, tmp_path: Path
) -> None:
    images = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:5]
    client = boto3.client("s3")
    for path in images[:4]:
        client.upload_file(str(path), bucket.bucket, f"x/{path.name}")
    lines = [f"{bucket}x/{path.name},{n % 2}" for n, path in enumerate(images)]
    sheet = tmp_path / "study.csv"
    sheet.write_text("\n".join(["path,label", *lines[:4], f"{images[4]},1", lines[4]]))
    options = {"root": str(images[4].parent), "files_without_row": "count"}
    source = SourceSettings(path=sheet, options=options)
    result = ingest([source], IngestSettings(), tmp_path / "tables", None, quiet=True)
    assert (result.images, result.rejects_by_reason) == (5, {"vanished": 1})
    stored = {
        Path(row["uri"]).name: row
        for row in pq.read_table(tmp_path / "tables/images").to_pylist()
        if row["uri"].startswith("s3://")
    }
    assert len(stored) == 4
    local = tmp_path / "local.csv"
    local.write_text("\n".join(["path,label", *(f"{p.name},1" for p in images)]))
    again = SourceSettings(path=local, options=options)
    ingest([again], IngestSettings(), tmp_path / "same", None, quiet=True)
    for row in pq.read_table(tmp_path / "same/images").to_pylist():
        if (same := stored.get(Path(row["uri"]).name)) is not None:
            assert row["image_id"] == same["image_id"]
            assert row["pixels"] == same["pixels"]
            assert row["size_bytes"] == same["size_bytes"]


def test_an_address_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    sheet = tmp_path / "study.csv"
    sheet.write_text("path,label\nhdfs://host/a.png,1\n")
    with pytest.raises(InputError, match=r"study.csv, line 2: hdfs://host/a.png"):
        ingest(
            [SourceSettings(path=sheet)],
            IngestSettings(),
            tmp_path / "tables",
            None,
            quiet=True,
        )
