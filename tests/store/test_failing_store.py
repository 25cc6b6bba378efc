"""A store whose requests fail: what is asked for is done, and nothing is an image's fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import deltalake
import pyarrow as pa
import pytest
from benchmarks.failing_proxy import Faults, Proxy, failing_proxy, in_thread
from benchmarks.s3_server import Server

from pulmospark.chunks import write_part
from pulmospark.core import limits
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.lake.append import append_version
from pulmospark.store.commit import commit_files
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.prefetch import find_many
from pulmospark.store.store import Store
from pulmospark.store.uri import StoreUri

SHARE = 0.3


@pytest.fixture
def proxy(bucket: StoreUri, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(limits, "READ_PAUSE_S", 0.001)
    with failing_proxy(s3_endpoint, Faults()) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.mark.parametrize("kind", ["slow_down", "reset", "lost", "truncated", "broken"])
def test_each_request_is_answered(
    kind: str, proxy: Proxy, bucket: StoreUri, s3_endpoint: str
) -> None:
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    content = os.urandom(30_000)
    names = [f"in/{number:02}" for number in range(8)]
    for name in names:
        client.put_object(Bucket=bucket.bucket, Key=name, Body=content)
    proxy.faults = Faults.only(kind, SHARE)
    store = Store(bucket)
    for name in names:
        assert store.get(name) == content
        assert store.get_range(name, 9, 20_000) == content[9:20_009]
    for number, name in enumerate(names):
        etag = store.put_new(f"new/{number}", name.encode())
        assert store.put_if(f"new/{number}", b"changed", etag or "") is not None
        with pytest.raises(ConflictError):
            store.put_new(f"new/{number}", b"another")
        assert store.get(f"new/{number}") == b"changed"
    for number in range(4):
        store.delete(f"new/{number}")
    left = client.list_objects_v2(Bucket=bucket.bucket, Prefix="new/")["Contents"]
    assert [entry["Key"] for entry in left] == [f"new/{number}" for number in range(4, 8)]
    for number, name in enumerate(names):
        store.copy(name, f"copied/{number}")
        store.delete_below("copied/")
    assert not client.list_objects_v2(Bucket=bucket.bucket, Prefix="copied/")["KeyCount"]
    assert [type(found) for found in find_many([bucket / "gone"])] == [ObjectMissingError]
    assert proxy.counts[kind] > 3


def test_a_listing_resumes_where_it_broke(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(0.0)
    names = [f"in/{number:05}" for number in range(2_500)]
    server.objects = {f"b/{name}": (b"1", '"1"') for name in names}
    monkeypatch.setattr(limits, "READ_PAUSE_S", 0.001)
    faults = Faults(truncated=0.1, broken=0.1, reset=0.1)
    with in_thread(server.start), failing_proxy(server.endpoint, faults) as failing:
        monkeypatch.setenv("AWS_ENDPOINT_URL", failing.endpoint)
        store = Store(StoreUri("s3", "b", ""))
        for _ in range(10):
            assert [stored.uri.key for stored in store.list("in/")] == names
    assert min(failing.counts[kind] for kind in ("truncated", "broken", "reset"))


def test_a_store_that_only_fails_is_given_up(
    proxy: Proxy, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_RETRIES", 2)
    store = Store(bucket)
    for kind in ("reset", "slow_down", "lost"):
        proxy.faults = Faults.only(kind, 1.0)
        for request in (
            lambda: store.get("x"),
            lambda: store.put_new("x", b"1"),
            lambda: store.delete("x"),
            lambda: list(store.list("x/")),
        ):
            before = proxy.counts["requests"]
            with pytest.raises(SourceUnavailableError) as raised:
                request()
            # By its own name: what a task raises is looked up by it.
            assert type(raised.value) is SourceUnavailableError
            assert proxy.counts["requests"] - before <= 2 * (limits.STORE_RETRIES + 1)


@pytest.mark.parametrize("kind", ["reset", "lost", "truncated"])
def test_a_table_is_committed_once(
    kind: str, proxy: Proxy, bucket: StoreUri, s3_endpoint: str, tmp_path: Path
) -> None:
    schema = pa.schema([pa.field("n", pa.int64())])
    store = Store(bucket)
    for number in range(6):
        write_part(pa.table({"n": [number]}, schema=schema), tmp_path / "part.parquet")
        store.put(f"t/{number}.parquet", (tmp_path / "part.parquet").read_bytes())
    proxy.faults = Faults.only(kind, 0.15)
    for number in range(6):
        commit_files(bucket / "t", {f"{number}.parquet": 1}, schema)
    proxy.faults = Faults()
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    table = deltalake.DeltaTable(f"{bucket}t", storage_options=options)
    assert table.version() == 5
    assert pa.table(table.to_pyarrow_table())["n"].to_pylist() == [5]
    assert proxy.counts[kind]


@pytest.mark.parametrize("kind", ["reset", "lost", "truncated"])
def test_a_version_is_appended_once(
    kind: str, proxy: Proxy, bucket: StoreUri, s3_endpoint: str, tmp_path: Path
) -> None:
    schema = pa.schema([pa.field("n", pa.int64())])
    for number in range(6):
        write_part(pa.table({"n": [number]}, schema=schema), tmp_path / f"{number}.parquet")
    proxy.faults = Faults.only(kind, 0.15)
    for number in range(6):
        part = tmp_path / f"{number}.parquet"
        append_version(bucket / "t", [part], schema, app_id="a", app_version=number)
    proxy.faults = Faults()
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    table = deltalake.DeltaTable(f"{bucket}t", storage_options=options)
    assert table.version() == 5
    assert sorted(pa.table(table.to_pyarrow_table())["n"].to_pylist()) == [*range(6)]
    assert proxy.counts[kind]
