"""Objects of a bucket, on a real S3 server, beside AWS's own client."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from pulmospark.core import limits
from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.folders import put_files
from pulmospark.store.prefetch import read_many
from pulmospark.store.probe import is_probe, probe
from pulmospark.store.store import Store, open_store
from pulmospark.store.uri import StoreUri
from store.conditions import check_a_change_is_noticed, check_only_one_creates
from store.watched import Watched

NAMES = ["a b.png", "a%20b.png", "ü/é.png", "q?a=b#c", "tilde~[1].png", "a\\b.png", "a+b.png"]


def test_names_are_those_of_the_clouds_own_client(bucket: StoreUri) -> None:
    client = boto3.client("s3")
    for number, name in enumerate(NAMES):
        client.put_object(Bucket=bucket.bucket, Key=name, Body=bytes([number] * (number + 1)))
    opened = open_store(bucket)
    listed = {found.uri.key: found for found in opened.list()}
    assert sorted(listed) == sorted(NAMES)
    for number, name in enumerate(NAMES):
        assert opened.get(name) == bytes([number] * (number + 1))
        assert listed[name].size_bytes == number + 1
        assert listed[name].etag == client.head_object(Bucket=bucket.bucket, Key=name)["ETag"]
    opened.put("new ü#.png", b"xyz")
    body = client.get_object(Bucket=bucket.bucket, Key="new ü#.png")["Body"].read()
    assert body == b"xyz"


def test_a_prefix_need_not_end_at_a_slash(bucket: StoreUri) -> None:
    opened = open_store(bucket)
    for name in ("images/2024-1.png", "images/2025.png", "images2/x.png", "other.png"):
        opened.put(name, b"1")
    assert [o.uri.key for o in opened.list("images/2024")] == ["images/2024-1.png"]
    assert len(list(opened.list("images/"))) == 2
    assert len(list(opened.list("images"))) == 3
    assert list(opened.list("none/")) == []


def test_more_than_a_page_is_listed(bucket: StoreUri) -> None:
    opened = open_store(bucket)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: opened.put(f"p/{n:05}", b""), range(1_234)))
    assert [o.uri.key for o in opened.list("p/")] == [f"p/{n:05}" for n in range(1_234)]


def test_only_one_of_many_writers_creates_an_object(bucket: StoreUri) -> None:
    check_only_one_creates(open_store(bucket))


def test_a_repeated_creation_of_the_same_content_is_no_conflict(bucket: StoreUri) -> None:
    """The request whose answer was lost is sent again."""
    opened = open_store(bucket)
    assert opened.put_new("part", b"same") == opened.put_new("part", b"same")
    with pytest.raises(ConflictError, match=r"s3://.*/part"):
        opened.put_new("part", b"same, but longer")


def test_a_change_of_another_is_noticed(bucket: StoreUri) -> None:
    check_a_change_is_noticed(open_store(bucket))


def test_bounds_and_ranges(bucket: StoreUri) -> None:
    opened = open_store(bucket)
    opened.put("x", bytes(range(100)))
    assert opened.get("x", 10) == bytes(range(10))
    assert opened.get_range("x", 90, 5) == bytes(range(90, 95))
    assert opened.head("x").size_bytes == 100
    opened.delete("x")
    opened.delete("x")
    with pytest.raises(ObjectMissingError):
        opened.get("x")
    with pytest.raises(ObjectMissingError):
        opened.head("x")


def test_a_missing_folder_is_not_a_missing_object(bucket: StoreUri, tmp_path: Path) -> None:
    opened = open_store(bucket)
    opened.put("x", b"1")
    with pytest.raises(FileNotFoundError, match="none/x"):
        opened.save("x", tmp_path / "none/x")
    with pytest.raises(FileNotFoundError, match="none/y"):
        opened.put_file("y", tmp_path / "none/y")
    with pytest.raises(ObjectMissingError, match="/y: no such object"):
        opened.save("y", tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_many_threads_share_the_requests_of_a_process(watched: Watched, tmp_path: Path) -> None:
    """Files of several units are published together, each by threads of its own."""
    opened, units = open_store(StoreUri("s3", "hospital", "")), 4
    for unit in range(units):
        (tmp_path / f"{unit}").mkdir()
        for number in range(limits.STORE_REQUESTS):
            (tmp_path / f"{unit}/{number}").write_bytes(b"1")
    watched.delay_s = 0.05
    with ThreadPoolExecutor(units) as pool:
        to = opened.bucket / "out"
        list(pool.map(lambda n: put_files(tmp_path / f"{n}", to / f"{n}"), range(units)))
    assert len(watched.requests) == units * limits.STORE_REQUESTS
    assert limits.STORE_REQUESTS // 2 < watched.most_under_way() <= limits.STORE_REQUESTS
    # A listing that is being used keeps no other request from its turn.
    listings = [opened.list("out/") for _ in range(limits.STORE_REQUESTS)]
    assert [next(listing).size_bytes for listing in listings] == [1] * limits.STORE_REQUESTS
    assert opened.get("out/0/0") == b"1"


def test_many_are_read_in_order(bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulmospark.core.limits.STORE_AHEAD_BYTES", 50)
    opened = open_store(bucket)
    wanted = []
    for number in range(40):
        if number % 7:
            opened.put(f"i/{number}", bytes([number]) * 20)
        wanted.append((bucket / f"i/{number}", 20))
    for number, content in enumerate(read_many(wanted)):
        if number % 7:
            assert content == bytes([number]) * 20
        else:
            assert isinstance(content, ObjectMissingError)


def test_a_missing_bucket_is_named(bucket: StoreUri) -> None:
    with pytest.raises(InputError, match="no such bucket"):
        Store(StoreUri("s3", "not-there-at-all", "")).get("x")


@pytest.mark.parametrize("key", ["x//y.png", "f/../b.png"])
def test_a_key_that_no_path_can_express_is_an_error(bucket: StoreUri, key: str) -> None:
    boto3.client("s3").put_object(Bucket=bucket.bucket, Key=key, Body=b"1")
    with pytest.raises(InputError, match="cannot be read: rename the object"):
        list(open_store(bucket).list())


def test_no_server(monkeypatch: pytest.MonkeyPatch, bucket: StoreUri) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("pulmospark.core.limits.STORE_RETRIES", 1)
    with pytest.raises(SourceUnavailableError) as raised:
        Store(bucket).get("x")
    assert "\n" not in str(raised.value)
    assert "secret-of-a-test" not in str(raised.value)


class _Careless(http.server.BaseHTTPRequestHandler):
    """A store that takes every write, whatever its conditions say."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def careless() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Careless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_store_that_ignores_conditions_is_refused(
    bucket: StoreUri, careless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(open_store(bucket), "out")
    assert list(open_store(bucket).list()) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", careless)
    with pytest.raises(PlatformError, match="ignores conditional writes"):
        probe(Store(bucket), "out")


