"""Distributed training of a CNN on Spark through TorchDistributor."""

from __future__ import annotations

import contextlib
import copy
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
from pulmospark.core import files, hashing, machine
from pulmospark.core.errors import InputError, TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.data.cohort.table import read_cohort
from pulmospark.models.zoo.network import Network
from pulmospark.spark.gpus import TASK_GPUS, gpus_of_a_task
from pulmospark.spark.session import is_connect, slots
from pulmospark.training.checkpoint import Checkpoint, clear_asides, read_tensors
from pulmospark.training.dataset import Listing
from pulmospark.training.device import environment
from pulmospark.training.frozen_outputs import can_keep
from pulmospark.training.launch import Distributor
from pulmospark.training.param_groups import trained_stages
from pulmospark.training.rank import RankPlan, keep_listings
from pulmospark.training.training_folder import (
    CHECKPOINT,
    DEAD,
    EPOCHS,
    PLAN,
    STANDING,
    START,
    TRAINED,
    TrainingFolder,
)

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
    "frozen_outputs",
}
"""fields of a plan that say where to run, not what"""


@dataclass(frozen=True)
class Trained:
    """Result of a training run.

    Attributes:
        history: the epochs, from :class:`pulmospark.training.loop.Epoch`.
        earlier: how many of them come from an earlier run.
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
    shared: TrainingFolder | None = None,
) -> Trained:
    """Train a network in place on the executors.

    An interrupted training run resumes after its last epoch, and a finished one is not repeated,
    as long as plan, start, cohort, images and versions are the same.

    Args:
        network: with the initial weights; holds the trained weights afterwards.
        plan: for each process.
        spark: the session; it must have a free slot for every process.
        processes: how many.
        progress: shows the steps.
        shared: the plan's folder, as processes find it; ``None``: all of them see it.

    Raises:
        UsageError: more processes than the session has slots, more stages than the network has,
            or a Spark Connect session.
        TrainingError: a process failed; with its message and traceback, not Spark's.
    """
    _check_session(spark, processes)
    trained_stages(network, plan.settings)
    shared = shared or TrainingFolder(plan.folder)
    with files.disk_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        shared.begin()
        for name in (CHECKPOINT, TRAINED):
            clear_asides(plan.folder / name)
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, plan.folder / START)
    plan = _completed(plan, network, spark, processes)
    trained = read_tensors(plan.folder / TRAINED, plan.run_id)
    earlier = len(trained[1]) if trained is not None else _epochs_of_checkpoint(plan)
    if trained is None:
        with files.disk_errors(plan.folder):
            plan = with_frozen_outputs(plan, network, keep_listings(plan, shared))
        files.write_text(plan.folder / PLAN, plan.model_dump_json())
        shared.put()
        error = _run(plan, shared, spark, processes, progress)
        shared.end()
        _raise_for(plan.folder, processes, error)
        trained = read_tensors(plan.folder / TRAINED, plan.run_id)
    if trained is None:
        raise TrainingError(
            f"{plan.folder}: training finished, but its weights cannot be read: make this folder "
            "visible to all executors"
        )
    network.load_state_dict(trained[0])
    return Trained(trained[1], earlier)


def _check_session(spark: SparkSession, processes: int) -> None:
    """Refuse a session that cannot run so many training processes."""
    if is_connect(spark):
        raise UsageError(
            "Spark Connect cannot train a network: it has no barrier jobs; use a classic session "
            "(--master, spark-submit), or train.method=features"
        )
    if processes > (room := slots(spark)):
        raise UsageError(
            f"train.processes is {processes}, but the Spark session runs {room} tasks at once: "
            "lower it, or give Spark more cores (--master)"
        )


def _completed(plan: RankPlan, network: Network, spark: SparkSession, processes: int) -> RankPlan:
    """The plan, completed from the network and the session."""
    # The input standardisation is not part of the weights: a bundle's may differ from the zoo's.
    plan = plan.model_copy(update={"mean": network.channel_mean, "std": network.channel_std})
    return plan.model_copy(
        update={"run_id": run_id(plan, processes), "device": _device(spark, processes)}
    )


def with_frozen_outputs(plan: RankPlan, network: Network, listings: list[Listing]) -> RankPlan:
    """The plan, without a folder for the outputs of frozen stages if they cannot be kept."""
    settings, folder = plan.settings, plan.frozen_outputs
    differs = plan.augment is not None or settings.mix_up > 0.0
    if folder is not None and settings.keep_frozen_outputs and settings.epochs > 1 and not differs:
        here = folder if isinstance(folder, Path) else None
        if here is not None:
            here.mkdir(parents=True, exist_ok=True)
            for path in here.glob("*/.*.part"):  # of killed processes
                path.unlink(missing_ok=True)
        if can_keep(copy.deepcopy(network), settings, listings, here):
            return plan
    return plan.model_copy(update={"frozen_outputs": None})


def threads_for(processes: int, spark: SparkSession) -> int:
    """Threads per training process that use the machine fully without oversubscription."""
    if _is_local(spark):
        return max(machine.cores() // processes, 1)
    return int(spark.conf.get("spark.task.cpus", "1") or 1)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The epochs reported so far by a training run in ``folder``."""
    try:
        text = (folder / EPOCHS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def run_id(plan: RankPlan, processes: int) -> str:
    """Content id of a training run: plan, start, cohort, images and versions.

    Excludes paths and the number of threads.
    """
    tables = [(plan.images, plan.cohort)]
    if plan.training_images is not None:
        tables.append((plan.training_images, plan.training_cohort or plan.cohort))
    content_of_plan = plan.model_dump(mode="json", exclude=_WHERE)
    return hashing.value_id(
        {
            "plan": content_of_plan,
            "processes": processes,
            "start": hashing.file_id(plan.folder / START),
            "images": [_images_id(images, cohort) for images, cohort in tables],
            "versions": [pulmospark.__version__, metadata.version("torch")],
        }
    )


def _images_id(images: Path, cohort: Path) -> list[str]:
    rows = read_cohort(cohort, ["image_id", "uri", "label", "split", "fold"])
    digest = hashlib.sha256()
    for column in rows.columns:
        digest.update("\x1f".join(map(str, column.to_pylist())).encode() + b"\x1e")
    # Parts are named by their content.
    return [digest.hexdigest(), *sorted(path.name for path in images.glob("*.parquet"))]


def _is_local(spark: SparkSession) -> bool:
    return (spark.conf.get("spark.master", "") or "").startswith("local")


def _device(spark: SparkSession, processes: int) -> str:
    """``cuda`` if Spark assigns each task a GPU, or a local machine has enough of them."""
    # Processes that share a GPU cannot communicate through NCCL, and TorchDistributor accepts
    # whole GPUs only.
    if (gpus := gpus_of_a_task(spark)) not in {0, 1}:
        raise UsageError(
            f"{TASK_GPUS} is {gpus:g}, but a training process uses one whole GPU: set it to 1, or "
            "unset it"
        )
    if gpus:
        return "cuda"
    return "cuda" if _is_local(spark) and torch.cuda.device_count() >= processes else "cpu"


def _epochs_of_checkpoint(plan: RankPlan) -> int:
    state = Checkpoint(plan.folder / CHECKPOINT, plan.run_id).read()
    return 0 if state is None else state.epoch


def _run(
    plan: RankPlan,
    shared: TrainingFolder,
    spark: SparkSession,
    processes: int,
    progress: Progress,
) -> Exception | None:
    by_spark = gpus_of_a_task(spark) > 0
    # local_mode=True would start the processes on the driver: faster, but it returns the rank
    # that wrote last, and takes a rank that failed late for a success.
    distributor = Distributor(num_processes=processes, local_mode=False, use_gpu=by_spark)
    distributor.logger.setLevel(logging.WARNING)
    # Without GPU scheduling, Spark hides the GPUs of the machine from its workers.
    shown = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(processes)))
    gpu = shown if plan.device == "cuda" and not by_spark else None
    with ThreadPoolExecutor(1, thread_name_prefix="torch-distributor") as pool, _hushed():
        around = environment(plan.threads, {})
        job = pool.submit(distributor.train, shared.plan, around, gpu=gpu)
        finished = threading.Event()
        job.add_done_callback(lambda _: finished.set())
        while not finished.wait(_POLL_S):
            shared.look()
            show(progress, plan.folder)
        show(progress, plan.folder)
        error = job.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Suppress TorchDistributor's output ("Started distributed training ...").

    Output of the workers comes with the error.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def show(progress: Progress, folder: Path) -> None:
    """Show the progress of a training run in ``folder``."""
    with contextlib.suppress(InputError):  # nothing reported yet
        status = files.read_json(folder / STANDING)
        note = status["note"]
        if epochs := read_epochs(folder):
            validation = epochs[-1]["validation_loss"]
            note += "" if validation is None else f", validation loss {validation:.3f}"
        progress.expect(status["total"])
        progress.to(status["done"], note)


