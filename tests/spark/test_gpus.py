"""GPUs of executors: what a task asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pulmospark.core import limits
from pulmospark.spark.gpus import executors_have_gpus, gpu_profile, share_of_gpu, task_gpu


@given(st.integers(0, 256), st.integers(1, 16))
def test_a_share_is_one_nth_and_leaves_no_core_idle_without_need(cores: int, gpus: int) -> None:
    tasks = 1 / share_of_gpu(cores, gpus)
    assert tasks == pytest.approx(round(tasks))  # Spark takes no other share
    assert 1 <= tasks <= limits.GPU_TASKS_MAX
    if cores >= gpus * limits.GPU_TASKS_MAX:
        assert tasks == limits.GPU_TASKS_MAX
    elif cores >= gpus:
        assert gpus * round(tasks) <= cores


def test_outside_a_task_there_is_no_gpu() -> None:
    assert task_gpu() is None


@pytest.mark.spark
def test_a_session_without_gpus_asks_for_none(spark: SparkSession) -> None:
    assert not executors_have_gpus(spark)
    assert gpu_profile(spark) is None
