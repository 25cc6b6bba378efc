"""Outputs of frozen stages, kept on disk, give the training that computes them in each epoch."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from pulmospark.config.augment import AugmentSettings
from pulmospark.config.train import NetworkOptions, NetworkSettings, TrainSettings
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.models.zoo import networks
from pulmospark.training import rank
from pulmospark.training.device import bf16_where_fast
from pulmospark.training.distributed import read_epochs, with_frozen_outputs
from pulmospark.training.folded_batch_norm import folded_batch_norm
from pulmospark.training.frozen_outputs import can_keep
from pulmospark.training.frozen_stages import split_frozen
from pulmospark.training.param_groups import train_mode
from pulmospark.training.rank import RankPlan
from pulmospark.training.training_folder import START, TRAINED
from training import processes
from training.processes import Kill
from training.toys import toy_plan

PARTLY = NetworkSettings(
    epochs=4, batch_size=8, learning_rate=3e-3, precision="fp32", trainable=1, ema=0.9
)


def _plans(folder: Path, **changes: Any) -> list[RankPlan]:
    """The same training, without and with kept outputs."""
    changed = NetworkSettings.model_validate(PARTLY.model_dump() | changes)
    plan = toy_plan(folder, settings=changed, run_id="one")
    kept = {"folder": folder / "kept", "frozen_outputs": folder / "outputs"}
    plans = [plan, plan.model_copy(update=kept)]
    for one in plans:
        processes.prepare(one)
    return plans


def _losses(plan: RankPlan) -> list[float]:
    epochs = read_epochs(plan.folder)
    assert len(epochs) == plan.settings.epochs
    return [epoch[name] for epoch in epochs for name in ("loss", "validation_loss")]


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("trainable", [1, "head"])
def test_losses_and_weights_are_those_without_kept_outputs(
    tmp_path: Path, world: int, trainable: int | str
) -> None:
    plain, kept = _plans(tmp_path, trainable=trainable)
    weights = processes.run(plain, world)
    for name, value in processes.run(kept, world).items():
        torch.testing.assert_close(value, weights[name], rtol=1e-4, atol=1e-5)
    assert _losses(kept) == pytest.approx(_losses(plain), rel=0, abs=1e-5)
    files = list((tmp_path / "outputs").glob("*/*.npy"))
    assert len(files) == 4  # row groups
    # A second training, as of another fold, finds them.
    before = {path: path.stat().st_mtime_ns for path in files}
    again = kept.model_copy(update={"folder": tmp_path / "again"})
    processes.prepare(again)
    assert processes.same(processes.run(again, world), processes.weights(kept.folder))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "outputs").glob("*/*.npy")} == before


def test_a_killed_training_resumes_and_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    _, kept = _plans(tmp_path, epochs=12)
    killed = kept.model_copy(update={"folder": tmp_path / "killed"})
    processes.prepare(killed)
    undisturbed = processes.run(kept)
    processes.run_and_kill(killed, Kill(after=3))
    first, second, *_ = sorted((tmp_path / "outputs").glob("*/*.npy"))
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()
    assert processes.same(processes.run(killed), undisturbed)


def test_other_pixels_or_frozen_weights_have_other_files(tmp_path: Path) -> None:
    _, kept = _plans(tmp_path)
    processes.run(kept)
    before = set((tmp_path / "outputs").glob("*/*.npy"))
    torch.manual_seed(6)
    network = networks.build(kept.model, 2)
    save_file(network.state_dict(), kept.folder / START)
    (kept.folder / TRAINED).unlink()
    processes.run(kept)
    after = set((tmp_path / "outputs").glob("*/*.npy"))
    assert len(after) == 2 * len(before)
    assert before < after


def test_over_the_limit_or_the_disk_nothing_is_kept_and_that_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan = toy_plan(tmp_path)
    network, listings = networks.build(plan.model, 2), rank.listings(plan)
    with caplog.at_level(logging.INFO):
        assert can_keep(network, PARTLY, listings, tmp_path)
        assert "are kept" in caplog.text
        monkeypatch.setattr(limits, "FROZEN_OUTPUTS_BYTES_MAX", 1000)
        assert not can_keep(network, PARTLY, listings, tmp_path)
    assert "over the limit of 1000" in caplog.text
    everything = PARTLY.model_copy(update={"trainable": "all"})
    assert not can_keep(network, everything, listings, tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"keep_frozen_outputs": False}, False),
        ({"epochs": 1}, False),
        ({"mix_up": 0.2}, False),
        ({"trainable": "all"}, False),
    ],
)
def test_outputs_are_kept_where_they_are_the_same_in_several_epochs(
    tmp_path: Path, changes: dict[str, Any], expected: bool
) -> None:
    _, plan = _plans(tmp_path, **changes)
    network, listings = networks.build(plan.model, 2), rank.listings(plan)
    stale = tmp_path / "outputs" / "network" / ".group.npy.0123.part"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert (with_frozen_outputs(plan, network, listings).frozen_outputs is not None) == expected
    assert stale.exists() != (expected or changes == {"trainable": "all"})
    assert all(value.requires_grad for value in network.parameters())
    augmented = plan.model_copy(update={"augment": AugmentSettings()})
    assert with_frozen_outputs(augmented, network, listings).frozen_outputs is None


@pytest.mark.parametrize(
    ("name", "trainable"),
    [("mobilenet_v2", 3), ("mobilenet_v2", "head"), ("resnet50", 2), ("efficientnet_b0", 2)],
)
def test_both_parts_together_are_the_network(name: str, trainable: Literal["head"] | int) -> None:
    torch.manual_seed(2)
    network = networks.build(name, 3)
    stages = split_frozen(network, NetworkSettings(trainable=trainable))
    assert stages is not None
    network.eval()
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        output = stages.extractor(network)(pixels)
        torch.testing.assert_close(stages.remainder(network)(output), network(pixels))
    rest = stages.remainder(network).get_submodule("rest")
    trained = {n for n, value in network.backbone.named_parameters() if value.requires_grad}
    assert {n for n, value in rest.named_parameters() if value.requires_grad} == trained


def test_what_cannot_be_cut_is_not() -> None:
    assert split_frozen(networks.build("mobilenet_v2", 2), NetworkSettings()) is None
    # Its blocks ask for the type of their input, so it cannot be traced.
    partly = NetworkSettings(trainable=1)
    assert split_frozen(networks.build("densenet121", 2), partly) is None


class _Toy(nn.Module):
    """A convolution with batch norm, one whose output is also used elsewhere, and one alone."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, bias=bias)
        self.norm = nn.BatchNorm2d(channels)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, stride=2)
        self.other = nn.BatchNorm2d(channels)
        for norm in (self.norm, self.other):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
            norm.register_buffer("running_mean", torch.randn(channels))
            norm.register_buffer("running_var", 0.5 + torch.rand(channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.shared(torch.relu(self.norm(self.first(images))))
        output: torch.Tensor = self.other(maps) + maps
        return output


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.booleans(), st.integers(0, 100))
def test_folded_it_has_the_same_output_and_gradients(channels: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    plain = _Toy(channels, bias=bias).double().eval()
    folded = copy.deepcopy(plain)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = plain(images)
    expected.square().sum().backward()
    names = list(folded.state_dict())
    with folded_batch_norm(folded):
        assert type(folded.norm) is not nn.BatchNorm2d
        assert type(folded.other) is nn.BatchNorm2d  # its input goes elsewhere, too
        assert list(folded.state_dict()) == names
        output = folded(images)
        output.square().sum().backward()
    torch.testing.assert_close(output, expected)
    for one, other in zip(plain.parameters(), folded.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert type(folded.first) is nn.Conv2d
    assert "norm" not in vars(folded.first)


def test_in_training_mode_nothing_is_folded_and_statistics_move() -> None:
    torch.manual_seed(1)
    plain = _Toy(4, bias=False)
    folded = copy.deepcopy(plain)
    images = torch.randn(4, 3, 8, 8)
    expected = plain(images)
    with folded_batch_norm(folded):
        assert torch.equal(folded(images), expected)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, folded.state_dict()[name])


def test_folding_and_bf16_end_as_they_began() -> None:
    network = networks.build("mobilenet_v2", 2).eval()
    before = [type(module) for module in network.modules()]
    cpu = torch.device("cpu")
    pixels = torch.from_numpy(np.full((1, 32, 32), 90, np.uint8))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = network(pixels)
        with bf16_where_fast(network, cpu), folded_batch_norm(network.backbone):
            torch.testing.assert_close(network(pixels), expected, rtol=0.1, atol=0.05)
    assert [type(module) for module in network.modules()] == before


def test_fixed_batch_norm_keeps_its_statistics() -> None:
    network = networks.build("mobilenet_v2", 2)
    fixed = NetworkSettings(batch_norm="fixed")
    train_mode(network, fixed)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert network.dropout.training
    train_mode(network, NetworkSettings())
    assert all(norm.training for norm in norms)


def test_fixed_statistics_of_random_weights_are_refused() -> None:
    with pytest.raises(UsageError, match=r"batch_norm is 'fixed' and weights is 'none'"):
        TrainSettings(weights="none", network=NetworkOptions(batch_norm="fixed"))
