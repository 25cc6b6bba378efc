"""Training of a CNN on Spark, in one to many processes, through TorchDistributor."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pyspark.sql import SparkSession
from safetensors.torch import save_file

import pulmospark
from pulmospark.core import content, files, machine
from pulmospark.core.errors import InputError, TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.data.cohort import read_cohort
from pulmospark.models.network import Network
from pulmospark.spark.resources import TASK_GPUS, gpus_of_a_task
from pulmospark.spark.session import is_connect, slots
from pulmospark.training.checkpoint import Checkpoint, clear_asides, read_tensors
from pulmospark.training.launch import DEAD, PLAN, Distributor
from pulmospark.training.precision import environment
from pulmospark.training.rank import (
    CHECKPOINT,
    EPOCHS,
    STANDING,
    START,
    TRAINED,
    RankPlan,
    keep_listings,
)
from pulmospark.training.stages import trained_stages

_POLL_S = 0.25
_WHERE = {
    "images",
    "cohort",
    "training_images",
    "training_cohort",
    "folder",
    "threads",
    "run_id",
    "device",
}
"""fields of a plan that say where, and not what"""


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Attributes:
        history: the epochs, as :class:`pulmospark.training.loop.Epoch` gives them.
        earlier: how many of them an earlier run had done, which was killed or had ended.
    """

    history: list[dict[str, Any]]
    earlier: int


def train_network(
    network: Network,
    plan: RankPlan,
    spark: SparkSession,
    *,
    processes: int,
    progress: Progress,
) -> Trained:
    """Train a network in place on the executors.

    A training that was killed goes on after its last epoch, and one that had ended is not
    done again, as long as plan, start, cohort, images and versions are the same.

    Args:
        network: the start; holds the trained weights afterwards.
        plan: what each process is told; its folder must be seen by all of them.
        spark: the session; it must have a free slot for every process.
        processes: how many.
        progress: told of the steps.

    Raises:
        UsageError: more processes than the session has slots, or more stages than there are,
            or the session is one of Spark Connect.
        TrainingError: a process failed; its own line and traceback, not Spark's.
    """
    if is_connect(spark):
        raise UsageError(
            "Spark Connect cannot train a network, for it has no barrier jobs: use a session of "
            "the cluster itself (--master, spark-submit), or train.method=features"
        )
    if processes > (room := slots(spark)):
        raise UsageError(
            f"train.processes is {processes}, and the Spark session runs {room} tasks at once: "
            "lower it, or give Spark more cores (--master)"
        )
    trained_stages(network, plan.settings)
    with files.disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        _clear(plan.folder)
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, plan.folder / START)
    plan = _completed(plan, network, spark, processes)
    files.write_text(plan.folder / PLAN, plan.model_dump_json())
    found = read_tensors(plan.folder / TRAINED, plan.run_id)
    earlier = len(found[1]) if found is not None else _epochs_of_checkpoint(plan)
    if found is None:
        with files.disk_errors(plan.folder):
            keep_listings(plan)
        error = _run(plan, spark, processes, progress)
        _raise_for(plan.folder, processes, error)
        found = read_tensors(plan.folder / TRAINED, plan.run_id)
    if found is None:
        raise TrainingError(
            f"{plan.folder}: the processes trained, and left no weights there that can be read: "
            "let all executors see this folder"
        )
    network.load_state_dict(found[0])
    return Trained(found[1], earlier)


def _completed(plan: RankPlan, network: Network, spark: SparkSession, processes: int) -> RankPlan:
    """The plan with what the network and the session tell."""
    # Weights do not tell how the input is standardised: a bundle's may be other than the zoo's.
    plan = plan.model_copy(update={"mean": network.channel_mean, "std": network.channel_std})
    return plan.model_copy(
        update={"run_id": run_id(plan, processes), "device": _device(spark, processes)}
    )


