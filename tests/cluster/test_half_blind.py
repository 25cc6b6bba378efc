"""One of two workers does not see the images: no image is rejected for it.

Both workers are real; the second has a mount namespace of its own, in which an empty file
system is mounted over the images.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from benchmarks.servers import quick, standalone

from cluster.small import write_pictures
from pulmospark.core import limits

_EACH = 3 * limits.CHUNK_FILES_MAX
_S_MAX = 300
"""seconds; a quarter of a minute where nothing else runs"""
_NAMESPACE = ("unshare", "--mount")


def _may_mount() -> bool:
    command = [*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not _may_mount(), reason="this user may not mount in a namespace"),
]


@dataclass(frozen=True)
class Half:
    """A cluster of which one worker can be blinded."""

    url: str
    images: Path
    worker: int
    """process of the worker that has mounts of its own"""

    def _in_namespace(self, *command: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.worker), "-m", *command], check=True)

    def blind(self) -> None:
        """Mount nothing over the images, for the one worker."""
        self._in_namespace("mount", "-t", "tmpfs", "none", str(self.images))

    def see(self) -> None:
        """Take it away."""
        self._in_namespace("umount", str(self.images))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Half]:
    folder = tmp_path_factory.mktemp("half")
    images = write_pictures(folder / "images", _EACH)
    with standalone(folder, last=_NAMESPACE) as cluster:
        # unshare becomes the script that becomes Java: one process.
        yield Half(cluster.url, images, cluster.workers[-1].pid)


def _ingest(half: Half, out: Path, *more: str) -> subprocess.Popen[str]:
    conf = [part for pair in quick().items() for part in ("--conf", "=".join(pair))]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pulmospark", "ingest", str(half.images), "--quiet"),
            *("--out", str(out), "--master", half.url, *conf, *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _outcome(job: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return job.communicate(timeout=_S_MAX)
    finally:
        job.kill()  # else it would keep the cluster from the next test


def _one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_a_worker_without_the_images_is_named_before_the_work(half: Half, tmp_path: Path) -> None:
    half.blind()
    try:
        job = _ingest(half, tmp_path / "run")
        _, errors = _outcome(job)
    finally:
        half.see()
    line = _one_line(errors)
    assert job.returncode == 4, errors
    assert re.search(rf"{re.escape(platform.node())}: {half.images}: the folder is empty", line)
    assert not list(tmp_path.rglob("rejects"))


def test_images_that_go_while_they_are_read_are_not_rejected(half: Half, tmp_path: Path) -> None:
    job = _ingest(half, tmp_path / "run")
    until = time.monotonic() + _S_MAX
    while not list(tmp_path.rglob("*.done")) and time.monotonic() < until and job.poll() is None:
        time.sleep(0.01)
    half.blind()
    try:
        output, errors = _outcome(job)
    finally:
        half.see()
    rejects = list(tmp_path.rglob("rejects-*.parquet"))
    reasons = {r for path in rejects for r in pq.read_table(path)["reason"].to_pylist()}
    assert reasons <= {"not_an_image"}, "an image was rejected for the machine's fault"
    if job.returncode:  # the machine was asked again, and not left aside
        assert job.returncode == 4, errors
        assert platform.node() in _one_line(errors)
        assert str(half.images) in errors
    else:
        assert "1,536 images, 1 reject (1 not_an_image)" in output  # all, by the other worker
    assert psutil.pid_exists(half.worker)
