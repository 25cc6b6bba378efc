"""A run folder in a store and its copies: what is whole there, and who may write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import mirror_limits, store_limits
from pulmospark.core.delta_log import write_log
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.machine import cache_folder
from pulmospark.store.failures import ConflictError
from pulmospark.store.mirror import MIRRORS, Mirror, run_around
from pulmospark.store.published import (
    NAME,
    Published,
    RunRecord,
    is_plain_path,
    read_published,
    writing,
)
from pulmospark.store.store import Store, open_store
from pulmospark.store.uri import StoreUri

SCHEMA = pa.schema([pa.field("uri", pa.string()), pa.field("n", pa.int64())])


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return _machine("one", tmp_path, monkeypatch)


def _machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From here on a mirror's copies are on another machine's disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    return tmp_path / name


def _write_table(folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.rglob("*.*"):
        old.unlink()
    if (folder / "_delta_log").is_dir():
        (folder / "_delta_log").rmdir()
    for part in range(2):
        rows = [{"uri": f"{part}-{row}", "n": number} for row in range(3)]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{part}.parquet")
    write_log(folder, SCHEMA)


def _record(address: StoreUri) -> Published:
    entry = read_published(address)
    assert entry is not None
    return entry[0]


def _fill(folder: Path, number: int) -> None:
    _write_table(folder / "tables/images", number)
    (folder / "tables/ingest.json").write_text(f'{{"key": {number}}}')
    (folder / "report.html").write_text(f"report {number}")
    (folder / "compare/vgg19").mkdir(parents=True, exist_ok=True)
    (folder / "compare/vgg19/done.json").write_text(str(number))
    (folder / "compare/comparison.html").write_text(str(number))
    (folder / "salt.key").write_text("secret")
    (folder / ".tables.work").mkdir(exist_ok=True)
    (folder / ".tables.work/half").write_text("half")


def _written(address: StoreUri, number: int) -> Mirror:
    mirror = Mirror(address)
    with mirror.writing():
        _fill(mirror.folder, number)
    return mirror


def _numbers(folder: Path) -> set[int]:
    return set(pq.read_table(folder / "tables/images")["n"].to_pylist())


def test_another_machine_gets_what_was_published(
    bucket: StoreUri, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = bucket / "runs/mine"
    first = _written(address, 1)
    keys = {found.uri.key for found in open_store(bucket).list("runs/mine/")}
    assert {"runs/mine/report.html", "runs/mine/compare/vgg19/done.json"} < keys
    assert not [key for key in keys if "salt" in key or "work" in key or "_probe" in key]
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    table = deltalake.DeltaTable(f"{address}/tables/images", storage_options=options)
    assert (table.version(), pa.table(table.to_pyarrow_table()).num_rows) == (0, 6)

    _machine("two", tmp_path, monkeypatch)
    second = Mirror(address)
    assert second.folder != first.folder
    assert second.fetch()
    assert _numbers(second.folder) == {1}
    assert (second.folder / "report.html").read_text() == "report 1"
    assert (second.folder / "compare/vgg19/done.json").read_text() == "1"
    local = deltalake.DeltaTable(second.folder / "tables/images")
    assert pa.table(local.to_pyarrow_table()).num_rows == 6
    assert not (second.folder / "salt.key").exists()


def test_only_what_changed_is_copied_and_published(
    bucket: StoreUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = bucket / "run"
    first = _written(address, 1)
    gone = first.folder / "tables/ingest.json"
    table = str(first.address / "tables/images")
    assert _record(address).units["tables"].tables == {"tables/images": 0}
    with first.writing():
        (first.folder / "report.html").write_text("report 2")
        (first.folder / "compare/vgg19/done.json").unlink()
        (first.folder / "compare/vgg19").rmdir()
    record = _record(address)
    assert record.units["tables"].tables == {"tables/images": 0}, table
    assert "compare/vgg19" not in record.units
    assert not list(open_store(bucket).list("run/compare/vgg19/"))

    _machine("two", tmp_path, monkeypatch)
    second = Mirror(address)
    second.fetch()
    before = {path: path.stat().st_ino for path in (second.folder / "tables").rglob("*.parquet")}
    gone.write_text("{}")
    _machine("one", tmp_path, monkeypatch)
    with first.writing():
        pass
    _machine("two", tmp_path, monkeypatch)
    second.fetch()
    assert (second.folder / "tables/ingest.json").read_text() == "{}"
    assert (second.folder / "report.html").read_text() == "report 2"
    assert before, "a table"


def test_each_stage_is_published_and_an_error_publishes_nothing(bucket: StoreUri) -> None:
    mirror = Mirror(bucket / "run")
    with (
        pytest.raises(InputError, match=r"^s3://[^ ]*/run/tables: not ingested$"),
        mirror.writing(),
    ):
        with mirror.writing():
            (mirror.folder / "a.json").write_text("1")
        assert list(_record(bucket / "run").units) == ["a.json"]
        (mirror.folder / "b.json").write_text("1")
        raise InputError(f"{mirror.folder}/tables: not ingested")
    record = _record(bucket / "run")
    assert (list(record.units), record.writer) == (["a.json"], None)
    with mirror.writing():  # what is only here is published by the next command
        pass
    assert list(_record(bucket / "run").units) == ["a.json", "b.json"]


def test_a_store_that_fails_half_way_leaves_no_mixture(
    bucket: StoreUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is new, the record beside it old: the unit is not listed, so nobody reads it."""
    address = bucket / "run"
    mirror = _written(address, 1)
    put = Store.put_file

    def fail(self: Store, key: str, source: Path) -> str | None:
        if key.endswith("ingest.json"):
            raise ConnectionAbortedError
        return put(self, key, source)

    monkeypatch.setattr(Store, "put_file", fail)
    with pytest.raises(ConnectionAbortedError), mirror.writing():
        _write_table(mirror.folder / "tables/images", 2)
        (mirror.folder / "tables/ingest.json").write_text('{"key": 2}')
    monkeypatch.setattr(Store, "put_file", put)
    assert "tables" not in _record(address).units
    _machine("two", tmp_path, monkeypatch)
    other = Mirror(address)
    other.fetch()
    assert not (other.folder / "tables").exists()
    _machine("one", tmp_path, monkeypatch)
    with mirror.writing():
        assert _numbers(mirror.folder) == {2}
    _machine("two", tmp_path, monkeypatch)
    other.fetch()
    assert _numbers(other.folder) == {2}


