"""A worker of a standalone cluster is killed, and tasks ask for GPUs.

``test_cluster`` runs this.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from bundles import write_untrained
from cluster.small import gpus_of_tasks, write_pictures
from pulmospark.inference.batch.predict import plan_predict
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.batch.work_place import PARTS
from pulmospark.spark.gpus import EXECUTOR_GPUS, gpu_profile
from pulmospark.spark.session import spark_session

_EACH = 100
_CHUNK_FILES = 6


def _kill(pid: int) -> None:
    """SIGKILL a worker and all that it has started, as though its machine were gone."""
    worker = psutil.Process(pid)
    for process in [worker, *worker.children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _killed_at(folder: Path, parts: int, pid: int, seen: list[int]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done = len(list(folder.glob("*.done")))
        if done >= parts:
            _kill(pid)
            seen.append(len(list(folder.glob("*.done"))))
            return
        time.sleep(0.005)


def _keep_logs(work: Path, kept: Path, ended: threading.Event) -> None:
    """Link the workers' logs, which the run removes at its end."""
    while not ended.wait(0.02):
        for log in work.glob(".run-*/*.log"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(log, kept / log.name)


def _begun_and_not_ended(logs: Path) -> int:
    """Chunks on which a process was working when it ended."""
    count = 0
    for log in logs.iterdir():
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        count += len({str(unit) for event, unit, _ in lines if event == "begin"})
        count -= len({str(unit) for event, unit, _ in lines if event == "end"})
    return count


def _predict(bundle: Path, images: Path, target: Path, spark: SparkSession) -> PredictResult:
    plan = plan_predict(bundle, [str(images)], target, layout="none")
    return replace(plan, chunk_files=_CHUNK_FILES).run(spark, quiet=True)


def test_a_worker_killed_while_images_are_scored_changes_nothing(
    spark: SparkSession, tmp_path: Path
) -> None:
    images = write_pictures(tmp_path / "images", _EACH)
    bundle = write_untrained(tmp_path / "bundle")
    quiet = _predict(bundle, images, tmp_path / "quiet", spark)
    chunks = -(-quiet.files // _CHUNK_FILES)
    seen: list[int] = []
    work = tmp_path / ".disturbed.work" / PARTS
    pid = int(os.environ["PULMOSPARK_TEST_WORKER"])
    killer = threading.Thread(target=_killed_at, args=(work, chunks // 5, pid, seen))
    logs, ended = tmp_path / "logs", threading.Event()
    logs.mkdir()
    keeper = threading.Thread(target=_keep_logs, args=(work, logs, ended))
    for thread in (killer, keeper):
        thread.start()
    disturbed = _predict(bundle, images, tmp_path / "disturbed", spark)
    ended.set()
    for thread in (killer, keeper):
        thread.join()
    assert seen, "no worker was killed"
    assert seen[0] < chunks, "the worker was killed too late"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert len(list(logs.iterdir())) >= 2
    assert _begun_and_not_ended(logs) <= 1, "more was repeated than what the one slot worked on"
    assert (quiet.images, quiet.rejects) == (2 * _EACH, 1)
    for name in ("predictions", "rejects"):
        told = [
            pq.read_table(tmp_path / run / name)
            .drop_columns([c for c in ("predicted_at",) if name == "predictions"])
            .sort_by("uri")
            for run in ("quiet", "disturbed")
        ]
        assert told[0].equals(told[1]), name
    assert (disturbed.images, disturbed.rejects) == (quiet.images, quiet.rejects)


def test_only_tasks_with_a_network_for_a_gpu_ask_for_one(
    spark: SparkSession, tmp_path: Path
) -> None:
    images = write_pictures(tmp_path / "images", 4)
    bundle = write_untrained(tmp_path / "bundle")
    spark.stop()  # executors with GPUs are a session of their own
    master = os.environ["PULMOSPARK_TEST_MASTER"]
    with spark_session(master, {EXECUTOR_GPUS: "1", "spark.executor.cores": "1"}) as own:
        index = own.range(0, 2, 1, numPartitions=2)
        asking = index.mapInArrow(gpus_of_tasks, "gpu bigint", profile=gpu_profile(own))
        assert [row["gpu"] for row in asking.collect()] == [0, 0]
        others = index.mapInArrow(gpus_of_tasks, "gpu bigint")
        assert [row["gpu"] for row in others.collect()] == [None, None]
        result = _predict(bundle, images, tmp_path / "out", own)
    assert (result.images, result.rejects) == (8, 1)
