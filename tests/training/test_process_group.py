"""Several processes: what they average, and that they stay one network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pulmospark.config.train import NetworkSettings
from pulmospark.training.distributed import read_epochs
from training import processes
from training.toys import toy_plan

SETTINGS = NetworkSettings(epochs=6, batch_size=8, learning_rate=3e-3, precision="fp32")


@pytest.mark.parametrize("every", [0, 1])
def test_averaged_weights_learn_as_averaged_gradients_do(tmp_path: Path, every: int) -> None:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for how in ("gradients", "parameters"):
        settings = SETTINGS.model_validate(
            SETTINGS.model_dump()
            # One step of SGD and then the mean is the mean and then one step.
            | {"optimiser": "sgd", "learning_rate": 0.01, "epochs": 2}
            | {"synchronise": how, "synchronise_every": every}
        )
        plan = toy_plan(tmp_path / how, settings=settings)
        processes.prepare(plan)
        found[how] = processes.run(plan, 2)
        losses = [epoch["loss"] for epoch in read_epochs(plan.folder)]
        assert losses[-1] < losses[0]
    apart = max(
        float((found["gradients"][name] - value).abs().max())
        for name, value in found["parameters"].items()
        if value.is_floating_point() and "running" not in name
    )
    if every:
        assert apart < 1e-5
    else:
        assert apart > 1e-4


def test_the_losses_are_those_of_all_processes(tmp_path: Path) -> None:
    plans = [toy_plan(tmp_path / name) for name in ("one", "two")]
    for world, plan in enumerate(plans, start=1):
        processes.prepare(plan)
        processes.run(plan, world)
    first, second = (read_epochs(plan.folder) for plan in plans)
    assert len(first) == len(second) == plans[0].settings.epochs
    # Two halves of each batch by other chance, but the same images and the same validation.
    assert first[-1]["validation_accuracy"] >= 0.9
    assert second[-1]["validation_accuracy"] >= 0.9
