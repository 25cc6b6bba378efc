"""A real S3 server on loopback for the tests of stores: moto's."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pulmospark.store import store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from store.watched import Watched

# `benchmarks.servers` lies beside the tests, and in no package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of the server, which lives as long as the tests."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreUri]:
    """An empty bucket, and the environment with which its owner reaches it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    name = f"images-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    store._opened.cache_clear()
    yield StoreUri("s3", name, "")
    store._opened.cache_clear()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A light server that takes any bucket, and waits with its answers once ``delay_s`` is set."""
    from benchmarks.failing_proxy import in_thread

    from store.watched import Watched

    server = Watched()
    with in_thread(server.start):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store._opened.cache_clear()
        yield server
        store._opened.cache_clear()
