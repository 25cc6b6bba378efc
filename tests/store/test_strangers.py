"""Executors that share nothing with the driver but a store.

Both workers are real, in mount namespaces of their own: the driver's folders, its temporary ones
and its cache are empty there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.servers import quick, standalone

from bundles import write_untrained
from cluster.small import write_pictures
from pulmospark.inference.batch.predict import predict
from pulmospark.store.folders import put_files
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

_EACH = 12
_HIDING = (
    'mount -t tmpfs none "$1" && shift && XDG_CACHE_HOME=$(mktemp -d) && export XDG_CACHE_HOME '
    '&& exec "$@"'
)


def _may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not _may_mount(), reason="this user may not mount in a namespace"),
]


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """Folder that the driver alone sees: a picture set, a bundle, its cache, temporary files."""
    folder = tmp_path / "driver"
    write_pictures(folder / "images", _EACH)
    write_untrained(folder / "bundle")
    (folder / "tmp").mkdir()
    return folder


@pytest.fixture
def master(driver: Path, bucket: StoreUri, tmp_path: Path) -> Iterator[str]:
    """A cluster whose workers see an empty folder there."""
    del bucket  # its environment is the workers'
    (tmp_path / "cluster").mkdir()
    hidden = ("unshare", "--mount", "sh", "-c", _HIDING, "sh", str(driver))
    with standalone(tmp_path / "cluster", each=hidden) as cluster:
        yield cluster.url


def _predict(driver: Path, master: str, *words: str) -> subprocess.CompletedProcess[str]:
    conf = [part for pair in quick().items() for part in ("--conf", "=".join(pair))]
    return subprocess.run(
        [sys.executable, "-m", "pulmospark", "predict", *words, "--master", master, *conf, "-q"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "TMPDIR": f"{driver}/tmp", "XDG_CACHE_HOME": f"{driver}/cache"},
    )


def test_predictions_are_those_of_one_process(
    driver: Path, master: str, bucket: StoreUri, s3_endpoint: str, tmp_path: Path
) -> None:
    put_files(driver / "images", bucket / "in")
    put_files(driver / "bundle", bucket / "bundle")
    done = _predict(driver, master, f"{bucket}bundle", f"{bucket}in", "--out", f"{bucket}out")
    assert done.returncode == 0, done.stderr[-3000:]

    expected = predict(driver / "bundle", [str(driver / "images")], tmp_path / "here", None)
    assert (expected.images, expected.rejects) == (2 * _EACH, 1)
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    for name in ("predictions", "rejects"):
        found = deltalake.DeltaTable(f"{bucket}out/{name}", storage_options=options)
        rows = pa.table(found.to_pyarrow_table()).to_pylist()
        here = pq.read_table(tmp_path / "here" / name).to_pylist()
        names = {row["uri"].rpartition("/in/")[2]: row for row in rows}
        same = {row["uri"].rpartition("/images/")[2]: row for row in here}
        assert names.keys() == same.keys()
        assert len(rows) == len(here)
        for key, row in names.items():
            for column in ("image_id", "reason", "prediction", "label"):
                assert row.get(column) == same[key].get(column)
            chances = same[key].get("probability")
            assert row.get("probability") == pytest.approx(chances, abs=1e-6)
    left = [each.uri.key for each in open_store(bucket).list("out/")]
    assert not [key for key in left if "_work" in key]
    csv = open_store(bucket).get("out/predictions.csv").decode().splitlines()
    assert len(csv) == 1 + 2 * _EACH

    # What only the driver sees is refused before the work, with the machine's name.
    images = str(driver / "images")
    refused = _predict(driver, master, f"{bucket}bundle", images, "--out", f"{bucket}other")
    assert refused.returncode == 4
    (line,) = refused.stderr.strip().splitlines()
    assert f"{images}: the folder is empty" in line or f"{images}: No such file" in line
