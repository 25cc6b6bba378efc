"""A disk that is really full: under the output, and under a redirected answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles import write_untrained

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="/dev/full and file systems of a test's own: Linux only"
)

# In a namespace of its own, so that no right of root is needed and nothing is left behind.
_ALONE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that scores one image; ``--out`` and its folder are to follow."""
    folder = tmp_path_factory.mktemp("order")
    image = np.random.default_rng(1).integers(0, 256, (70, 70), dtype=np.uint8)
    assert cv2.imwrite(str(folder / "a.png"), image)
    bundle = write_untrained(folder / "bundle")
    command = [sys.executable, "-m", "pulmospark", "predict", str(bundle)]
    return [*command, str(folder / "a.png"), "--out"]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _says_full(returncode: int, stderr: str) -> None:
    assert returncode == 4, stderr
    assert len(stderr.splitlines()) == 1, stderr
    assert "the disk is full" in stderr
    assert "--out" in stderr


def test_under_standard_output() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pulmospark", "layouts", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    _says_full(done.returncode, done.stderr)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = _run("sh", "-c", f'"{sys.executable}" -m pulmospark layouts --json | true')
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("size", ["4k", "16k", "300k"])
def test_under_the_listing_the_network_and_the_tables(
    order: list[str], tmp_path: Path, size: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = [*_ALONE, _MOUNT, "sh", size, str(disk)]
    if (may := _run(*alone, "true")).returncode:
        pytest.skip(f"no file system of one's own may be mounted here: {may.stderr.strip()}")
    # A cache of its own, without the network of an earlier run.
    cache = f"XDG_CACHE_HOME={disk / 'cache'}"
    done = _run(*alone, "env", cache, *order, str(disk / "out"))
    _says_full(done.returncode, done.stderr)


def test_on_a_disk_with_room_the_same_command_works(order: list[str], tmp_path: Path) -> None:
    done = _run(*order, str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
