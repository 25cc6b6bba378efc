"""Where a training is launched: GPUs that are asked for, and workers that go on afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pulmospark.core.errors import UsageError
from pulmospark.core.progress import Progress
from pulmospark.models import zoo
from pulmospark.spark.resources import TASK_GPUS, gpus_of_a_task
from pulmospark.training.distributed import train_network
from pulmospark.training.launch import leaving_no_trace
from training.toys import CLASSES, toy_plan


def _session(**settings: str) -> Any:
    """What a training asks of a session before it begins."""
    context = SimpleNamespace(defaultParallelism=2)
    return SimpleNamespace(conf=SimpleNamespace(get=settings.get), sparkContext=context)


@pytest.mark.parametrize("amount", ["0.5", "2"])
def test_a_training_takes_whole_gpus_one_a_process(tmp_path: Path, amount: str) -> None:
    session = _session(**{TASK_GPUS: amount})
    assert gpus_of_a_task(session) == float(amount)
    network = zoo.build("basic_cnn", len(CLASSES))
    told = Progress("", 0, quiet=True)
    with pytest.raises(UsageError, match=f"gpu.amount is {amount}, .*set it to 1, or leave"):
        train_network(network, toy_plan(tmp_path), session, processes=1, progress=told)


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

    def task(rows: Iterator[int]) -> Iterator[int]:
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
