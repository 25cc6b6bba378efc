"""What a Spark task may use of its machine."""

from __future__ import annotations

import sys


def task_cores() -> int:
    """Cores that Spark gives to the task that runs here (``spark.task.cpus``); 1 outside one.

    Asks Spark only where Spark is there: whoever scores a film without it need not load it.
    """
    if "pyspark.taskcontext" not in sys.modules:
        return 1
    from pyspark import TaskContext  # noqa: PLC0415 - it is imported already

    context = TaskContext.get()
    return max(context.cpus(), 1) if context is not None else 1
