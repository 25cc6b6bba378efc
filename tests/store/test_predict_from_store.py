"""Predictions of images in a store: the same figures as of the same files on a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from pulmospark.core.errors import InputError, UsageError
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.predict import predict
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.stored import objects_below
from pulmospark.store.uri import StoreUri, parse_uri

NAMES = ("ward a/one.png", "ward a/two#.png", "ward b/2024/thrée.png", "ward b/four")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("bundles") / "untrained")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Real radiographs and other files, as a hospital's folder has them."""
    root = tmp_path_factory.mktemp("hospital")
    found = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))
    for name, image in zip(NAMES, found, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, root / name)
    (root / "ward b/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (root / "ward b/notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"x")
    return root


@pytest.fixture
def stored(folder: Path, bucket: StoreUri) -> StoreUri:
    client = boto3.client("s3")
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket.bucket, f"in/{path.relative_to(folder)}")
    return bucket / "in"


def test_the_figures_are_those_of_the_same_files(
    bundle: Path, folder: Path, stored: StoreUri, tmp_path: Path
) -> None:
    here = predict(bundle, [str(folder)], tmp_path / "here", None, quiet=True)
    there = predict(bundle, [str(stored)], tmp_path / "there", None, quiet=True)
    assert (there.images, there.rejects) == (4, 1)
    by_name = {
        str(Path(row["uri"]).relative_to(folder)): row
        for row in pq.read_table(tmp_path / "here/predictions").to_pylist()
    }
    rows = pq.read_table(tmp_path / "there/predictions").to_pylist()
    assert sorted(row["uri"] for row in rows) == sorted(f"{stored}/{name}" for name in NAMES)
    for row in rows:
        same = by_name[row["uri"].removeprefix(f"{stored}/")]
        for name in ("image_id", "probability", "logits", "cautions", "distance"):
            assert row[name] == same[name]
    (reject,) = pq.read_table(tmp_path / "there/rejects").to_pylist()
    assert reject["uri"] == f"{stored}/ward b/broken.png"
    assert reject["reason"] == pq.read_table(tmp_path / "here/rejects")["reason"][0].as_py()
    assert here.notes.ignored_extensions == there.notes.ignored_extensions


def test_one_object_needs_no_output_folder(bundle: Path, stored: StoreUri) -> None:
    result = predict(bundle, [f"{stored}/ward a/two#.png"], None, None, quiet=True)
    assert result.image is not None
    assert result.image.uri == f"{stored}/ward a/two#.png"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*/one.png", {"ward a/one.png"}),
        ("in/**/*.png", {*NAMES[:3], "ward b/broken.png"}),
        ("in/ward b", {*NAMES[2:], "ward b/broken.png"}),
        ("in/ward [ab]/2024", {NAMES[2]}),
        ("in/w*", {*NAMES, "ward b/broken.png"}),
        ("", {*NAMES, "ward b/broken.png"}),
        ("none/*", set()),
    ],
)
def test_patterns(stored: StoreUri, pattern: str, expected: set[str]) -> None:
    bucket = StoreUri(stored.scheme, stored.bucket, pattern)
    found = [file.uri.removeprefix(f"{stored}/") for file in objects_below(bucket, ListingNotes())]
    assert sorted(found) == sorted(expected)


def test_hidden_objects_are_counted(stored: StoreUri) -> None:
    notes = ListingNotes()
    list(objects_below(stored, notes))
    assert notes.count(NoteKind.HIDDEN_ENTRIES) == 1


def test_a_sheets_cells_may_be_addresses(
    bundle: Path, folder: Path, stored: StoreUri, tmp_path: Path
) -> None:
    sheet = tmp_path / "list.csv"
    sheet.write_text(
        f"path\n{stored}/ward a/one.png\n{folder}/ward a/two#.png\n{stored}/gone.png\n"
        f"{stored}/ward a/one.png\n",
        encoding="utf-8",
    )
    result = predict(bundle, [str(sheet)], tmp_path / "out", None, quiet=True)
    assert (result.images, result.rejects_by_reason) == (2, {"vanished": 1})


def test_what_is_named_twice_is_scored_once(
    bundle: Path, stored: StoreUri, tmp_path: Path
) -> None:
    paths = [str(stored), f"{stored}/ward a/*.png", f"{stored}/ward a/one.png"]
    result = predict(bundle, paths, tmp_path / "out", None, quiet=True)
    assert (result.images, result.rejects) == (4, 1)


def test_what_is_not_there(stored: StoreUri) -> None:
    with pytest.raises(InputError, match="no such object or folder"):
        resolve_inputs([f"{stored}/nothing"])
    with pytest.raises(InputError, match="no such bucket"):
        resolve_inputs(["s3://no-bucket-at-all/x.png"])
    with pytest.raises(UsageError, match="--layout"):
        resolve_inputs([str(stored)], "class_folders")
    with pytest.raises(UsageError, match="is not supported"):
        resolve_inputs(["hdfs://host/x"])
    assert parse_uri(str(stored)) == stored