def test_two_writers_are_excluded(bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limits, "LEASE_BEAT_S", 0.05)
    monkeypatch.setattr(store_limits, "LEASE_S", 30.0)
    first, second = Mirror(bucket / "run"), Mirror(bucket / "run")
    with first.writing():
        busy = pytest.raises(UsageError, match=r"another run is writing there \(process \d+ on")
        with busy, second.writing():
            pass
        (first.folder / "a.json").write_text("1")
    with second.writing():
        assert (second.folder / "a.json").exists()


def test_a_killed_writer_of_this_machine_is_known_at_once(bucket: StoreUri) -> None:
    program = (
        "import os, sys; from pulmospark.store.mirror import Mirror;"
        "from pulmospark.store.uri import parse_uri\n"
        "mirror = Mirror(parse_uri(sys.argv[1]))\n"
        "with mirror.writing():\n"
        "    with mirror.writing():\n"
        "        (mirror.folder / 'a.json').write_text('1')\n"
        "    (mirror.folder / 'b.json').write_text('1')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, f"{bucket}run"], check=False)
    assert done.returncode == -9
    record = _record(bucket / "run")
    assert list(record.units) == ["a.json"]
    assert record.writer is not None
    mirror = Mirror(bucket / "run")
    with mirror.writing():
        assert (mirror.folder / "b.json").exists()
    assert list(_record(bucket / "run").units) == ["a.json", "b.json"]


def test_a_silent_writer_of_another_machine_is_taken_over(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "LEASE_S", 0.3)
    monkeypatch.setattr(store_limits, "LEASE_BEAT_S", 60.0)
    waits: list[str] = []
    first = Mirror(bucket / "run")
    with pytest.raises(ConflictError, match="took over"), first.writing():
        entry = RunRecord(bucket / "run").read()
        assert entry is not None
        record, etag = entry
        assert record.writer is not None
        other = record.writer.model_copy(update={"machine": "x"})  # silent from here on
        store, key = open_store(bucket), "run/published.json"
        store.put_if(key, record.content(other), etag)
        with writing(bucket / "run", waits.append):
            now = _record(bucket / "run").writer
            assert now is not None
            assert now.machine != "x"
            (first.folder / "late.json").write_text("1")
            with first.writing():
                pass
    assert len(waits) == 1
    assert "waiting up to 0.3 s" in waits[0]
    assert not [o for o in open_store(bucket).list("run/") if o.uri.name == "late.json"]


def test_a_careless_store_and_other_folders_are_refused(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(bucket).put("theirs/thesis.txt", b"x")
    with pytest.raises(InputError, match="is not empty"), Mirror(bucket / "theirs").writing():
        pass
    put = Store._put
    monkeypatch.setattr(Store, "_put", lambda self, key, data, _: put(self, key, data, None))
    with pytest.raises(PlatformError, match="ignores conditional"), Mirror(bucket / "x").writing():
        pass


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a/../b", "a//b", "a\\b", ".lock", "a/.b", "", "a/", "a\nb", "a\0b", "./a"],
)
def test_no_name_of_the_store_leaves_the_copy(path: str, bucket: StoreUri, tmp_path: Path) -> None:
    assert not is_plain_path(path)
    unit = {"files": {path: [1, "e"]}, "tables": {}}
    record = {"format": 1, "writer": None, "units": {path.split("/", maxsplit=1)[0]: unit}}
    open_store(bucket).put(f"run/{NAME}", json.dumps(record).encode())
    with pytest.raises(InputError, match="not as written by pulmospark"):
        Mirror(bucket / "run").fetch()
    assert not [p for p in (tmp_path / "one").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"format": 2}',
        b'{"format": 1, "units": {"a": {"files": {"b/c": [1, "e"]}}}}',
        b'{"format": 1, "more": 1}',
    ],
)
def test_a_damaged_record_is_refused(content: bytes, bucket: StoreUri) -> None:
    open_store(bucket).put(f"run/{NAME}", content)
    with pytest.raises(InputError, match=f"{NAME}: not as written by pulmospark"):
        Mirror(bucket / "run").fetch()


