"""Where the streams of a benchmark read and write: folders, or a store behind a bad network."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

from benchmarks.failing_proxy import Faults, Proxy, failing_proxy
from benchmarks.stream_process import land

BUCKET = "hospital"
FAULTS = 0.05
"""share of the requests that fail"""
_MACHINES = 2


class Folders:
    """An inbox and an output on the disk."""

    def __init__(self, work: Path) -> None:
        self._inbox, self._out = work / "inbox", work / "out"
        self._inbox.mkdir(exist_ok=True)
        self.inbox, self.out = str(self._inbox), str(self._out)
        self.settings: tuple[str, ...] = ()

    def land(self, name: str, data: bytes) -> None:
        """Put an image into the inbox."""
        land(self._inbox, name, data)

    def rows(self, table: str) -> pa.Table:
        """A table of the output, as a reader without the log has it."""
        folder = self._out / table
        there = folder.is_dir() and any(folder.glob("*.parquet"))
        return pq.read_table(folder) if there else None

    def files(self) -> Counter[str]:
        """Paths of the files of the inbox."""
        return Counter(str(path) for path in self._inbox.iterdir())

    def next_machine(self, chance: random.Random) -> None:
        """The same: a disk belongs to one."""

    def notes(self) -> list[str]:
        """What else happened."""
        return []


class InStore:
    """An inbox and an output in an S3 server; only the streams' requests fail."""

    def __init__(self, work: Path, server: str, proxy: Proxy) -> None:
        self._work, self._server, self._proxy = work, server, proxy
        self._store = S3Store(BUCKET, endpoint=server, client_options={"allow_http": True})
        self.inbox, self.out = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"
        self.settings = ("--set", "rescan_s=0.5")

    def land(self, name: str, data: bytes) -> None:
        """Put an image into the inbox."""
        self._store.put(f"in/{name}", data)

    def rows(self, table: str) -> pa.Table:
        """A table of the output, by its log."""
        options = {"AWS_ENDPOINT_URL": self._server, "AWS_ALLOW_HTTP": "true"}
        with contextlib.suppress(deltalake.exceptions.TableNotFoundError):
            found = deltalake.DeltaTable(f"{self.out}/{table}", storage_options=options)
            return pa.table(found.to_pyarrow_table())
        return None

    def files(self) -> Counter[str]:
        """Addresses of the objects of the inbox."""
        pages = self._store.list("in")
        return Counter(f"s3://{BUCKET}/{entry['path']}" for page in pages for entry in page)

    def next_machine(self, chance: random.Random) -> None:
        """Another cache: the next stream may find nothing of the last one but its tables."""
        machine = self._work / f"machine-{chance.randrange(_MACHINES)}"
        os.environ["XDG_CACHE_HOME"] = str(machine)

    def notes(self) -> list[str]:
        """What else happened."""
        failed = ", ".join(f"{n} x {name}" for name, n in sorted(self._proxy.counts.items()))
        return [f"{_MACHINES} machines in turn; requests: {failed}"]


@contextlib.contextmanager
def places(work: Path, *, store: bool) -> Iterator[Folders | InStore]:
    """Folders below ``work``, or a store; the environment is that of its streams."""
    if not store:
        yield Folders(work)
        return
    command = [sys.executable, "-m", "benchmarks.s3_server", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = f"http://127.0.0.1:{int(process.stdout.readline())}"
    try:
        with failing_proxy(server, Faults.of(FAULTS)) as proxy:
            os.environ |= {
                "AWS_ACCESS_KEY_ID": "of-a-benchmark",
                "AWS_SECRET_ACCESS_KEY": "of-a-benchmark",
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": proxy.endpoint,
            }
            yield InStore(work, server, proxy)
    finally:
        process.kill()
        process.wait()
