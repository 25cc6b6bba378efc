"""A real S3 server on loopback for the tests of stores: moto's."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from pulmospark.store import store
from pulmospark.store.uri import StoreUri

# `benchmarks` lies beside the tests, and in no package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.failing_proxy import in_thread
from benchmarks.moto_server import moto_server

from store.watched import Watched


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of the server, which lives as long as the tests."""
    with moto_server() as endpoint:
        yield endpoint


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
    server = Watched()
    with in_thread(server.start):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store._opened.cache_clear()
        yield server
        store._opened.cache_clear()
