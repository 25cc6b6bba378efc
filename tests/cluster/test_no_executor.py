"""A cluster on which no executor comes up is refused, and not waited for without end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.servers import quick, standalone

from bundles import write_untrained
from cluster.small import write_pictures
from pulmospark.core import spark_limits

_SHORT = (
    "from pulmospark.core import spark_limits; spark_limits.EXECUTOR_S_MAX = 3.0; "
    "from pulmospark.__main__ import main; main()"
)


@pytest.mark.spark
def test_a_master_without_workers_is_refused_with_one_line(tmp_path: Path) -> None:
    assert spark_limits.EXECUTOR_S_MAX < 60
    images = write_pictures(tmp_path / "images", 1)
    bundle = write_untrained(tmp_path / "bundle")
    conf = [part for pair in quick().items() for part in ("--conf", "=".join(pair))]
    with standalone(tmp_path, workers=0) as cluster:
        begun = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-c", _SHORT, "predict", str(bundle), str(images), "-q"),
                *("--out", str(tmp_path / "out"), "--master", cluster.url, *conf),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=dict(os.environ),
        )
        seconds = time.monotonic() - begun
    assert done.returncode == 4, done.stderr[-3000:]
    (line,) = done.stderr.strip().splitlines()
    assert f"{cluster.url}: no executor within 3 s: check that the cluster has workers" in line
    assert seconds < 60
