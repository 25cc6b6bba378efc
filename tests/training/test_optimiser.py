"""Optimiser, schedule and loss, against torch's own, scikit-learn and plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.optim import lr_scheduler

from pulmospark.config.train import NetworkSettings
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.networks import stages
from pulmospark.training.device import (
    StridedConv2d,
    bf16_where_fast,
    environment,
    has_bf16,
    make_repeatable,
    uses_bf16,
)
from pulmospark.training.optimiser import (
    even_share,
    loss_of,
    make_optimiser,
    mix,
    rate,
    set_rate,
    soft_targets,
)
from pulmospark.training.param_groups import trained_parameters
from pulmospark.training.process_group import MovingAverage

CPU = torch.device("cpu")


def test_the_schedule_is_torch_s_linear_warm_up_and_cosine() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    rise = lr_scheduler.LinearLR(optimiser, start_factor=0.1, total_iters=9)
    fall = lr_scheduler.CosineAnnealingLR(optimiser, T_max=90)
    rates = []
    for step in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        (rise if step < 9 else fall).step() if step != 9 else None
    # torch's cosine begins at the step that ends the rise; ours one step later, at the same 1.
    ours = [rate(step, 100, NetworkSettings(warm_up=0.1)) for step in range(100)]
    np.testing.assert_allclose(ours[:10], rates[:10], rtol=1e-6)
    np.testing.assert_allclose(ours[10:], rates[10:], atol=0.02)
    assert ours[10] == 1.0
    assert ours[99] < 0.001


@given(st.integers(1, 500), st.floats(0.0, 1.0), st.sampled_from(["cosine", "constant"]))
def test_a_rate_is_a_share_that_rises_and_does_not_rise_again(
    total: int, warm_up: float, schedule: Any
) -> None:
    settings = NetworkSettings(warm_up=warm_up, schedule=schedule)
    rates = np.asarray([rate(step, total, settings) for step in range(total)])
    assert (rates > 0.0).all()
    assert rates.max() == pytest.approx(1.0)
    top = int(np.ceil(total * warm_up))
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top:]) <= 1e-12).all()


def test_stages_learn_each_a_share_of_the_next_one_s_rate() -> None:
    network = networks.build("basic_cnn", 2)
    there = len(stages(network))
    settings = NetworkSettings(learning_rate=0.1, stage_factor=0.5)
    optimiser = make_optimiser(network, settings)
    assert [group["top"] for group in optimiser.param_groups] == pytest.approx(
        [0.1 * 0.5 ** (there - n) for n in range(there + 1)]
    )
    set_rate(optimiser, settings.model_copy(update={"warm_up": 0.0}), 50, 100)
    assert optimiser.param_groups[-1]["lr"] == pytest.approx(0.05)
    taken = [id(parameter) for group in optimiser.param_groups for parameter in group["params"]]
    assert sorted(taken) == sorted(id(parameter) for parameter in network.parameters())


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "basic_cnn"])
def test_the_stages_of_a_network_part_its_backbone(name: str) -> None:
    network = networks.build(name, 2)
    prefixes = [prefix for stage in stages(network) for prefix in stage]
    assert len(stages(network)) > 1
    for key, _ in network.backbone.named_parameters(prefix="backbone"):
        assert sum(key.startswith(prefix) for prefix in prefixes) >= 1
    counts = [
        trained_parameters(network, NetworkSettings(trainable=n))
        for n in range(1, len(stages(network)) + 1)
    ]
    head = trained_parameters(network, NetworkSettings(trainable="head"))
    assert head == sum(parameter.numel() for parameter in network.head.parameters())
    assert [head, *counts] == sorted([head, *counts])
    assert counts[-1] == trained_parameters(network, NetworkSettings())
    assert counts[-1] == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torch_s(smoothing: float) -> None:
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(9, 4, generator=rng)
    labels = torch.randint(0, 4, (9,), generator=rng)
    targets = soft_targets(labels, 4, NetworkSettings(label_smoothing=smoothing))
    theirs = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(loss_of(logits, targets, None), theirs)


def test_two_logits_of_which_one_is_nought_are_binary_cross_entropy() -> None:
    z = torch.linspace(-4, 4, 9)
    labels = torch.arange(9) % 2
    logits = torch.stack([torch.zeros(9), z], dim=1)
    ours = loss_of(logits, soft_targets(labels, 2, NetworkSettings()), None)
    theirs = nn.functional.binary_cross_entropy_with_logits(z, labels.float())
    torch.testing.assert_close(ours, theirs)


def test_weights_of_classes_are_scikit_learn_s() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert even_share((50, 30, 5)) == pytest.approx(theirs)
    assert even_share((4, 0, 4)) == pytest.approx((1.0, 0.0, 1.0))


def test_mixed_images_keep_the_larger_share_and_their_targets_mix_alike() -> None:
    rng = np.random.default_rng(4)
    pixels = torch.arange(8, dtype=torch.uint8).reshape(8, 1, 1) * 10
    targets = torch.eye(8)
    for _ in range(20):
        mixed, mixed_targets = mix(pixels, targets, 0.4, rng)
        # Image n is n * 10 everywhere, so that its mixture can be read off its targets.
        torch.testing.assert_close(mixed[:, 0, 0], mixed_targets @ (torch.arange(8.0) * 10))
        torch.testing.assert_close(mixed_targets.sum(1), torch.ones(8))
        assert (mixed_targets.diagonal() >= 0.5).all()


def test_the_moving_average_follows_its_formula() -> None:
    network = networks.build("basic_cnn", 2)
    average = MovingAverage(network, 0.9)
    expected = network.head.bias.detach().clone()
    for step in range(1, 120):
        with torch.no_grad():
            network.head.bias.add_(1.0)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.head.bias.detach()
        average.update(step)
    torch.testing.assert_close(average.network.head.bias, expected)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_what_is_told_of_precision_is_done() -> None:
    assert uses_bf16(NetworkSettings(precision="bf16"), CPU)
    assert not uses_bf16(NetworkSettings(precision="fp32"), CPU)
    assert uses_bf16(NetworkSettings(), CPU) == has_bf16(CPU)
    assert uses_bf16(NetworkSettings(batch_norm="fixed"), CPU) == has_bf16(CPU)


def test_float32_is_not_computed_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it sets for the whole process goes no further than this test.
    monkeypatch.setattr(torch, "set_deterministic_debug_mode", lambda _: None)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    with torch.backends.cudnn.flags(allow_tf32=True):
        make_repeatable(CPU)
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32


def test_what_is_slow_in_bf16_stays_in_float32_and_only_then() -> None:
    network = networks.build("efficientnet_b0", 2).eval()
    kinds: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _, __, out, name=name: kinds.__setitem__(name, out.dtype)
            )
    grey = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    slow = {
        name
        for name, one in network.named_modules()
        if isinstance(one, nn.Conv2d) and one.groups > 1 and one.kernel_size == (5, 5)
    }
    plain = network(grey)
    with torch.inference_mode():
        with bf16_where_fast(network, CPU), torch.autocast("cpu", torch.bfloat16):
            mixed = network(grey)
        assert {name for name, kind in kinds.items() if kind == torch.float32} == slow
        with torch.autocast("cpu", torch.bfloat16):
            network(grey)
    assert set(kinds.values()) == {torch.bfloat16}
    torch.testing.assert_close(mixed.float(), plain, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
def test_strided_depthwise_gradients_are_those_of_float32(
    size: int, stride: int | tuple[int, int]
) -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(6, 6, 3, stride, padding=1, groups=6)  # with a bias, as folded batch norm
    maps = torch.randn(2, 6, size, size).bfloat16().float().requires_grad_()
    with torch.no_grad():
        conv.weight.copy_(conv.weight.bfloat16())
    leaves = [maps, *conv.parameters()]
    expected = conv(maps)
    weights = torch.randn_like(expected).bfloat16().float()
    wanted = torch.autograd.grad((expected * weights).sum(), leaves)
    with bf16_where_fast(nn.Sequential(conv), CPU):
        assert type(conv) is StridedConv2d
        with torch.autocast("cpu", torch.bfloat16):
            output = conv(maps)
        assert output.dtype == torch.bfloat16
        gradients = torch.autograd.grad((output * weights).sum(), leaves)
        assert torch.equal(conv(maps), expected)  # validation, which is in float32
    torch.testing.assert_close(output.float(), expected, atol=0.02, rtol=0.01)
    for gradient, reference in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, reference, atol=0.02, rtol=0.01)


def test_the_environment_keeps_what_the_user_has_set() -> None:
    variables = environment(3, {"MALLOC_MMAP_MAX_": "7"})
    assert variables["MALLOC_MMAP_MAX_"] == "7"
    assert variables["MALLOC_TRIM_THRESHOLD_"] == str(8 * 2**30)
    assert variables["OMP_NUM_THREADS"] == "3"
