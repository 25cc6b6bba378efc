"""TorchDistributor with a direct launcher for the training processes.

TorchDistributor's Spark side is unchanged: a barrier job, the rendezvous address, the GPUs of
each task. In a task it would start a wrapper, which starts ``torchrun``, which starts a script
that unpickles a function: three Python interpreters in sequence, two of which import torch to
start one process. Here a task starts the training process directly, in its own environment, and
reports how it ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pyspark.ml.torch.distributor import TorchDistributor

from pulmospark.core import files
from pulmospark.training.training_folder import DEAD, PLAN, REPORTS, ProcessFolder, process_folder

Task = Callable[[Iterable[Any]], Iterator[Any]]
_TAIL_LINES = 40


class Distributor(TorchDistributor):
    """Runs ``python -m pulmospark.training.rank`` in every task."""

    def train(self, plan: str, environment: dict[str, str], *, gpu: str | None = None) -> None:
        """Run the processes and wait for them.

        Args:
            plan: file of the plan, in the folder that all processes see, or its address.
            environment: variables added to the worker's.
            gpu: ``CUDA_VISIBLE_DEVICES`` of the processes; ``None``: as set by Spark.
        """
        # As if TorchDistributor's log server could not be started. No worker sends logs here; the
        # server would listen on all addresses and take more than a second to stop.
        self.driver_address, self.log_streaming_server_port = "", -1
        task = self._get_spark_task_function(run_rank, plan, run_rank, None, environment, gpu)
        self._check_encryption()
        # Plain, as the tasks of chunks are: they share Python's daemon and workers.
        index = self.spark.sparkContext.parallelize(range(self.num_tasks), self.num_tasks)
        index.barrier().mapPartitions(leaving_no_trace(task)).collect()


def leaving_no_trace(task: Task) -> Task:
    """A task that restores its worker's environment.

    The worker runs other tasks later. TorchDistributor leaves its rendezvous there, and a
    ``CUDA_VISIBLE_DEVICES`` that hides the GPUs if it uses none.
    """

    def run(rows: Iterable[Any]) -> Iterator[Any]:
        before = dict(os.environ)
        try:
            yield from task(rows)
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)

    return run


def run_rank(_: dict[str, Any], plan: str, environment: dict[str, str], gpu: str | None) -> None:
    """Start this task's training process and wait for it; runs in the Spark worker.

    A process that dies leaves ``rank-<r>.dead`` with its exit code and its last lines.

    Raises:
        RuntimeError: it failed; Spark then ends the others.
    """
    rank = os.environ["RANK"]
    around = {**environment, **os.environ}
    around |= {name: value for name, value in environment.items() if name.endswith("_THREADS")}
    around["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if gpu is not None:
        around["CUDA_VISIBLE_DEVICES"] = gpu
    with process_folder(plan, rank) as shared:
        ours = shared.folder / f"{REPORTS}{rank}"
        for kind in ("done", "error", DEAD):  # of an earlier attempt of this task
            ours.with_suffix(f".{kind}").unlink(missing_ok=True)
        log = ours.with_suffix(".log")
        if code := _run(shared, log, around):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
            files.write_json(ours.with_suffix(f".{DEAD}"), {"code": code, "tail": tail})
            raise RuntimeError(f"training process {rank} ended with {code}")


def _run(shared: ProcessFolder, log: Path, around: dict[str, str]) -> int:
    """The exit code of the training process; what it writes is put meanwhile."""
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "pulmospark.training.rank", str(shared.folder / PLAN)],
            env=around,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(shared.put_s)
                shared.put()
        except BaseException:
            process.kill()
            raise
