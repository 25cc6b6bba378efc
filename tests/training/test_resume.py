"""A training that is killed goes on to the weights of one that is not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import pytest
import torch

from pulmospark.config.train import NetworkSettings
from pulmospark.models.zoo import networks
from pulmospark.training.checkpoint import (
    Checkpoint,
    State,
    clear_asides,
    load_optimiser,
    optimiser_tensors,
    read_tensors,
    write_tensors,
)
from pulmospark.training.distributed import read_epochs
from pulmospark.training.optimiser import make_optimiser
from pulmospark.training.rank import RankPlan
from pulmospark.training.training_folder import CHECKPOINT
from training import processes
from training.processes import Kill
from training.toys import SIZE, toy_plan

OPTIONS = NetworkSettings(
    epochs=60,
    batch_size=8,
    learning_rate=3e-3,
    precision="fp32",
    mix_up=0.2,
    ema=0.9,
    balance="sampling",
    label_smoothing=0.1,
    stage_factor=0.8,
)


def _twice(folder: Path, settings: NetworkSettings, feed_bytes: int) -> list[RankPlan]:
    plan = toy_plan(folder, settings=settings, run_id="one", feed_bytes=feed_bytes)
    plans = [plan.model_copy(update={"folder": folder / name}) for name in ("whole", "killed")]
    for one in plans:
        processes.prepare(one)
    return plans


@pytest.mark.parametrize("feed_bytes", [10**9, 20 * SIZE * SIZE], ids=["memory", "stream"])
def test_killed_five_times_it_ends_with_the_same_weights(tmp_path: Path, feed_bytes: int) -> None:
    whole, killed = _twice(tmp_path, OPTIONS, feed_bytes)
    undisturbed = processes.run(whole)
    delays = [random.uniform(0.0, 0.05) for _ in range(5)]
    for delay in delays:
        processes.run_and_kill(killed, Kill(delay=delay))
    assert not (killed.folder / "trained.safetensors").exists()
    assert processes.same(processes.run(killed), undisturbed), delays
    losses = [[e["validation_loss"] for e in read_epochs(plan.folder)] for plan in (whole, killed)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == OPTIONS.epochs
    assert not (killed.folder / CHECKPOINT).exists()


@pytest.mark.parametrize("synchronise", ["gradients", "parameters"])
def test_two_processes_of_which_one_is_killed(tmp_path: Path, synchronise: str) -> None:
    changes = {"epochs": 20, "synchronise": synchronise, "synchronise_every": 2}
    settings = NetworkSettings.model_validate(OPTIONS.model_dump() | changes)
    whole, killed = _twice(tmp_path, settings, 20 * SIZE * SIZE)
    undisturbed = processes.run(whole, 2)
    processes.run_and_kill(killed, Kill(delay=random.uniform(0.0, 0.1)), 2)
    assert processes.same(processes.run(killed, 2), undisturbed)


@pytest.mark.parametrize("trainable", [1, "head"])
def test_what_is_frozen_is_not_written_and_comes_from_the_start(
    tmp_path: Path, trainable: int | str
) -> None:
    changes = {"epochs": 12, "trainable": trainable, "mix_up": 0.0}
    settings = NetworkSettings.model_validate(OPTIONS.model_dump() | changes)
    whole, killed = _twice(tmp_path, settings, 10**9)
    undisturbed = processes.run(whole)
    processes.run_and_kill(killed, Kill())
    state = Checkpoint(killed.folder / CHECKPOINT, "one").read()
    assert state is not None
    stages = ("head.", "backbone.fully_connected.")[: 1 if trainable == "head" else 2]
    for part in ("network", "average", "best"):
        assert {name for name in undisturbed if name.startswith(stages)} == set(state.parts[part])
    assert processes.same(processes.run(killed), undisturbed)


def test_a_file_half_written_by_a_killed_process_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".{CHECKPOINT}.0123.part").write_bytes(b"half")
    (tmp_path / CHECKPOINT).write_bytes(b"whole")
    clear_asides(tmp_path / CHECKPOINT)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "mine")
    assert checkpoint.read() is None
    plain = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    state = State(3, [{"loss": 0.1 + 0.2}], 1 / 3, 2, {"a": {"x/y": plain}, "b": {"n": plain[0]}})
    checkpoint.write(state)
    saved = checkpoint.read()
    assert saved is not None
    assert (saved.epoch, saved.history, saved.best, saved.waited) == (3, state.history, 1 / 3, 2)
    assert torch.equal(saved.parts["a"]["x/y"], plain)
    assert torch.equal(saved.parts["b"]["n"], plain[0])


@pytest.mark.parametrize("waited", [0, 1])
@pytest.mark.parametrize("average", [False, True])
def test_what_was_best_is_known_again(tmp_path: Path, waited: int, average: bool) -> None:
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "mine")
    parts = {name: {"x": torch.rand(3)} for name in ("network", "average")[: 1 + average]}
    last = parts["average" if average else "network"]
    parts["best"] = {"x": torch.rand(3) if waited else last["x"].clone()}
    checkpoint.write(State(3, [], 0.5, waited, parts))
    state = checkpoint.read()
    assert state is not None
    assert torch.equal(state.parts["best"]["x"], parts["best"]["x"])


@pytest.mark.parametrize(
    ("optimiser", "device"), [("adamw", "meta"), ("adam", "meta"), ("rmsprop", "cpu")]
)
def test_a_count_of_steps_goes_where_the_optimiser_reads_it(
    optimiser: Literal["adamw", "adam", "rmsprop"], device: str
) -> None:
    """``meta`` stands for a GPU here: it holds shapes, and computes nothing."""
    settings = NetworkSettings(optimiser=optimiser)
    network, elsewhere = (networks.build("basic_cnn", 2) for _ in range(2))
    original = make_optimiser(network, settings)
    network(torch.zeros(2, SIZE, SIZE)).sum().backward()
    original.step()
    again = make_optimiser(elsewhere.to("meta"), settings)
    load_optimiser(again, optimiser_tensors(original))
    assert again.state
    for values in again.state.values():
        devices = {name: value.device.type for name, value in values.items()}
        assert devices.pop("step") == device
        assert set(devices.values()) == {"meta"}


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "mine")
    checkpoint.write(State(1, [], 0.5, 0, {"network": {"x": torch.ones(2)}}))
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.write(State(2, [{"loss": float("nan")}], 0.5, 0, {}))
    state = checkpoint.read()
    assert state is not None
    assert state.epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    write_tensors(path, "mine", {"a": torch.ones(3)}, [1])
    assert read_tensors(path, "mine") is not None
    assert read_tensors(path, "other") is None
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:-4], b"x" * 100):
        path.write_bytes(content)
        assert read_tensors(path, "mine") is None


def test_another_training_does_not_go_on_from_it(tmp_path: Path) -> None:
    settings = NetworkSettings(epochs=2, batch_size=8, precision="fp32")
    whole, other = _twice(tmp_path, settings, 10**9)
    trained = processes.run(whole)
    # What stands there would be known by other weights: it is no checkpoint of this run.
    state = State(1, [], None, 0, {"network": {}, "best": {}})
    Checkpoint(other.folder / CHECKPOINT, "another").write(state)
    assert processes.same(processes.run(other), trained)