def test_a_folder_that_is_cleared_meanwhile_does_not_make_a_store_careless(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_new = Store.put_new
    cleared: list[str] = []

    def put_and_clear(store: Store, key: str, data: bytes) -> str | None:
        etag = put_new(store, key, data)
        if not cleared:
            cleared.append(key)
            store.delete_below("out/_work/")  # as a writer does that ends
        return etag

    monkeypatch.setattr(Store, "put_new", put_and_clear)
    probe(open_store(bucket), "out/_work")
    assert cleared
    assert list(open_store(bucket).list()) == []


_KILLED_IN_A_PROBE = """
import os, signal, sys
from pulmospark.store import probe, store, uri
probe.in_parallel = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
bucket = uri.parse_uri(sys.argv[1])
probe.probe(store.open_store(bucket), "out")
"""


def test_what_a_killed_process_left_of_its_probe_goes(
    bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store(bucket)
    opened.put("out/_q", b"of another")
    command = [sys.executable, "-c", _KILLED_IN_A_PROBE, str(bucket)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left, _) = [found.uri for found in opened.list()]
    assert is_probe(left)
    probe(opened, "out")
    assert opened.head(left.key), "the other process may be alive"
    time.sleep(1.1)  # a server's time is of seconds
    monkeypatch.setattr("pulmospark.core.store_limits.PROBE_LEFT_S", 0)
    probe(opened, "out/inner")
    assert opened.head(left.key)
    probe(opened, "out")
    assert [found.uri.key for found in opened.list()] == ["out/_q"]


def test_a_forked_process_opens_its_own(bucket: StoreUri, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_store(bucket)
    assert open_store(bucket) is first
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert open_store(bucket) is not first
