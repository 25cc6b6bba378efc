"""Training in several processes through TorchDistributor, and how their failures are told."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import SparkSession
from safetensors.torch import load_file, save_file

from pulmospark.config.train import NetworkSettings
from pulmospark.core import files
from pulmospark.core.errors import TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.data.cohort.table import read_cohort
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network
from pulmospark.spark.session import slots
from pulmospark.training import launch, rank
from pulmospark.training.distributed import read_epochs, run_id, show, train_network
from pulmospark.training.rank import RankPlan
from pulmospark.training.training_folder import STANDING, START
from training import processes
from training.toys import CLASSES, toy_images, toy_plan, write_toy

pytestmark = pytest.mark.spark


def _train(plan: RankPlan, spark: SparkSession, count: int) -> Network:
    torch.manual_seed(5)
    network = networks.build(plan.model, len(CLASSES))
    quiet = Progress("train", 0, quiet=True)
    trained = train_network(network, plan, spark, processes=count, progress=quiet)
    assert len(trained.history) == plan.settings.epochs
    return network


def test_two_processes_train_one_network(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[bool] = []
    server = "pyspark.ml.torch.log_communication.LogStreamingServer.start"
    monkeypatch.setattr(server, lambda *_, **__: served.append(True))
    plan = toy_plan(tmp_path)
    network = _train(plan, spark, 2)
    assert not served, "a server listens, which takes a second to start"
    assert (plan.folder / "rank-0.done").is_file()
    assert (plan.folder / "rank-1.done").is_file()
    standing = files.read_json(plan.folder / STANDING)
    assert standing["done"] == standing["total"] > 0
    losses = [epoch["loss"] for epoch in read_epochs(plan.folder)]
    assert losses[-1] < 0.8 * losses[0]
    test = toy_images(40, seed=9)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(test.pixels))
    assert (logits.argmax(1).numpy() == test.labels).mean() >= 0.9


def test_a_worker_s_own_error_is_what_is_raised(
    tmp_path: Path, spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = NetworkSettings(epochs=4, batch_size=8, learning_rate=1e30, precision="fp32")
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


def _with_a_kill(number: str, after: int) -> Callable[..., None]:
    """``run_rank`` of which one process is killed, after as many epochs.

    A function of its own, which travels to the workers as it is: they do not see the tests.
    """
    program = processes.killing_itself(after)

    def run_rank(facts: Any, plan: str, environment: dict[str, str], gpu: str | None) -> None:
        start = subprocess.Popen

        def instead(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
            return start([command[0], "-c", program, command[-1]], **options)

        chosen = instead if os.environ["RANK"] == number else start
        with mock.patch.object(subprocess, "Popen", chosen):
            launch.run_rank(facts, plan, environment, gpu)

    return run_rank


def test_a_killed_process_is_no_success(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = NetworkSettings(epochs=20, batch_size=8, precision="fp32")
    plan = toy_plan(tmp_path, settings=settings)
    # The other process has told of the second epoch before the third can be done.
    with monkeypatch.context() as patch, pytest.raises(TrainingError) as caught:
        patch.setattr(launch, "run_rank", _with_a_kill("1", 3))
        _train(plan, spark, 2)
    # The other process only saw the line go dead: it is not the one to blame.
    assert "process 1 of 2 exited without an error message (SIGKILL)" in caught.value.message
    assert "train.network.batch_size" in caught.value.message
    assert "\n" not in caught.value.message
    assert spark.range(5).count() == 5  # the session goes on
    # The same training, asked for again, goes on from there.
    assert 2 <= len(read_epochs(plan.folder)) < settings.epochs
    torch.manual_seed(5)
    network = networks.build(plan.model, len(CLASSES))
    progress = Progress("train", 0, quiet=True)
    trained = train_network(network, plan, spark, processes=2, progress=progress)
    assert trained.earlier >= 2
    undisturbed = plan.model_copy(update={"folder": tmp_path / "whole"})
    processes.prepare(undisturbed)
    assert processes.same(processes.run(undisturbed, 2), network.state_dict())
    # It has ended: asked for once more, nothing is trained.
    again = networks.build(plan.model, len(CLASSES))
    again.load_state_dict(load_file(plan.folder / START))
    launched: list[Any] = []
    monkeypatch.setattr(launch.Distributor, "train", lambda *_, **__: launched.append(1))
    repeated = train_network(again, plan, spark, processes=2, progress=progress)
    assert not launched
    assert repeated.earlier == settings.epochs
    assert processes.same(again.state_dict(), network.state_dict())


def test_a_training_is_known_by_all_that_it_depends_on(tmp_path: Path) -> None:
    plan = toy_plan(tmp_path)
    processes.prepare(plan)
    known = run_id(plan, 1)
    elsewhere = plan.model_copy(update={"threads": 7, "device": "cuda"})
    assert run_id(elsewhere, 1) == known
    more = plan.settings.model_copy(update={"epochs": 17})
    other = [
        run_id(plan, 2),
        *(
            run_id(plan.model_copy(update=change), 1)
            for change in ({"seed": 2}, {"fold": 1}, {"settings": more})
        ),
    ]
    save_file({"other": torch.ones(1)}, plan.folder / START)
    other.append(run_id(plan, 1))
    part = next((tmp_path / "cohort" / "table").glob("*.parquet"))
    rows = pq.read_table(part)
    pq.write_table(rows.slice(1), part)
    other.append(run_id(plan, 1))
    assert len({known, *other}) == 1 + len(other)


def test_a_process_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("sys.path", [str(tmp_path)])  # no pulmospark there
    (tmp_path / "pulmospark").mkdir()
    (tmp_path / "pulmospark" / "__init__.py").touch()
    with pytest.raises(RuntimeError, match="training process 0 ended with 1"):
        launch.run_rank({}, str(tmp_path / "plan.json"), {"OMP_NUM_THREADS": "1"}, None)
    report = files.read_json(tmp_path / "rank-0.dead")
    assert report["code"] == 1
    assert "No module named" in report["tail"][-1]


def test_progress_tells_steps_loss_and_speed(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Progress("train", 0, "steps", stream=stream) as progress:
        show(progress, tmp_path)  # nothing reported yet
        standing = {"done": 30, "total": 120, "note": "epoch 2 of 8, loss 0.412, 99 images/s"}
        files.write_json(tmp_path / STANDING, standing)
        show(progress, tmp_path)
    assert "train: 30 of 120 steps" in stream.getvalue()
    assert "epoch 2 of 8, loss 0.412, 99 images/s" in stream.getvalue()


def test_the_training_part_may_lie_in_a_table_of_its_own(tmp_path: Path) -> None:
    settings = NetworkSettings(epochs=1, batch_size=8, precision="fp32")
    plan = toy_plan(tmp_path / "a", settings=settings)
    images, cohort = write_toy(tmp_path / "b", count=120)
    other = plan.model_copy(update={"training_images": images, "training_cohort": cohort})
    processes.prepare(plan)
    assert run_id(other, 1) != run_id(plan, 1)
    rows = read_cohort(cohort)["split"].to_pylist()
    sizes = [len(listing.labels) for listing in rank.listings(other)]
    assert sizes == [rows.count("train"), len(rank.listings(plan)[1].labels)]
    assert sizes[0] > len(rank.listings(plan)[0].labels)
