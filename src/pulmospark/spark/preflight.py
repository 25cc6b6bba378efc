"""Before the work starts, a task on each executor checks that it has everything it needs.

On a cluster each executor has its own files, mounts and Python. A missing one would otherwise
show an hour later, as missing images; here it is a one-line error within seconds. On a local
master the executor is this machine, and only its Python may differ.

Limits: a task cannot be sent to a chosen executor. So many tasks are sent at once, and again
until each executor that Spark knows of has answered and no further one has joined for
``limits.PREFLIGHT_SETTLE_S``, or ``limits.PREFLIGHT_S_MAX`` is over. That happens once per
session; later jobs send one round. Executors that join later are checked when they begin their
first chunk (:mod:`pulmospark.chunks.task`). Over Spark Connect their number is not known. A
cluster on which none comes up within ``spark_limits.EXECUTOR_S_MAX`` is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.worker_check import Expected, expected, faults, unseen
from pulmospark.core import limits, spark_limits
from pulmospark.core.errors import PlatformError
from pulmospark.core.files import disk_errors
from pulmospark.core.hashing import value_id
from pulmospark.spark.failures import job_errors
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PASSED = "pulmospark.preflight."
"""settings of the session that say which preflights it has passed"""
_WAITED = "pulmospark.preflight.waited"
"""setting of the session that says that its executors were waited for"""
_TASKS_A_SLOT = 2


@dataclass(frozen=True)
class _Probe:
    """The function that Spark sends to the executors."""

    wanted: Expected
    pause_s: float
    """for which a task keeps its slot, so that the next one goes to another"""

    def __call__(self, number: int) -> Iterator[str]:
        del number
        problems = list(faults(self.wanted))
        # Spark's daemon is this process's parent: one per executor.
        yield json.dumps([f"{platform.node()}:{os.getppid()}", problems])
        time.sleep(self.pause_s)


def preflight(
    spark: SparkSession, *, reads: Sequence[str] = (), folder: Place | None = None
) -> None:
    """Check that every executor has the driver's package, Python, input and output.

    Done once per session and set of paths.

    Args:
        spark: the session.
        reads: folders, files and addresses that tasks read: those that this machine sees
            itself are looked for on each executor.
        folder: that tasks write to, created if missing, or its address.

    Raises:
        PlatformError: an executor lacks something, and the line names its machine; or none
            comes up within ``spark_limits.EXECUTOR_S_MAX``.
    """
    local = on_this_machine(spark)
    places = () if local else seen_here(reads)
    target = None if local else folder
    passed = _PASSED + value_id([list(places), str(target) if target else None])[:32]
    with job_errors():
        if spark.conf.get(passed, "") == "yes":
            return
        with _token(target) as token:
            _probe(
                spark, expected(places, token), pause_s=0.0 if local else limits.PREFLIGHT_PAUSE_S
            )
        spark.conf.set(passed, "yes")


def wake_workers(spark: SparkSession) -> None:
    """Start the workers of a local session before there is work for them.

    Raises nothing: the check that comes with the work says what is wrong.
    """
    if on_this_machine(spark):
        with contextlib.suppress(PlatformError):
            preflight(spark)


def on_this_machine(spark: SparkSession) -> bool:
    """Whether tasks run on the driver's machine and see its files as it does."""
    from pulmospark.spark.session import is_connect  # noqa: PLC0415 - it needs pyspark

    return not is_connect(spark) and (spark.sparkContext.master or "").startswith("local")


def seen_here(reads: Iterable[str]) -> tuple[str, ...]:
    """The paths that this machine can read; others fail later, when they are read."""
    return tuple(path for path in dict.fromkeys(reads) if unseen(path, tries=1) is None)


@contextlib.contextmanager
def _token(folder: Place | None) -> Iterator[str]:
    """A file in ``folder`` that executors look for; removed at the end with their replies."""
    if folder is None:
        yield ""
        return
    if isinstance(folder, StoreUri):
        token = folder / f"preflight/{uuid.uuid4().hex}"
        store = open_store(token)
        store.put(token.key, b"")
        try:
            yield str(token)  # what a worker has put there, the driver sees
        finally:
            store.delete_below(token.key)
        return
    path = folder / f".preflight-{uuid.uuid4().hex}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield str(path)
        if not _replies(path):
            raise PlatformError(
                f"{folder}: files written there by the workers do not appear on the driver "
                f"({platform.node()}): --out must be a folder that every machine of the cluster "
                "shares"
            )
    finally:
        for file in (path, *_replies(path)):
            file.unlink(missing_ok=True)


