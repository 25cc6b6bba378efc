"""Ingest and prediction of images that stay in their archive, beside those of the folder."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bundles import write_untrained
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError
from pulmospark.data.ingest.ingest import ingest
from pulmospark.inference.batch.predict import predict
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.registry import place_of
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

_PLACES = {"uri", "modified_ns", "listed", "source"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``set/train/COVID/0.png`` and so on, with a broken file and one that is no image."""
    root = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(1)
    for place in ("train/COVID", "train/NORMAL", "test/COVID", "test/NORMAL"):
        (root / "set" / place).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 255, (64, 64), np.uint8)
            Image.fromarray(pixels).save(root / "set" / place / f"{number}.png")
    (root / "set/train/COVID/broken.png").write_bytes(b"broken")
    (root / "set/readme.txt").write_bytes(b"no image")
    return root


def _packed(folder: Path, target: Path) -> Path:
    shutil.make_archive(str(target / "packed"), target.name, folder)
    return target / f"packed.{target.name}"


def _rows(table: Path, address: str) -> list[dict[str, Any]]:
    rows = []
    for row in pq.read_table(table).to_pylist():
        place = row["uri"].removeprefix(address)
        rows.append({"place": place, **{k: v for k, v in row.items() if k not in _PLACES}})
    return sorted(rows, key=lambda row: str(row["place"]))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_images_are_those_of_the_folder(kind: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / kind).mkdir()
    archive = _packed(folder, tmp_path / kind)
    settings = IngestSettings(size=32)
    there = ingest([SourceSettings(path=folder)], settings, tmp_path / "there", None, quiet=True)
    inside = ingest([SourceSettings(path=archive)], settings, tmp_path / "in", None, quiet=True)
    assert (inside.images, inside.rejects) == (there.images, there.rejects) == (8, 1)
    for name in ("images", "rejects"):
        expected = _rows(there.tables / name, f"{folder}/")
        assert _rows(inside.tables / name, f"{archive}!/") == expected
    (source,) = inside.sources
    assert (source.layout, source.name) == ("class_folders", "set")
    assert source.published_splits == {"train": 5, "test": 4}
    assert source.notes.ignored_extensions == {".txt": 1}
    again = ingest([SourceSettings(path=archive)], settings, tmp_path / "in", None, quiet=True)
    assert again.already == 9


def test_hostile_names_become_rejects(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    image = (folder / "set/test/COVID/0.png").read_bytes()
    with zipfile.ZipFile(archive, "w") as written:
        for name in ("good.png", "../out.png", "/etc/root.png", "a/../../b.png", "ü\n'\".png"):
            written.writestr(name, image)
        written.writestr("__MACOSX/._good.png", b"litter")
        written.writestr("number", image)  # as DICOM files are named
        written.writestr("notes", b"text")
    bundle = write_untrained(tmp_path / "bundle")
    done = predict(bundle, [str(archive)], tmp_path / "out", None, quiet=True)
    assert (done.images, done.rejects) == (3, 3)
    rejects = pq.read_table(tmp_path / "out/rejects").to_pylist()
    assert {row["reason"] for row in rejects} == {"bad_name"}
    assert not list(tmp_path.rglob("out.png"))
    predict(bundle, [f"{archive}!/good.png"], tmp_path / "one", None, quiet=True)
    (row,) = pq.read_table(tmp_path / "one/predictions").to_pylist()
    assert row["uri"] == f"{archive}!/good.png"


def test_predictions_of_an_archive_in_a_store(
    folder: Path, bucket: StoreUri, tmp_path: Path
) -> None:
    (tmp_path / "zip").mkdir()
    archive = _packed(folder, tmp_path / "zip")
    open_store(bucket).put("sets/packed.zip", archive.read_bytes())
    bundle = write_untrained(tmp_path / "bundle")
    paths = [f"{bucket}sets/packed.zip"]
    predict(bundle, paths, tmp_path / "stored", None, quiet=True)
    predict(bundle, [str(folder)], tmp_path / "there", None, layout="none", quiet=True)
    stored = _rows(tmp_path / "stored/predictions", f"{paths[0]}!/")
    expected = _rows(tmp_path / "there/predictions", f"{folder}/")
    assert [row["place"] for row in stored] == [row["place"] for row in expected]
    assert [row["probability"] for row in stored] == [row["probability"] for row in expected]


def test_what_cannot_be_read_in_an_archive_is_said(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(folder, "set")
    with pytest.raises(InputError, match=r"repack it as \.zip or \.tar"):
        place_of(packed, None)
    damaged = tmp_path / "a.zip"
    damaged.write_bytes(b"no archive")
    place = place_of(damaged, "class_folders")
    with pytest.raises(InputError, match="not a zip archive"):
        list(place.layout.rows(place.folder, "a", {}, ListingNotes()))
