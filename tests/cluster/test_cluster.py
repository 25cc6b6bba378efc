"""The same tests on other Sparks: a standalone cluster on loopback, and Spark Connect.

Each is started once, and one process with one session runs all its tests: a start of either
takes longer than most of them.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.servers import connect_server, quick, standalone

_ANY = "tests/cluster/test_any_spark.py"
_DISTRIBUTED = "tests/training/test_distributed.py::"


@pytest.mark.spark
def test_a_standalone_cluster(tmp_path: Path) -> None:
    with standalone(tmp_path) as cluster:
        done = _run_tests(
            cluster.url,
            [
                _ANY,
                _DISTRIBUTED + "test_two_processes_train_one_network",
                _DISTRIBUTED + "test_a_worker_s_own_error_is_what_is_raised",
                "tests/cluster/on_cluster.py",  # last, for it kills a worker
            ],
            PYSPARK_SUBMIT_ARGS=_submit_arguments(),
            PULMOSPARK_TEST_WORKER=str(cluster.workers[0].pid),
        )
    _check_passed(done, 7)


@pytest.mark.spark
def test_spark_connect(tmp_path: Path) -> None:
    with connect_server(tmp_path) as url:
        done = _run_tests(url, [_ANY, "tests/cluster/on_connect.py"])
    _check_passed(done, 5)


def _submit_arguments() -> str:
    """Spark's settings for a session that is told none.

    Not a folder of settings: on Java's class path it would keep Spark's ready classes from use.
    """
    settings = (("--conf", f"{key}={value}") for key, value in quick().items())
    return shlex.join([*itertools.chain.from_iterable(settings), "pyspark-shell"])


def _run_tests(master: str, tests: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a process of its own, whose session is that of ``master``.

    A process has one session only, and these tests' own is a local one.
    """
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--durations=5", "--durations-min=1", *tests],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **os.environ,
            "PULMOSPARK_TEST_MASTER": master,
            "SPARK_LOCAL_IP": "127.0.0.1",
            **more,
        },
    )


def _check_passed(done: subprocess.CompletedProcess[str], count: int) -> None:
    """All tests of ``_run_tests`` passed, ``count`` or more, and none was skipped."""
    assert done.returncode == 0, done.stdout[-6000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None, done.stdout[-2000:]
    assert int(found.group(1)) >= count, done.stdout[-2000:]
    assert "skipped" not in done.stdout
