"""A cluster whose workers share nothing with the driver but a store.

Both workers are real, in mount namespaces of their own: the driver's folders, its temporary ones
and its cache are empty there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.servers import quick, standalone

from caches import new_cache

_HIDING = (
    'mount -t tmpfs none "$1" && shift && XDG_CACHE_HOME=$(mktemp -d) && export XDG_CACHE_HOME '
    '&& exec "$@"'
)


def _may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


SKIPPED = pytest.mark.skipif(not _may_mount(), reason="this user may not mount in a namespace")

STUDY = """
name = "small"
out = "{out}"
[[sources]]
path = "{sheet}"
name = "study"
[classes]
"COVID-19" = ["COVID-19"]
normal = ["normal"]
[ingest]
size = 64
"""
"""begins an experiment on a sheet in a store, whose cells name images of two classes"""


@dataclass(frozen=True)
class Strangers:
    """A cluster, and the folder that its driver alone sees.

    Attributes:
        driver: the folder, with the driver's cache and temporary files.
        master: of the cluster.
        workers: process ids.
    """

    driver: Path
    master: str
    workers: tuple[int, ...]


def driver_folder(folder: Path) -> Path:
    """A folder in another, with a driver's cache and temporary files."""
    driver = folder / "driver"
    (driver / "tmp").mkdir(parents=True)
    new_cache(driver / "cache")
    return driver


@contextmanager
def strangers(folder: Path) -> Iterator[Strangers]:
    """A cluster of two such workers, of one core each, with the environment of the caller."""
    driver, logs = driver_folder(folder), folder / "cluster"
    logs.mkdir()
    hidden = ("unshare", "--mount", "sh", "-c", _HIDING, "sh", str(driver))
    with standalone(logs, each=hidden) as cluster:
        yield Strangers(driver, cluster.url, tuple(worker.pid for worker in cluster.workers))


def command(
    cluster: Strangers, *words: str, master: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of pulmospark on the cluster, or on another master."""
    conf = [part for pair in quick().items() for part in ("--conf", "=".join(pair))]
    where = ["--master", master or cluster.master, *conf, "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pulmospark", *words, *where],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "TMPDIR": f"{cluster.driver}/tmp",
            "XDG_CACHE_HOME": f"{cluster.driver}/cache",
        },
    )
