"""The same tests on other Sparks: a standalone cluster on loopback, and Spark Connect.

Each is started once, and one process with one session runs all its tests: a start of either
takes longer than most of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters import check_passed, connect_server, run_tests, standalone

_ANY = "tests/cluster/test_any_spark.py"
_DISTRIBUTED = "tests/training/test_distributed.py::"


@pytest.mark.spark
def test_a_standalone_cluster(tmp_path: Path) -> None:
    with standalone(tmp_path) as cluster:
        done = run_tests(
            cluster.url,
            [
                _ANY,
                _DISTRIBUTED + "test_two_processes_train_one_network",
                _DISTRIBUTED + "test_a_worker_s_own_error_is_what_is_raised",
                "tests/cluster/on_cluster.py",  # last, for it kills a worker
            ],
            PULMOSPARK_TEST_WORKER=str(cluster.workers[0].pid),
        )
    check_passed(done, 7)


@pytest.mark.spark
def test_spark_connect(tmp_path: Path) -> None:
    with connect_server(tmp_path) as url:
        done = run_tests(url, [_ANY, "tests/cluster/on_connect.py"])
    check_passed(done, 5)
