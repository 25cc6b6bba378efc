"""Training of a CNN on Spark, in one to many processes, through TorchDistributor."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession
from safetensors.torch import load_file, save_file

from pulmospark.core import files, machine
from pulmospark.core.errors import TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.models.network import Network
from pulmospark.spark.session import slots
from pulmospark.training.rank import RankPlan, train_rank

_POLL_S = 0.5


def train_network(
    network: Network,
    plan: RankPlan,
    spark: SparkSession,
    *,
    processes: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train a network in place on the executors.

    Args:
        network: the start; holds the trained weights afterwards.
        plan: what each process is told; its folder must be seen by all of them.
        spark: the session; it must have a free slot for every process.
        processes: how many.
        progress: told of each epoch.

    Returns:
        The epochs, as :class:`pulmospark.training.loop.Epoch` gives them.

    Raises:
        UsageError: more processes than the session has slots.
        TrainingError: a process failed; its own line and traceback, not Spark's.
    """
    if processes > (room := slots(spark)):
        raise UsageError(
            f"train.processes is {processes}, and the Spark session runs {room} tasks at once: "
            "lower it, or give Spark more cores (--master)"
        )
    with files.disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        _clear(plan.folder)
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, plan.folder / "start.safetensors")
    error = _run(plan, processes, progress)
    _raise_for(plan.folder, processes, error)
    network.load_state_dict(load_file(plan.folder / "trained.safetensors"))
    return read_epochs(plan.folder)


def threads_for(processes: int, spark: SparkSession) -> int:
    """Threads a training process may use so that the machine is full and not over-full."""
    master = spark.conf.get("spark.master", "") or ""
    if master.startswith("local"):
        return max(machine.cores() // processes, 1)
    return int(spark.conf.get("spark.task.cpus", "1") or 1)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs that a training in ``folder`` has told of so far."""
    try:
        text = (folder / "epochs.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def _run(plan: RankPlan, processes: int, progress: Progress) -> Exception | None:
    # local_mode=True would start the processes beside the driver: faster, but it returns
    # whichever rank wrote last, and takes a rank that failed late for a success.
    distributor = TorchDistributor(num_processes=processes, local_mode=False, use_gpu=False)
    distributor.logger.setLevel(logging.WARNING)
    with ThreadPoolExecutor(1, thread_name_prefix="torch-distributor") as pool, _hushed():
        job = pool.submit(distributor.run, train_rank, plan.model_dump_json())
        finished = threading.Event()
        job.add_done_callback(lambda _: finished.set())
        while not finished.wait(_POLL_S):
            _tell(progress, read_epochs(plan.folder))
        _tell(progress, read_epochs(plan.folder))
        error = job.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep TorchDistributor's own lines ("Started distributed training ...") off the screen,
    and what it passes on of the workers: their tracebacks come with the error."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _tell(progress: Progress, epochs: Sequence[dict[str, Any]]) -> None:
    if epochs:
        last = epochs[-1]
        note = f"loss {last['loss']:.3f}"
        if last["validation_loss"] is not None:
            note += f", validation {last['validation_loss']:.3f}"
        progress.to(len(epochs), f"{note}, {last['films_per_s']:.0f} films/s")


def _raise_for(folder: Path, processes: int, error: Exception | None) -> None:
    paths = sorted(folder.glob("rank-*.error"), key=lambda path: path.stat().st_mtime_ns)
    told = {_rank(path): files.read_json(path) for path in paths}
    done = {_rank(path) for path in folder.glob("rank-*.done")}
    if own := [rank for rank, said in told.items() if not said["peer_lost"]]:
        raise TrainingError(
            f"training failed in process {own[0]} of {processes}: {told[own[0]]['message']}",
            detail=told[own[0]]["detail"],
        ) from error
    silent = [rank for rank in range(processes) if rank not in told and rank not in done]
    if silent or told or error is not None:
        names = ", ".join(map(str, silent)) or "unknown"
        raise TrainingError(
            f"training process {names} of {processes} ended without a word: killed, or out of "
            "memory; give Spark more memory or use a smaller batch (train.network.batch_size)",
            detail="\n".join([*(said["detail"] for said in told.values()), str(error)]),
        ) from error


def _rank(path: Path) -> int:
    return int(path.stem.removeprefix("rank-"))


def _clear(folder: Path) -> None:
    for pattern in ("rank-*.done", "rank-*.error", "epochs.jsonl", "trained.safetensors"):
        for path in folder.glob(pattern):
            path.unlink()
