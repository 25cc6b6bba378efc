"""Training in several processes through TorchDistributor, and how their failures are told."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from pyspark.sql import SparkSession

from pulmospark.core.errors import TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.core.settings import NetworkSettings
from pulmospark.models import zoo
from pulmospark.models.network import Network
from pulmospark.spark.session import slots
from pulmospark.training.distributed import read_epochs, train_network
from pulmospark.training.rank import RankPlan
from training.toys import CLASSES, toy_films, toy_plan

pytestmark = pytest.mark.spark


def _train(plan: RankPlan, spark: SparkSession, processes: int) -> Network:
    torch.manual_seed(5)
    network = zoo.build(plan.model, len(CLASSES))
    quiet = Progress("train", plan.settings.epochs, quiet=True)
    epochs = train_network(network, plan, spark, processes=processes, progress=quiet)
    assert len(epochs) == plan.settings.epochs
    return network


def test_two_processes_train_one_network(tmp_path: Path, spark: SparkSession) -> None:
    plan = toy_plan(tmp_path)
    network = _train(plan, spark, 2)
    assert (plan.folder / "rank-0.done").is_file()
    assert (plan.folder / "rank-1.done").is_file()
    losses = [epoch["loss"] for epoch in read_epochs(plan.folder)]
    assert losses[-1] < 0.8 * losses[0]
    test = toy_films(40, seed=9)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(test.pixels))
    assert (logits.argmax(1).numpy() == test.labels).mean() >= 0.9


def test_a_worker_s_own_error_is_what_is_raised(
    tmp_path: Path, spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = NetworkSettings(epochs=4, batch_size=8, learning_rate=1e30)
    with pytest.raises(TrainingError) as caught:
        _train(toy_plan(tmp_path, settings=settings), spark, 1)
    assert "lower train.network.learning_rate (now 1e+30)" in caught.value.message
    assert "\n" not in caught.value.message
    assert "Traceback" in (caught.value.detail or "")
    assert "loop.py" in (caught.value.detail or "")
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err  # it is the detail, not the screen's


def test_more_processes_than_slots(tmp_path: Path, spark: SparkSession) -> None:
    room = slots(spark)
    with pytest.raises(UsageError, match=f"train.processes is {room + 1}.* {room} tasks"):
        _train(toy_plan(tmp_path), spark, room + 1)


def _is_rank(process: psutil.Process, rank: str) -> bool:
    try:
        return "train.py" in " ".join(process.cmdline()) and process.environ()["RANK"] == rank
    except (psutil.Error, KeyError):
        return False


def _kill_rank(rank: str, plan: RankPlan, killed: list[int]) -> None:
    """SIGKILL one training process, below this one, once an epoch was told."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not read_epochs(plan.folder):
        time.sleep(0.05)
    for process in psutil.Process().children(recursive=True):
        if _is_rank(process, rank):
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)


def test_a_killed_process_is_no_success(tmp_path: Path, spark: SparkSession) -> None:
    plan = toy_plan(tmp_path, settings=NetworkSettings(epochs=5000, batch_size=8))
    killed: list[int] = []
    killer = threading.Thread(target=_kill_rank, args=("1", plan, killed))
    killer.start()
    with pytest.raises(TrainingError) as caught:
        _train(plan, spark, 2)
    killer.join()
    assert killed
    # The other process only saw the line go dead: it is not the one to blame.
    assert "process 1 of 2 ended without a word" in caught.value.message
    assert "train.network.batch_size" in caught.value.message
    assert "\n" not in caught.value.message
    assert spark.range(5).count() == 5  # the session goes on
