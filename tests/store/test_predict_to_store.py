"""Predictions written to a store: Delta tables that anybody reads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bundles import write_untrained
from pulmospark.chunks import write_part
from pulmospark.chunks.shared_store import WORK
from pulmospark.cli.main import cli
from pulmospark.core import lake_limits
from pulmospark.core.errors import InputError
from pulmospark.inference.batch import publish
from pulmospark.inference.batch.dry_run import dry_run
from pulmospark.inference.batch.merged_table import MergedTable
from pulmospark.inference.batch.predict import plan_predict, predict
from pulmospark.inference.batch.tasks import FilesWork
from pulmospark.store.commit import Commit, commit_files
from pulmospark.store.failures import ConflictError
from pulmospark.store.folders import check_target, fetch_folder
from pulmospark.store.store import Store, StoredObject, open_store
from pulmospark.store.uri import StoreUri


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("bundles") / "untrained")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pulmospark"


@pytest.fixture
def images(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:3]


def _put(path: Path, uri: StoreUri) -> None:
    boto3.client("s3").upload_file(str(path), uri.bucket, uri.key)


def _rows(table: str, endpoint: str, version: int | None = None) -> list[dict[str, Any]]:
    # Independent of our own code: options as deltalake's documentation has them.
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    found = deltalake.DeltaTable(table, version=version, storage_options=options)
    return sorted(pa.table(found.to_pyarrow_table()).to_pylist(), key=lambda row: row["uri"])


def test_from_a_bucket_to_a_table(
    bundle: Path, images: list[Path], bucket: StoreUri, s3_endpoint: str, tmp_path: Path
) -> None:
    for path in bundle.iterdir():
        _put(path, bucket / f"models/mine/{path.name}")
    for path in images:
        _put(path, bucket / f"in/{path.name}")
    open_store(bucket).put("in/broken.png", b"broken")
    line = ["predict", f"{bucket}models/mine", f"{bucket}in", "--out", f"{bucket}out", "--json"]
    line += ["--engine", "local"]  # a session of other tests has no credentials
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["images"], told["rejects"], told["address"]) == (3, 1, f"{bucket}out")
    assert told["folder"] is None

    here = predict(bundle, [str(p) for p in images], tmp_path / "here", None, quiet=True)
    expected = pq.read_table(tmp_path / "here/predictions").to_pylist()
    rows = _rows(f"{bucket}out/predictions", s3_endpoint)
    assert [row["uri"] for row in rows] == sorted(f"{bucket}in/{path.name}" for path in images)
    for row, same in zip(rows, sorted(expected, key=lambda r: r["uri"]), strict=True):
        assert row["probability"] == same["probability"]
        assert row["image_id"] == same["image_id"]
    (reject,) = _rows(f"{bucket}out/rejects", s3_endpoint)
    assert reject["uri"] == f"{bucket}in/broken.png"
    record = json.loads(open_store(bucket).get("out/predict.json"))
    assert record["result"]["address"] == f"{bucket}out"
    assert record["result"]["predictions"] == here.predictions
    csv = open_store(bucket).get("out/predictions.csv").decode()
    assert len(csv.splitlines()) == 4


def test_a_second_prediction_replaces_the_first_and_keeps_its_version(
    bundle: Path, images: list[Path], bucket: StoreUri, s3_endpoint: str, cache: Path
) -> None:
    predict(bundle, [str(p) for p in images], bucket / "out", None, quiet=True)
    predict(bundle, [str(images[0]), str(images[2])], bucket / "out", None, quiet=True)
    table = f"{bucket}out/predictions"
    assert [row["uri"] for row in _rows(table, s3_endpoint)] == [str(images[0]), str(images[2])]
    assert len(_rows(table, s3_endpoint, version=0)) == 3
    assert not list(cache.rglob("*.parquet"))
    assert not list(open_store(bucket).list(f"out/{WORK}/"))


def test_what_was_scored_is_kept_where_it_could_not_be_published(
    bundle: Path,
    images: list[Path],
    bucket: StoreUri,
    s3_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed at each step of publishing: the parts stay, and a rerun has each row once."""
    plan = plan_predict(bundle, [str(p) for p in images], bucket / "out")
    assert dry_run(plan).already == 0
    steps = (publish, "read_parts"), (Commit, "run"), (publish, "put_files")
    for where, step in (*steps, (publish, "upload")):
        with monkeypatch.context() as patch:
            patch.setattr(where, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                plan.run(None, quiet=True)
        assert list(open_store(bucket).list(f"out/{WORK}/parts/done/"))
        assert dry_run(plan_predict(bundle, [str(p) for p in images], bucket / "out")).already == 3
    with monkeypatch.context() as patch:
        patch.setattr(FilesWork, "work_on", _killed)  # nothing is scored again
        plan.run(None, quiet=True)
    assert len(_rows(f"{bucket}out/predictions", s3_endpoint)) == 3
    assert not list(open_store(bucket).list(f"out/{WORK}/"))
    # One table was committed before the last step; further images come to the same parts.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publish, "put_files", _killed)
        plan.run(None, quiet=True)
    predict(bundle, [str(p) for p in images[:2]], bucket / "out", None, quiet=True)
    assert len(_rows(f"{bucket}out/predictions", s3_endpoint)) == 2


def test_many_parts_are_merged(
    bundle: Path,
    images: list[Path],
    bucket: StoreUri,
    s3_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the same rows and the same CSV, also where publishing was killed at each step."""
    named = [str(path) for path in images]
    predict(bundle, named, bucket / "few", None, quiet=True)
    monkeypatch.setattr(lake_limits, "STORED_PARTS_MIN", 3)
    monkeypatch.setattr(lake_limits, "COMPACT_ROWS", 2)
    plan = replace(plan_predict(bundle, named, bucket / "many"), chunk_files=1)
    steps = (MergedTable, "end"), (Commit, "run"), (publish, "put_files")
    for where, step in (*steps, (publish, "upload")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(where, step, _killed)
            plan.run(None, quiet=True)
        assert dry_run(plan).already == 3
    with monkeypatch.context() as patch:
        patch.setattr(FilesWork, "work_on", _killed)  # nothing is scored again
        plan.run(None, quiet=True)
    few, many = (_rows(f"{bucket}{out}/predictions", s3_endpoint) for out in ("few", "many"))
    assert [{**row, "predicted_at": None} for row in few] == [
        {**row, "predicted_at": None} for row in many
    ]
    store = open_store(bucket)
    assert store.get("few/predictions.csv") == store.get("many/predictions.csv")
    files = [stored.uri.name for stored in store.list("many/predictions/") if _is_part(stored)]
    assert [name.partition("-")[0] for name in sorted(files)] == ["000000000", "000000001"]
    assert not list(store.list(f"many/{WORK}/"))
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    assert (
        deltalake.DeltaTable(f"{bucket}many/predictions", storage_options=options).version() == 0
    )


def _is_part(stored: StoredObject) -> bool:
    return stored.uri.name.endswith(".parquet")


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_is_no_output_is_not_overwritten(
    bundle: Path, images: list[Path], bucket: StoreUri
) -> None:
    open_store(bucket).put("theirs/thesis.txt", b"x")
    with pytest.raises(InputError, match=r"is not empty \('theirs/thesis.txt'\)"):
        plan_predict(bundle, [str(images[0])], bucket / "theirs")
    check_target(bucket / "new", "predict.json", WORK)
    assert [stored.uri.key for stored in open_store(bucket).list()] == ["theirs/thesis.txt"]


@pytest.mark.parametrize("work", [WORK, None])
def test_a_check_that_was_killed_does_not_keep_the_next_one_out(
    work: str | None, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, store = bucket / "new", open_store(bucket)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", _killed)
        with pytest.raises(KeyboardInterrupt):
            check_target(target, "predict.json", work)
    (left,) = store.list(target.prefix)
    assert work is None or left.uri.key.startswith((target / work).prefix)  # and goes with it
    check_target(target, "predict.json", work)
    store.put("new/thesis.txt", b"x")
    if work is None:
        with pytest.raises(InputError, match=r"is not empty \('new/thesis.txt'\)"):
            check_target(target, "predict.json", work)


def test_a_bundle_is_fetched_once_and_again_when_it_changed(
    bundle: Path, bucket: StoreUri, tmp_path: Path
) -> None:
    for path in bundle.iterdir():
        _put(path, bucket / f"b/{path.name}")
    first = fetch_folder(bucket / "b", files_max=64, bytes_max=2**30)
    assert fetch_folder(bucket / "b", files_max=64, bytes_max=2**30) == first
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {
        p.name: p.read_bytes() for p in bundle.iterdir()
    }
    open_store(bucket).put("b/card.json", b"{}")
    assert fetch_folder(bucket / "b", files_max=64, bytes_max=2**30) != first


@pytest.mark.parametrize("key", ["b/deep/x.bin", "b/ü.bin", "b/.hidden", "b/a\\..\\b"])
def test_no_key_becomes_a_path(key: str, bucket: StoreUri, cache: Path) -> None:
    open_store(bucket).put(key, b"x")
    with pytest.raises(InputError, match="no file of a bundle"):
        fetch_folder(bucket / "b", files_max=64, bytes_max=2**30)
    assert not list(cache.rglob("*.bin"))


def test_a_large_folder_is_not_fetched(bucket: StoreUri) -> None:
    for number in range(5):
        open_store(bucket).put(f"b/{number}", b"12345")
    with pytest.raises(InputError, match="more than 4 files"):
        fetch_folder(bucket / "b", files_max=4, bytes_max=100)
    with pytest.raises(InputError, match="more than 5 files or 0 MiB"):
        fetch_folder(bucket / "b", files_max=5, bytes_max=24)
    with pytest.raises(InputError, match="no such folder"):
        fetch_folder(bucket / "c", files_max=4, bytes_max=100)


def test_four_writers_leave_one_whole_table(bucket: StoreUri, s3_endpoint: str) -> None:
    """Each publishes ten times; a reader sees the rows of one writer, never a mixture."""
    schema = pa.schema([pa.field("uri", pa.string()), pa.field("n", pa.int64())])
    names = {writer: [f"{part}-{writer}.parquet" for part in range(2)] for writer in range(4)}
    for writer, parts in names.items():
        rows = [{"uri": f"{place}", "n": writer} for place in range(50)]
        for part, name in enumerate(parts):
            table = pa.Table.from_pylist(rows[part * 25 : part * 25 + 25], schema)
            write_part(table, bucket / f"t/rows/{name}")

    def publish(writer: int) -> int:
        refused = 0
        for _ in range(10):
            try:
                commit_files(bucket / "t/rows", dict.fromkeys(names[writer], 25), schema)
            except ConflictError:
                refused += 1
        return refused

    with ThreadPoolExecutor(4) as pool:
        refused = sum(pool.map(publish, range(4)))
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    table = deltalake.DeltaTable(f"{bucket}t/rows", storage_options=options)
    assert 0 < table.version() <= 39 - refused  # the same files again are no version
    for version in range(0, table.version() + 1, 5):
        rows = _rows(f"{bucket}t/rows", s3_endpoint, version)
        assert len(rows) == 50
        assert len({row["n"] for row in rows}) == 1