def _raise_for(folder: Path, processes: int, error: Exception | None) -> None:
    errors = _reports(folder, "error")
    dead = {rank: report for rank, report in _reports(folder, DEAD).items() if rank not in errors}
    done = {_rank(path) for path in folder.glob("rank-*.done")}
    if own := [rank for rank, report in errors.items() if not report["peer_lost"]]:
        raise TrainingError(
            f"training failed in process {own[0]} of {processes}: {errors[own[0]]['message']}",
            detail=errors[own[0]]["detail"],
        ) from error
    silent = [rank for rank in range(processes) if rank not in errors and rank not in done]
    if not (silent or errors or error is not None):
        return
    details = [report["detail"] for report in errors.values()]
    details += ["\n".join(report["tail"]) for report in dead.values()]
    # Spark ends the others once one is dead: they are silent too, but not the cause.
    names = ", ".join(map(str, list(dead) or silent)) or "unknown"
    how = "".join(f" ({_ending(report)})" for report in list(dead.values())[:1])
    raise TrainingError(
        f"training process {names} of {processes} exited without an error message{how} (probably "
        "killed or out of memory): give Spark more memory, or lower train.network.batch_size",
        detail="\n".join([*details, str(error)]),
    ) from error


def _ending(report: Mapping[str, Any]) -> str:
    code = report["code"]
    if code < 0:
        return signal.Signals(-code).name
    return next((line for line in reversed(report["tail"]) if line.strip()), f"exit code {code}")


def _reports(folder: Path, kind: str) -> dict[int, dict[str, Any]]:
    """Report files of the processes of one kind, oldest first."""
    paths = sorted(folder.glob(f"rank-*.{kind}"), key=lambda path: path.stat().st_mtime_ns)
    return {_rank(path): files.read_json(path) for path in paths}


def _rank(path: Path) -> int:
    return int(path.stem.removeprefix("rank-"))