def test_an_object_that_was_replaced_by_hand_is_named(
    bucket: StoreUri, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written(bucket / "run", 1)
    open_store(bucket).put("run/report.html", b"other")
    _machine("two", tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"run/report.html: is not what published.json lists"):
        Mirror(bucket / "run").fetch()


def test_the_run_around_an_address_is_found(bucket: StoreUri) -> None:
    mirror = _written(bucket / "runs/mine", 1)
    for inside in ("", "bundle", "tables/images"):
        found = run_around(bucket / f"runs/mine/{inside}".rstrip("/"))
        assert found is not None
        assert found[1] == mirror.folder / inside
    assert run_around(bucket / "elsewhere/deep/down") is None


def test_copies_are_bounded_but_secrets_and_unpublished_results_stay(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_limits, "MIRRORS_MAX", 2)
    mirrors = [Mirror(bucket / f"run-{number}") for number in range(4)]
    with pytest.raises(ValueError, match="half"), mirrors[0].writing():
        (mirrors[0].folder / "only-here.json").write_text("1")
        raise ValueError("half")
    for mirror in mirrors[1:]:
        with mirror.writing():
            (mirror.folder / "a.json").write_text("1")
            (mirror.folder / "salt.key").write_text("secret")
    assert (mirrors[0].folder / "only-here.json").exists()
    there = [(mirror.folder / "a.json").exists() for mirror in mirrors]
    assert there == [False, False, True, True]
    assert (mirrors[1].folder / "salt.key").exists()
    mirrors[1].fetch()
    assert (mirrors[1].folder / "a.json").exists()
    assert len(list((cache_folder() / MIRRORS).iterdir())) == 4
