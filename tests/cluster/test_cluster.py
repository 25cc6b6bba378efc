"""The same tests on other Sparks: a standalone cluster on loopback, and Spark Connect.

Each is started once, and one process with one session runs all its tests: a start of either
takes longer than most of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters import check_passed, connect_server, run_tests, standalone

_SPLIT = "tests/data/test_split.py::"
_ML = "tests/ml/test_ml_featurizer.py::"
_EVERYWHERE = (
    _SPLIT + "test_one_row_an_image_and_each_left_out_has_its_reason",
    _SPLIT + "test_folds_test_each_film_once_and_never_one_they_learn_from",
    _SPLIT + "test_order_and_partitions_of_the_rows_do_not_matter",
    "tests/scoring/test_predict_films.py::test_spark_this_process_and_an_images_table_agree",
    _ML + "test_features_are_the_network_s_own",
    _ML + "test_a_row_that_is_no_film_is_skipped",
    _ML + "test_a_null_image_is_no_film",
    "tests/ml/test_ml_classifier.py::test_probabilities_are_the_bundle_s",
)
_DISTRIBUTED = "tests/training/test_distributed.py::"


@pytest.mark.spark
def test_a_standalone_cluster(tmp_path: Path) -> None:
    with standalone(tmp_path) as cluster:
        done = run_tests(
            cluster.url,
            [
                *_EVERYWHERE,
                _DISTRIBUTED + "test_two_processes_train_one_network",
                _DISTRIBUTED + "test_a_worker_s_own_error_is_what_is_raised",
                "tests/cluster/on_cluster.py",  # last, for it kills a worker
            ],
            PULMOSPARK_TEST_WORKER=str(cluster.workers[0].pid),
        )
    check_passed(done, 12)


@pytest.mark.spark
def test_spark_connect(tmp_path: Path) -> None:
    with connect_server(tmp_path) as url:
        done = run_tests(url, [*_EVERYWHERE, "tests/cluster/on_connect.py"])
    check_passed(done, 12)
