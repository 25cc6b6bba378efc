"""Where the streams of a benchmark read and write: folders, or a store behind a bad network."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.failing_proxy import Faults, Proxy, failing_proxy
from benchmarks.object_server import BUCKET, Bucket, bucket_of
from benchmarks.stream_process import land

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

    def __init__(self, work: Path, server: Bucket, proxy: Proxy) -> None:
        self._work, self._server, self._proxy = work, server, proxy
        self.inbox, self.out = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"
        self.settings = ("--set", "rescan_s=0.5")

    def land(self, name: str, data: bytes) -> None:
        """Put an image into the inbox."""
        self._server.put(f"in/{name}", data)

    def rows(self, table: str) -> pa.Table:
        """A table of the output, by its log."""
        options = {"AWS_ENDPOINT_URL": self._server.endpoint, "AWS_ALLOW_HTTP": "true"}
        with contextlib.suppress(deltalake.exceptions.TableNotFoundError):
            found = deltalake.DeltaTable(f"{self.out}/{table}", storage_options=options)
            return pa.table(found.to_pyarrow_table())
        return None

    def files(self) -> Counter[str]:
        """Addresses of the objects of the inbox."""
        return Counter(f"s3://{BUCKET}/{key}" for key in self._server.keys("in"))

    def next_machine(self, chance: random.Random) -> None:
        """Another cache: the next stream may find nothing of the last one but its tables."""
        machine = self._work / f"machine-{chance.randrange(_MACHINES)}"
        os.environ["XDG_CACHE_HOME"] = str(machine)

    def notes(self) -> list[str]:
        """What else happened."""
        failed = ", ".join(f"{n} x {name}" for name, n in sorted(self._proxy.counts.items()))
        return [f"{_MACHINES} machines in turn; requests: {failed}"]


@contextlib.contextmanager
def places(work: Path, *, store: str | None) -> Iterator[Folders | InStore]:
    """Folders below ``work``, or a store on a server; the environment is that of its streams."""
    if store is None:
        yield Folders(work)
        return
    with (
        bucket_of(store) as server,
        failing_proxy(server.endpoint, Faults.of(FAULTS)) as proxy,
    ):
        os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
        yield InStore(work, server, proxy)
