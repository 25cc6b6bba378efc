"""Azure Blob Storage, on Microsoft's emulator, beside Azure's own client and deltalake."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from browser import needed
from bundles import write_untrained
from pulmospark.config.inference import AppendSettings
from pulmospark.inference.batch.predict import predict
from pulmospark.store import store
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.folders import put_files
from pulmospark.store.probe import probe
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from store.conditions import check_a_change_is_noticed, check_only_one_creates

AZURITE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "pulmospark-ci" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
)  # fmt: skip
_ACCOUNT = "devstoreaccount1"
# The emulator's, the same everywhere: it is no secret.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_WAIT_S = 60


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the emulator's account."""
    program = needed(AZURITE, "azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += ["--location", str(folder), "--skipApiVersionCheck", "--disableTelemetry"]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/{_ACCOUNT}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    until = time.monotonic() + _WAIT_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < until, "azurite does not listen"
        time.sleep(0.1)


@pytest.fixture
def container(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ContainerClient]:
    """An empty container, and the environment with which its owner reaches it."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", _KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
    client = BlobServiceClient(
        endpoint, credential={"account_name": _ACCOUNT, "account_key": _KEY}
    )
    store._opened.cache_clear()
    yield client.create_container(f"images-{uuid.uuid4().hex[:12]}")
    store._opened.cache_clear()


@pytest.fixture
def address(container: ContainerClient) -> StoreUri:
    name = f"{container.container_name}@{_ACCOUNT}.dfs.core.windows.net"
    return StoreUri("abfss", name, "")


def test_names_and_contents_are_those_of_the_clouds_own_client(
    container: ContainerClient, address: StoreUri
) -> None:
    names = ["a b.png", "a%20b.png", "ü/é.png", "q?a=b#c", "tilde~[1].png", "a+b.png"]
    for number, name in enumerate(names):
        container.upload_blob(name, bytes([number] * (number + 1)))
    opened = open_store(address)
    listed = {found.uri.key: found for found in opened.list()}
    assert sorted(listed) == sorted(names)
    for number, name in enumerate(names):
        assert opened.get(name) == bytes([number] * (number + 1))
        assert listed[name].size_bytes == number + 1
        assert (listed[name].etag or "").strip('"') == (
            container.get_blob_client(name).get_blob_properties().etag.strip('"')
        )
    opened.put("new ü#.png", bytes(range(100)))
    assert container.download_blob("new ü#.png").readall() == bytes(range(100))
    assert opened.get_range("new ü#.png", 90, 5) == bytes(range(90, 95))
    assert [found.uri.key for found in opened.list("ü/")] == ["ü/é.png"]
    opened.delete("new ü#.png")
    opened.delete("new ü#.png")
    with pytest.raises(ObjectMissingError, match=r"abfss://.*no such object"):
        opened.get("new ü#.png")


def test_conditions_are_heeded(address: StoreUri) -> None:
    opened = open_store(address)
    probe(opened, "out")
    assert list(opened.list()) == []
    check_only_one_creates(opened)
    check_a_change_is_noticed(opened)


def _rows(table: str, version: int | None = None) -> list[dict[str, Any]]:
    # Independent of our own code: options as deltalake's documentation has them.
    options = {
        "azure_storage_account_name": _ACCOUNT,
        "azure_storage_account_key": _KEY,
        "azure_storage_endpoint": os.environ["AZURE_STORAGE_ENDPOINT"],
        "allow_http": "true",
    }
    found = deltalake.DeltaTable(table, version=version, storage_options=options)
    return sorted(pa.table(found.to_pyarrow_table()).to_pylist(), key=lambda row: row["uri"])


def test_from_a_container_to_a_table(
    address: StoreUri, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = write_untrained(tmp_path / "bundle")
    images = sorted((shared_data / "COVID-19_Radiography_Dataset").rglob("images/*.png"))[:3]
    put_files(bundle, address / "models/mine")
    for path in images:
        open_store(address).put(f"in/{path.name}", path.read_bytes())
    open_store(address).put("in/broken.png", b"broken")
    out = address / "out"
    done = predict(address / "models/mine", [f"{address}in"], out, None, quiet=True)
    assert (done.images, done.rejects) == (3, 1)
    predict(bundle, [str(path) for path in images], tmp_path / "here", None, quiet=True)
    here = pq.read_table(tmp_path / "here/predictions").sort_by("uri").to_pylist()
    rows = _rows(f"{out}/predictions")
    assert [row["uri"] for row in rows] == [f"{address}in/{path.name}" for path in images]
    assert [row["probability"] for row in rows] == [row["probability"] for row in here]
    assert [row["uri"] for row in _rows(f"{out}/rejects")] == [f"{address}in/broken.png"]

    open_store(address).put("in/later.png", images[0].read_bytes() + b"\0")
    predict(bundle, [f"{address}in"], out, None, append=AppendSettings(), quiet=True)
    later = _rows(f"{out}/predictions")
    assert len(later) == 4
    assert len(_rows(f"{out}/predictions", version=0)) == 3
    assert not [found for found in open_store(address).list("out/") if "_work" in found.uri.key]
