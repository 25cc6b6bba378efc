"""Ingest and prediction of images that stay in their archive, beside those of the folder."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from bundles import write_untrained
from pulmospark.cli.main import cli
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import InputError
from pulmospark.data.ingest.ingest import ingest
from pulmospark.inference.batch.predict import predict
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.registry import place_of
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri, parse_uri

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


@pytest.mark.parametrize("layout", [None, "class_folders"])
def test_ingest_of_an_archive_in_a_store(
    layout: str | None, folder: Path, bucket: StoreUri, tmp_path: Path
) -> None:
    (tmp_path / "zip").mkdir()
    archive = _packed(folder, tmp_path / "zip")
    open_store(uri := bucket / "sets/packed.zip").put(uri.key, archive.read_bytes())
    settings = IngestSettings(size=32)
    local = SourceSettings(path=archive, layout=layout)
    there = ingest([local], settings, tmp_path / "there", None, quiet=True)
    source = SourceSettings(path=uri, layout=layout)
    stored = ingest([source], settings, tmp_path / "stored", None, quiet=True)
    assert (stored.images, stored.rejects) == (there.images, there.rejects) == (8, 1)
    for name in ("images", "rejects"):
        expected = _rows(there.tables / name, f"{archive}!/")
        assert _rows(stored.tables / name, f"{uri}!/") == expected
    (listing,) = stored.sources
    assert listing.path == f"{uri}!/set"
    assert listing.published_splits == there.sources[0].published_splits
    again = ingest([source], settings, tmp_path / "stored", None, quiet=True)
    assert again.already == 9
    part = SourceSettings(path=parse_uri(f"{uri}!/set/test"))
    assert ingest([part], settings, tmp_path / "part", None, quiet=True).images == 4


def test_the_command_takes_an_archive_in_a_store(
    folder: Path, bucket: StoreUri, tmp_path: Path
) -> None:
    (tmp_path / "zip").mkdir()
    archive = _packed(folder, tmp_path / "zip")
    open_store(uri := bucket / "packed.zip").put(uri.key, archive.read_bytes())
    words = ["ingest", str(uri), "--out", str(tmp_path / "run"), "--engine", "local", "--json"]
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["images"] == 8
    said = CliRunner().invoke(cli, ["ingest", f"{bucket}none.zip", "--out", str(tmp_path / "no")])
    assert said.exit_code != 0
    assert isinstance(said.exception, InputError)
    assert "none.zip: no such object" in said.exception.message


def test_a_bomb_in_a_store_is_a_reject(bucket: StoreUri, tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A/bomb.png", bytes(64 * 1024 * 1024))
        archive.writestr("B/../../out.png", b"x")
    open_store(uri := bucket / "bomb.zip").put(uri.key, data.getvalue())
    source = SourceSettings(path=uri, layout="class_folders")
    tracemalloc.start()
    result = ingest([source], IngestSettings(), tmp_path / "tables", None, quiet=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.rejects_by_reason == {"bad_name": 1, "too_many_bytes": 1}
    assert most < 32 * 1024 * 1024


def _kermany(target: Path) -> int:
    """A zip as it is published, with the set twice and a Mac's files; the number of its images."""
    names = ["test/NORMAL/IM-0001-0001.jpeg", "train/PNEUMONIA/person1_bacteria_1.jpeg"]
    names += ["train/PNEUMONIA/person7_virus_16.jpeg", "train/NORMAL/IM-0115-0001.jpeg"]
    names += ["val/NORMAL/NORMAL2-IM-1427-0001.jpeg"]
    rng = np.random.default_rng(2)
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            image = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(image, "JPEG")
            for root in ("chest_xray/chest_xray", "chest_xray"):
                archive.writestr(f"{root}/{name}", image.getvalue())
                litter = f"{Path(name).parent}/._{Path(name).name}"
                archive.writestr(f"chest_xray/__MACOSX/{root}/{litter}", b"\0\5\x16\7Mac OS X")
        archive.writestr("chest_xray/chest_xray/.DS_Store", b"litter")
        archive.writestr("__MACOSX/chest_xray/._train", b"litter")
    return len(names)


@pytest.mark.parametrize("place", ["disk", "store"])
def test_kermanys_archive_holds_the_set_twice(
    place: str, bucket: StoreUri, tmp_path: Path
) -> None:
    count = _kermany(archive := tmp_path / "chest_xray.zip")
    path: Path | StoreUri = archive
    if place == "store":
        path = bucket / "chest_xray.zip"
        open_store(path).put(path.key, archive.read_bytes())
    result = ingest(
        [SourceSettings(path=path)], IngestSettings(), tmp_path / "tables", None, quiet=True
    )
    (source,) = result.sources
    assert source.layout == "kermany"
    assert (result.images, result.rejects) == (count, 0)
    assert source.notes.counts == {"nested_copies": count, "hidden_entries": 2 * count + 1}
    assert source.published_splits == {"train": 3, "test": 1, "validation": 1}
    ids = pq.read_table(tmp_path / "tables/images")["image_id"].to_pylist()
    assert len(set(ids)) == count
    # As a tree of classes both copies are images, and their hash says that they are the same.
    plain = SourceSettings(path=path, layout="class_folders")
    twice = ingest([plain], IngestSettings(), tmp_path / "plain", None, quiet=True)
    assert (twice.images, twice.rejects) == (2 * count, 0)
    ids = pq.read_table(tmp_path / "plain/images")["image_id"].to_pylist()
    assert len(set(ids)) == count


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