def threads_for(processes: int, spark: SparkSession) -> int:
    """Threads a training process may use so that the machine is full and not over-full."""
    if _is_local(spark):
        return max(machine.cores() // processes, 1)
    return int(spark.conf.get("spark.task.cpus", "1") or 1)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs that a training in ``folder`` has told of so far."""
    try:
        text = (folder / EPOCHS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def run_id(plan: RankPlan, processes: int) -> str:
    """Content id of a training: plan, start, cohort, images and versions.

    Where things lie and how many threads work on them is left out.
    """
    tables = [(plan.images, plan.cohort)]
    if plan.training_images is not None:
        tables.append((plan.training_images, plan.training_cohort or plan.cohort))
    told = plan.model_dump(mode="json", exclude=_WHERE)
    return content.value_id(
        {
            "plan": told,
            "processes": processes,
            "start": content.file_id(plan.folder / START),
            "films": [_films_id(images, cohort) for images, cohort in tables],
            "versions": [pulmospark.__version__, metadata.version("torch")],
        }
    )


def _films_id(images: Path, cohort: Path) -> list[str]:
    rows = read_cohort(cohort, ["image_id", "uri", "label", "split", "fold"])
    digest = hashlib.sha256()
    for column in rows.columns:
        digest.update("\x1f".join(map(str, column.to_pylist())).encode() + b"\x1e")
    # Parts are named by their content.
    return [digest.hexdigest(), *sorted(path.name for path in images.glob("*.parquet"))]


def _is_local(spark: SparkSession) -> bool:
    return (spark.conf.get("spark.master", "") or "").startswith("local")


def _device(spark: SparkSession, processes: int) -> str:
    """``cuda`` where Spark gives each task a GPU, or a local machine has enough of them."""
    # Processes that share a GPU cannot exchange anything through NCCL, and TorchDistributor
    # takes whole ones alone.
    if (told := gpus_of_a_task(spark)) not in {0, 1}:
        raise UsageError(
            f"{TASK_GPUS} is {told:g}, and a training process uses one whole GPU: set it to 1, or "
            "leave it out"
        )
    if told:
        return "cuda"
    return "cuda" if _is_local(spark) and torch.cuda.device_count() >= processes else "cpu"


def _epochs_of_checkpoint(plan: RankPlan) -> int:
    found = Checkpoint(plan.folder / CHECKPOINT, plan.run_id).read()
    return 0 if found is None else found.epoch


def _run(
    plan: RankPlan, spark: SparkSession, processes: int, progress: Progress
) -> Exception | None:
    by_spark = gpus_of_a_task(spark) > 0
    # local_mode=True would start the processes beside the driver: faster, but it returns
    # whichever rank wrote last, and takes a rank that failed late for a success.
    distributor = Distributor(num_processes=processes, local_mode=False, use_gpu=by_spark)
    distributor.logger.setLevel(logging.WARNING)
    # Without GPUs of its own, Spark hides those of the machine from its workers.
    shown = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(processes)))
    gpu = shown if plan.device == "cuda" and not by_spark else None
    with ThreadPoolExecutor(1, thread_name_prefix="torch-distributor") as pool, _hushed():
        around = environment(plan.threads, {})
        job = pool.submit(distributor.train, plan.folder / PLAN, around, gpu=gpu)
        finished = threading.Event()
        job.add_done_callback(lambda _: finished.set())
        while not finished.wait(_POLL_S):
            tell(progress, plan.folder)
        tell(progress, plan.folder)
        error = job.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep TorchDistributor's own lines ("Started distributed training ...") off the screen;
    what the workers have to say comes with the error."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def tell(progress: Progress, folder: Path) -> None:
    """Show how far a training in ``folder`` has come."""
    with contextlib.suppress(InputError):  # nothing was told yet
        told = files.read_json(folder / STANDING)
        note = told["note"]
        if epochs := read_epochs(folder):
            validation = epochs[-1]["validation_loss"]
            note += "" if validation is None else f", validation loss {validation:.3f}"
        progress.expect(told["total"])
        progress.to(told["done"], note)


def _raise_for(folder: Path, processes: int, error: Exception | None) -> None:
    told = _told(folder, "error")
    dead = {rank: said for rank, said in _told(folder, DEAD).items() if rank not in told}
    done = {_rank(path) for path in folder.glob("rank-*.done")}
    if own := [rank for rank, said in told.items() if not said["peer_lost"]]:
        raise TrainingError(
            f"training failed in process {own[0]} of {processes}: {told[own[0]]['message']}",
            detail=told[own[0]]["detail"],
        ) from error
    silent = [rank for rank in range(processes) if rank not in told and rank not in done]
    if not (silent or told or error is not None):
        return
    details = [said["detail"] for said in told.values()]
    details += ["\n".join(said["tail"]) for said in dead.values()]
    # Spark ends the others once one is dead: they too are silent, and not to blame.
    names = ", ".join(map(str, list(dead) or silent)) or "unknown"
    how = "".join(f" ({_ending(said)})" for said in list(dead.values())[:1])
    raise TrainingError(
        f"training process {names} of {processes} ended without a word{how}: killed, or out of "
        "memory; give Spark more memory or use a smaller batch (train.network.batch_size)",
        detail="\n".join([*details, str(error)]),
    ) from error


def _ending(said: Mapping[str, Any]) -> str:
    code = said["code"]
    if code < 0:
        return signal.Signals(-code).name
    return next((line for line in reversed(said["tail"]) if line.strip()), f"exit code {code}")


def _told(folder: Path, kind: str) -> dict[int, dict[str, Any]]:
    """What processes left under this kind of name, the first to do so first."""
    paths = sorted(folder.glob(f"rank-*.{kind}"), key=lambda path: path.stat().st_mtime_ns)
    return {_rank(path): files.read_json(path) for path in paths}


def _rank(path: Path) -> int:
    return int(path.stem.removeprefix("rank-"))


def _clear(folder: Path) -> None:
    for pattern in ("rank-*", EPOCHS, STANDING):
        for path in folder.glob(pattern):
            path.unlink()
    for name in (CHECKPOINT, TRAINED):
        clear_asides(folder / name)
