"""The sample is spread over all that is scored, and holds only what can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pulmospark.chunks import Chunk, chunks_of
from pulmospark.config.ingest import IngestSettings
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.inference.precision.sample import (
    GivenSample,
    ListedSample,
    Sample,
    standard_pixels,
)
from pulmospark.layouts.base import ListingNotes

SETTINGS = IngestSettings(size=16)


def _grey(folder: Path, count: int) -> list[Chunk]:
    """Images of one grey level each, the number of the image; every fifth is none."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:03d}.png"
        if number % 5 == 4:
            path.write_text("no picture", encoding="utf-8")
        else:
            Image.fromarray(np.full((20, 20), number, np.uint8)).save(path)
    manifest = folder.with_suffix(".parquet")
    list_inputs(resolve_inputs([str(folder)]), manifest, ListingNotes())
    return chunks_of([manifest])


def _table(path: Path, first: int, count: int) -> list[Chunk]:
    ids = [f"{number}" for number in range(first, first + count)]
    pixels = [bytes([number]) * 256 for number in range(first, first + count)]
    pq.write_table(
        pa.table({"image_id": ids, "uri": ids, "pixels": pa.array(pixels, pa.binary())}),
        path,
        row_group_size=3,
    )
    return chunks_of([path])


def _levels(sample: Sample) -> list[int]:
    pixels = standard_pixels(sample.rows(), sample.settings)
    assert pixels.shape[1:] == (16, 16)
    return [int(image[0, 0]) for image in pixels]


def test_it_is_spread_over_files_and_rows(tmp_path: Path) -> None:
    manifest = _grey(tmp_path / "images", 40)
    images = _table(tmp_path / "table.parquet", 40, 61)
    assert _levels(ListedSample(manifest, images, SETTINGS, 6)) == [
        0,
        20,
        40,
        60,
        80,
        100,
    ]
    assert _levels(ListedSample([], images, SETTINGS, 3)) == [40, 70, 100]


def test_unreadable_images_are_excluded(tmp_path: Path) -> None:
    manifest = _grey(tmp_path / "images", 10)
    levels = _levels(ListedSample(manifest, [], SETTINGS, 50))
    assert levels == [0, 1, 2, 3, 5, 6, 7, 8]
    other_size = _table(tmp_path / "table.parquet", 0, 5)
    assert len(ListedSample([], other_size, IngestSettings(size=17)).rows()) == 0


def test_its_name_follows_the_images_and_none_is_read(tmp_path: Path) -> None:
    manifest = _grey(tmp_path / "images", 10)
    images = _table(tmp_path / "table.parquet", 0, 5)
    before = ListedSample(manifest, images, SETTINGS)
    assert before.content_id == ListedSample(manifest, images, SETTINGS).content_id
    others = [
        ListedSample(manifest, images, SETTINGS, 9),
        ListedSample(manifest, [], SETTINGS),
        ListedSample(manifest, images, IngestSettings(size=17)),
        ListedSample(manifest, _table(tmp_path / "other.parquet", 1, 5), SETTINGS),
    ]
    assert len({before.content_id, *(sample.content_id for sample in others)}) == 5
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    (tmp_path / "images" / "another.png").touch()  # the folder of a lost mount would be empty
    assert len(before.content_id) == 64
    given = GivenSample(standard_pixels(before.rows(), SETTINGS))  # the rows are left
    assert _levels(given) == [0, 1, 2, 3, 4]
    assert given.content_id != GivenSample(given.images[1:]).content_id
