"""Where a training is launched: GPUs that are asked for, and workers that go on afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pulmospark.config.train import NetworkSettings
from pulmospark.core.errors import TrainingError, UsageError
from pulmospark.core.progress import Progress
from pulmospark.models.zoo import networks
from pulmospark.spark.gpus import TASK_GPUS, gpus_of_a_task
from pulmospark.training import distributed
from pulmospark.training.distributed import train_network
from pulmospark.training.launch import leaving_no_trace
from pulmospark.training.rank import RankPlan
from pulmospark.training.training_folder import PLAN
from training import processes
from training.toys import CLASSES, toy_plan


def _session(**settings: str) -> Any:
    """What a training asks of a session before it begins."""
    context = SimpleNamespace(defaultParallelism=2)
    return SimpleNamespace(conf=SimpleNamespace(get=settings.get), sparkContext=context)


@pytest.mark.parametrize("amount", ["0.5", "2"])
def test_a_training_takes_whole_gpus_one_a_process(tmp_path: Path, amount: str) -> None:
    session = _session(**{TASK_GPUS: amount})
    assert gpus_of_a_task(session) == float(amount)
    network = networks.build("basic_cnn", len(CLASSES))
    progress = Progress("", 0, quiet=True)
    with pytest.raises(UsageError, match=f"gpu.amount is {amount}, .*set it to 1, or unset"):
        train_network(network, toy_plan(tmp_path), session, processes=1, progress=progress)


def test_a_network_is_trained_with_its_own_standardisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo_s = networks.build("basic_cnn", len(CLASSES))
    mean = tuple(value / 2 for value in zoo_s.channel_mean)
    network = networks.build("basic_cnn", len(CLASSES), mean=mean)
    monkeypatch.setattr(distributed, "_run", lambda *_: RuntimeError("not here"))
    plan, quiet = toy_plan(tmp_path), Progress("", 0, quiet=True)
    plans = []
    for one in (zoo_s, network):
        with pytest.raises(TrainingError):
            train_network(one, plan, _session(), processes=1, progress=quiet)
        plans.append(RankPlan.model_validate_json((plan.folder / PLAN).read_text()))
    assert [one.mean for one in plans] == [zoo_s.channel_mean, mean]
    assert plans[1].std == network.channel_std
    assert plans[0].run_id != plans[1].run_id


def test_a_process_standardises_as_its_plan_says(tmp_path: Path) -> None:
    settings = NetworkSettings(epochs=1, batch_size=8, precision="fp32")
    plan = toy_plan(tmp_path, settings=settings)
    known = networks.build("basic_cnn", len(CLASSES))
    dark = tuple(value / 2 for value in known.channel_mean)
    ends = []
    for name, mean in (("zoo", None), ("same", known.channel_mean), ("dark", dark)):
        own = plan.model_copy(update={"folder": tmp_path / name, "mean": mean})
        processes.prepare(own)
        ends.append(processes.run(own))
    assert processes.same(ends[0], ends[1])
    assert not processes.same(ends[0], ends[2])


@pytest.mark.parametrize("before", [None, "3"])
def test_a_worker_s_environment_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    """As TorchDistributor's task does, which hides the GPUs from all that comes after it."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)

    seen = []

    def task(rows: Iterable[int]) -> Iterator[int]:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "RANK": "0"}
        for row in rows:
            seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
            yield row
        raise RuntimeError("it failed")

    with pytest.raises(RuntimeError, match="it failed"):
        list(leaving_no_trace(task)(iter([1])))
    assert seen == [""]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
    assert "RANK" not in os.environ
