"""Resources that a Spark task may use."""

from __future__ import annotations

import sys


def task_cores() -> int:
    """Cores of the current Spark task (``spark.task_cores.cpus``); 1 outside a task.

    Asks Spark only where Spark is there: whoever scores an image without it need not load it.
    """
    if "pyspark.taskcontext" not in sys.modules:
        return 1
    from pyspark import TaskContext  # noqa: PLC0415 - it is imported already

    context = TaskContext.get()
    return max(context.cpus(), 1) if context is not None else 1