def _replies(token: Path) -> list[Path]:
    return list(token.parent.glob(f"{token.name}.*"))


def _probe(spark: SparkSession, wanted: Expected, *, pause_s: float) -> None:
    # They need pyspark.
    from pulmospark.spark.session import slots  # noqa: PLC0415
    from pulmospark.spark.tasks import run_tasks  # noqa: PLC0415

    # One wait a session: for executors that are still starting, and for those that are busy.
    waited = not pause_s or spark.conf.get(_WAITED, "") == "yes"
    begun = changed = time.monotonic()
    seen: set[str] = set()
    known = 0
    while True:
        tasks = _TASKS_A_SLOT * slots(spark) if pause_s else 1
        if pause_s and not seen:
            answers = _first_answers(spark, _Probe(wanted, pause_s), tasks)
        else:
            answers = run_tasks(spark, _Probe(wanted, pause_s), tasks)
        for executor, found in map(json.loads, answers):
            seen.add(executor)
            if found:
                raise PlatformError(found[0], detail="\n".join(found))
        now, before = time.monotonic(), known
        known = executors_known(spark)
        changed = now if known != before else changed
        settled = len(seen) >= known and now - changed >= limits.PREFLIGHT_SETTLE_S
        if waited or settled or now - begun > limits.PREFLIGHT_S_MAX:
            break
        time.sleep(pause_s)
    if not waited:
        spark.conf.set(_WAITED, "yes")


def _first_answers(spark: SparkSession, probe: _Probe, tasks: int) -> list[str]:
    """Answers of a job that Spark itself would let wait for an executor for ever.

    The job is begun all the same: some clusters start executors only for one.

    Raises:
        PlatformError: no executor has come up within ``spark_limits.EXECUTOR_S_MAX``.
    """
    # They need pyspark.
    from pulmospark.spark.session import is_connect  # noqa: PLC0415
    from pulmospark.spark.tasks import run_tasks  # noqa: PLC0415

    if is_connect(spark):  # its executors are the server's, and not reported
        return run_tasks(spark, probe, tasks)
    tag = f"pulmospark-{uuid.uuid4().hex}"
    context = spark.sparkContext

    def job() -> list[str]:
        context.addJobTag(tag)  # of this thread
        return run_tasks(spark, probe, tasks)

    with ThreadPoolExecutor(1, thread_name_prefix="preflight") as pool:
        answers = pool.submit(job)
        most = spark_limits.EXECUTOR_S_MAX
        until = time.monotonic() + most
        try:
            while not wait([answers], spark_limits.EXECUTOR_LOOK_S).done and not executors(spark):
                if time.monotonic() > until:
                    raise PlatformError(
                        f"{context.master}: no executor within {most:.0f} s: check that the "
                        "cluster has workers with as many free cores and as much free memory as "
                        "an executor is to have (spark.executor.cores, spark.executor.memory), "
                        "then rerun the command"
                    )
            return answers.result()
        except BaseException:
            # Or the pool would wait for the job's end; again, for it may only be about to begin.
            while not answers.done():
                context.cancelJobsWithTag(tag)
                wait([answers], spark_limits.EXECUTOR_LOOK_S)
            raise


def executors(spark: SparkSession) -> int:
    """Executors that a classic session has now; on a local master the driver is one."""
    context = spark.sparkContext
    java: Any = context._jsc
    known: int = java.sc().getExecutorMemoryStatus().size()  # the driver is among them
    return known - (0 if (context.master or "").startswith("local") else 1)


def executors_known(spark: SparkSession) -> int:
    """Executors that Spark knows of now; 1 if it does not report them."""
    from pulmospark.spark.session import is_connect  # noqa: PLC0415 - it needs pyspark

    return 1 if is_connect(spark) else max(executors(spark), 1)
