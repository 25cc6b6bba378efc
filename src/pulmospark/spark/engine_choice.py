"""Chooses what runs the chunks of a command: Spark, or processes on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.extras import has_pyspark
from pulmospark.core.progress import stage
from pulmospark.core.worker_process import start_workers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pulmospark.chunks.executor import Executor, Workers
    from pulmospark.chunks.local import LocalPool
    from pulmospark.chunks.parquet_files import Place

EngineName = Literal["auto", "spark", "local"]

_SPARK_IS_THERE = {
    "PYSPARK_GATEWAY_PORT": "spark-submit started this command",
    "SPARK_REMOTE": "SPARK_REMOTE names a server",
    "DATABRICKS_RUNTIME_VERSION": "this is a Databricks cluster",
}
"""environment variables by which a cluster's session announces itself"""


def workers_of(workers: Workers | SparkSession | None) -> Workers:
    """What runs the chunks of a public function.

    Args:
        workers: as they are; a Spark session: its executors; ``None``: this process.
    """
    if workers is None:
        from pulmospark.chunks.local import ThisProcess  # noqa: PLC0415 - see EngineChoice

        return ThisProcess()
    if hasattr(workers, "executor_for"):
        return cast("Workers", workers)
    from pulmospark.spark.executor import SparkExecutor  # noqa: PLC0415 - only with Spark

    return SparkExecutor(workers)


class EngineChoice:
    """Workers that are chosen once it is known how many images there are.

    Spark's start and its first job cost seconds, which fewer than ``limits.LOCAL_IMAGES_MAX``
    images do not repay on one machine. The parts are the same either way. Where PySpark is not
    installed, more are run without it as well.

    The processes are started before this one imports the libraries that both need.

    Args:
        engine: ``auto``, or the user's choice.
        master: of Spark, as in :func:`pulmospark.spark.session.spark_session`.
        conf: Spark settings.
        preload: see :func:`pulmospark.core.worker_process.start_workers`.
        alone: score a single image in this process, which may crash with it.
        say: receives one line that says what was chosen, and why, if there are several images.

    Raises:
        UsageError: ``local`` together with settings for Spark.
    """

    def __init__(
        self,
        engine: EngineName = "auto",
        master: str | None = None,
        conf: Mapping[str, str] | None = None,
        *,
        preload: Sequence[str] = (),
        alone: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._engine, self._master, self._conf = engine, master, dict(conf or {})
        self._preload, self._alone, self._say = preload, alone, say
        self._stack = contextlib.ExitStack()
        self._chosen: Executor | None = None
        self._pool: LocalPool | None = None
        self._spark_because = self._reason_for_spark()
        if engine == "local" and (master or conf):
            raise UsageError("--engine local: --master and --conf are for Spark; omit them")

    def __enter__(self) -> Self:
        if self._spark_because is None and not self._alone:
            self._pool = self._started()
        return self

    def _started(self) -> LocalPool:
        workers = start_workers(preload=self._preload)
        from pulmospark.chunks.local import LocalPool  # noqa: PLC0415 - see the class

        return self._stack.enter_context(LocalPool(workers=workers))

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def check(self, *, reads: Sequence[str] = (), folder: Place | None = None) -> None:
        """Check Spark's executors, if it is already certain that they are used."""
        if self._spark_because is not None:
            self.executor_for(0).check(reads=reads, folder=folder)

    def executor_for(self, images: int) -> Executor:
        """Start what suits so many images; the first call decides.

        Raises:
            PlatformError: Spark does not start.
        """
        if self._alone and self._spark_because is None and images == 1:
            self._chosen = workers_of(None).executor_for(images)
        if self._chosen is None:
            because = self._spark_because or self._too_many(images)
            if because is None:
                self._pool = self._pool or self._started()
                self._chosen, name = self._pool, "local"
                because = self._reason_for_local(images)
            else:
                self._chosen, name = self._start_spark(), "spark"
            if self._say is not None and images != 1:
                self._say(f"engine: {name} ({because})")
        return self._chosen

    def _start_spark(self) -> Executor:
        if self._pool is not None:
            self._pool.__exit__()
        from pulmospark.spark.executor import SparkExecutor  # noqa: PLC0415 - half a second
        from pulmospark.spark.session import spark_session  # noqa: PLC0415

        with stage("start Spark", quiet=self._say is None):
            session = self._stack.enter_context(spark_session(self._master, self._conf))
        return SparkExecutor(session)

    def _too_many(self, images: int) -> str | None:
        few = images < limits.LOCAL_IMAGES_MAX
        if few or self._engine == "local" or not has_pyspark():
            return None
        return f"{images:,} images, {limits.LOCAL_IMAGES_MAX:,} or more"

    def _reason_for_local(self, images: int) -> str:
        if self._engine == "local":
            return "--engine local"
        if images < limits.LOCAL_IMAGES_MAX:
            return f"{images:,} images, fewer than {limits.LOCAL_IMAGES_MAX:,}"
        return "PySpark is not installed"

    def _reason_for_spark(self) -> str | None:
        """Why Spark runs any number of images; ``None``: it depends on the number."""
        if self._engine != "auto":
            return "--engine spark" if self._engine == "spark" else None
        if self._master is not None or self._conf:
            return "--master" if self._master is not None else "--conf"
        for variable, reason in _SPARK_IS_THERE.items():
            if os.environ.get(variable):
                return reason
        return "a session is active" if _session_is_active() else None


def _session_is_active() -> bool:
    if "pyspark.sql" not in sys.modules:
        return False
    from pyspark.sql import SparkSession  # noqa: PLC0415 - it is imported already

    return SparkSession.getActiveSession() is not None
