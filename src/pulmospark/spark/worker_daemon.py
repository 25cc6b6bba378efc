"""Spark's Python daemon, which imports what tasks need once, before it forks its workers.

Only on a local master: Spark starts it there by ``spark.python.daemon.module``, with this
process's Python. On a cluster the package may be missing, which a check reports in one line,
where a daemon that does not start would be a Java trace.

A fork copies one thread alone. So nothing is imported here that starts another: Arrow's allocator
is set not to, and OpenVINO, which does, is left to the workers.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

MODULE = __name__
_LIBRARIES = ("numpy", "pyarrow.parquet", "cv2", "simplejpeg", "pyspark.worker")
_OURS = ("pulmospark.imaging.image", "pulmospark.chunks.task")


def preload() -> None:
    """Import what tasks need, and exclude it from garbage collection in the workers."""
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
    for name in (*_LIBRARIES, *_OURS):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def main() -> None:
    """Preload, and then be Spark's own daemon."""
    # The daemon says its address on standard output: nothing else may get there.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        preload()
    finally:
        sys.stdout.flush()
        os.dup2(answer, 1)
        os.close(answer)
    from pyspark.daemon import manager  # noqa: PLC0415 - after what it forks

    manager()


if __name__ == "__main__":
    main()
