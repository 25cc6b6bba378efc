"""GPUs of executors: requests by tasks, and the GPU assigned to a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulmospark.core import limits

if TYPE_CHECKING:
    from pyspark.resource import ResourceProfile
    from pyspark.sql import SparkSession

EXECUTOR_GPUS = "spark.executor.resource.gpu.amount"
TASK_GPUS = "spark.task.resource.gpu.amount"
_GPU = "gpu"


def executors_have_gpus(spark: SparkSession) -> bool:
    """Whether the session's executors were started with GPUs."""
    return _number(spark, EXECUTOR_GPUS) > 0


def gpus_of_a_task(spark: SparkSession) -> float:
    """GPUs requested per task of the session, possibly a share such as 0.5; 0: none."""
    return _number(spark, TASK_GPUS)


def gpu_profile(spark: SparkSession) -> ResourceProfile | None:
    """Resources requested by the tasks of a job that runs a network on a GPU.

    Only these jobs then wait for GPUs; others use all cores. As many tasks share a GPU
    as the executor has cores for it, up to ``limits.GPU_TASKS_MAX``: decoding on the cores
    takes longer than the network on the GPU.

    Returns:
        ``None`` where executors have no GPUs, or where ``spark.task_cores.resource.gpu.amount``
        says already what each task gets, or on a local master, which knows no profiles.
    """
    master = spark.conf.get("spark.master", "") or ""
    if master.startswith("local") or not executors_have_gpus(spark):
        return None
    if gpus_of_a_task(spark) > 0:
        return None
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests  # noqa: PLC0415

    requests = TaskResourceRequests()
    requests.cpus(max(int(_number(spark, "spark.task.cpus")), 1))
    requests.resource(_GPU, share_of_gpu(*_executor(spark)))
    return ResourceProfileBuilder().require(requests).build


def share_of_gpu(cores: int, gpus: int) -> float:
    """The share of a GPU requested per task; Spark accepts 1 / n, or whole ones.

    Args:
        cores: of an executor; 0: not known.
        gpus: of an executor, 1 and more.
    """
    tasks = cores // gpus if cores else limits.GPU_TASKS_MAX
    return 1 / min(max(tasks, 1), limits.GPU_TASKS_MAX)


def task_gpu() -> int | None:
    """CUDA index of the GPU assigned to this task; ``None``: no GPU, or not in a task."""
    from pyspark import TaskContext  # noqa: PLC0415 - a worker has it already

    context = TaskContext.get()
    given = context.resources().get(_GPU) if context is not None else None
    if given is None or not given.addresses or not given.addresses[0].isdecimal():
        return None
    return int(given.addresses[0])


def _executor(spark: SparkSession) -> tuple[int, int]:
    return int(_number(spark, "spark.executor.cores")), int(_number(spark, EXECUTOR_GPUS))


def _number(spark: SparkSession, key: str) -> float:
    return float(spark.conf.get(key, "0") or 0)
