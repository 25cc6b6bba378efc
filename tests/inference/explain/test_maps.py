"""Heat maps of networks, compared with captum's and with their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation  # type: ignore[import-untyped]

from pulmospark.core.errors import UsageError
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.inference.explain.attention import AttentionRecorder
from pulmospark.inference.explain.maps import contrast_weights
from pulmospark.inference.explain.openvino_maps import (
    NotLinearError,
    OpenVinoMaps,
    has_class_maps,
)
from pulmospark.inference.explain.torch_maps import TorchMaps
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network

if TYPE_CHECKING:
    from pulmospark.core.arrays import Floats, Ints, Pixels, Singles
    from pulmospark.inference.engine.spec import Outputs
    from pulmospark.inference.explain.maps import Method

LINEAR = ("mobilenet_v2", "squeezenet1_1", "squeezenet1_1_flattened", "densenet121")
NONLINEAR = ("basic_cnn", "belman_lopez_2022_4class", "mobilenet_v2_modified")


def built(name: str, classes: int = 3) -> tuple[Network, int]:
    """A network with random weights and biases, and its size."""
    torch.manual_seed(7)
    network = networks.build(name, classes).eval()
    with torch.no_grad():
        torch.nn.init.normal_(network.head.weight, std=0.5)
        torch.nn.init.normal_(network.head.bias)
    size = networks.entry(name).input_size
    norms = [m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:  # without statistics of its own a random network shrinks what it is given
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        network(torch.from_numpy(noise(size)))
    return network.eval(), size


def noise(size: int, count: int = 3) -> Pixels:
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (count, 1 + size // 16, 1 + size // 16))
    return np.kron(coarse, np.ones((16, 16)))[:, :size, :size].astype(np.uint8)


def contrast(values: Singles, places: Ints) -> Floats:
    """Each image's class against the mean of the others, by the definition."""
    rows = [
        row[place] - np.delete(row, place).mean()
        for row, place in zip(values.astype(np.float64), places, strict=True)
    ]
    return np.asarray(rows)


def by_captum(
    network: Network, layer: str, pixels: Pixels, places: Ints, *, by_value: bool = False
) -> Floats:
    """Captum's map of the class against the others; captum takes one output, so this is it."""

    def evidence(images: torch.Tensor) -> torch.Tensor:
        weights = torch.from_numpy(contrast_weights(places, network.classes))
        return torch.as_tensor(network(images) * weights).sum(dim=1)

    module = network.backbone.get_submodule(layer)
    images = torch.from_numpy(pixels.astype(np.float32)).requires_grad_()
    if by_value:
        maps = LayerGradientXActivation(evidence, module).attribute(images)
    else:
        maps = LayerGradCam(evidence, module).attribute(images, relu_attributions=False)
    return np.asarray(maps.sum(dim=1).detach())


@pytest.mark.parametrize("method", ["hires_cam", "grad_cam"])
@pytest.mark.parametrize("name", NONLINEAR)
def test_maps_are_captums(name: str, method: Method) -> None:
    network, size = built(name, 4 if name.endswith("4class") else 3)
    pixels = noise(size)
    assert TorchMaps(network, size).method == "hires_cam"
    source = TorchMaps(network, size, method)
    assert source.layer is not None
    output = source.run(pixels)
    layer, by_value = source.layer.name, method == "hires_cam"
    theirs = by_captum(network, layer, pixels, output.places, by_value=by_value)
    assert min(output.raw.shape[1:]) >= 5
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(output.raw, theirs, atol=1e-4 * np.abs(theirs).max(), rtol=1e-4)
    with torch.no_grad():
        logits = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_array_equal(output.places, logits.argmax(axis=1))
    np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_class_activation_is_exact_and_the_engine_gives_it(name: str, tmp_path: Path) -> None:
    network, size = built(name)
    pixels = noise(size)
    spec = prepare_engine(network, tmp_path, outputs="both", size=size, kind="openvino")
    source = TorchMaps(network, size)
    assert source.method == "cam"
    assert has_class_maps(spec)
    engine, places = OpenVinoMaps(spec), np.array([2, 0, 1])
    ours, exact = engine.run(pixels, places), source.run(pixels, places)
    bias = np.tile(network.head.bias.detach().numpy(), (3, 1))
    for output in (ours, exact):
        sums = output.raw.astype(np.float64).sum(axis=(1, 2))
        logits = contrast(output.logits - bias, places)
        np.testing.assert_allclose(sums, logits, rtol=2e-4, atol=2e-4 * np.abs(logits).max())
    scale = np.abs(exact.raw).max()
    assert scale > 0
    np.testing.assert_allclose(ours.raw, exact.raw, atol=1e-4 * scale)
    if not name.endswith("flattened"):  # whose channels' mean gradient is not each value's
        assert source.layer is not None
        theirs = by_captum(network, source.layer.name, pixels, places)
        if name != "densenet121":  # captum's layer ends before a ReLU that is no module
            np.testing.assert_allclose(exact.raw, theirs, atol=1e-4 * scale)


@pytest.mark.parametrize(
    ("name", "outputs"), [("squeezenet1_1", "logits"), ("mobilenet_v2", "both")]
)
def test_scores_with_maps_are_those_without(name: str, outputs: Outputs, tmp_path: Path) -> None:
    network, size = built(name)
    pixels = noise(size, 5)
    spec = prepare_engine(network, tmp_path, outputs=outputs, size=size, kind="openvino")
    plain, output = new_engine(spec).run(pixels), OpenVinoMaps(spec).run(pixels)
    assert plain.logits is not None
    np.testing.assert_array_equal(output.logits, plain.logits)
    if plain.features is None:
        assert output.features is None
    else:
        np.testing.assert_array_equal(output.features, plain.features)
    empty = OpenVinoMaps(spec).run(pixels[:0])
    assert empty.raw.shape == (0, *output.raw.shape[1:])
    assert empty.logits.shape == (0, 3)


def test_one_logit_has_evidence_for_both_classes(tmp_path: Path) -> None:
    network, size = built("squeezenet1_1", 2)
    single = Network(
        "squeezenet1_1", network.backbone, width=512, classes=2, single_logit=True,
        mean=network.channel_mean, std=network.channel_std,
    ).eval()  # fmt: skip
    spec = prepare_engine(single, tmp_path, size=size, kind="openvino")
    engine, exact = OpenVinoMaps(spec), TorchMaps(single, size)
    for_first = engine.run(noise(size, 1), np.array([0])).raw
    for_second = engine.run(noise(size, 1), np.array([1])).raw
    np.testing.assert_array_equal(for_first, -for_second)
    theirs = exact.run(noise(size, 1), np.array([1])).raw
    np.testing.assert_allclose(for_second, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", NONLINEAR[:2])
def test_a_head_behind_more_layers_has_no_exact_map(name: str, tmp_path: Path) -> None:
    network, size = built(name, 4 if name.endswith("4class") else 3)
    spec = prepare_engine(network, tmp_path, outputs="both", size=size, kind="openvino")
    assert not has_class_maps(spec)
    with pytest.raises(NotLinearError):
        OpenVinoMaps(spec)
    with pytest.raises(UsageError, match="choose auto or hires_cam or grad_cam"):
        TorchMaps(network, size, "cam")


class _Transformer(torch.nn.Module):
    """torchvision's vision transformer, small, read at the class token or averaged."""

    def __init__(self, *, averaged: bool) -> None:
        super().__init__()
        from pulmospark.models.zoo.torchvision_import import import_torchvision_models

        self.vit = import_torchvision_models().VisionTransformer(
            image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32,
            num_classes=5,
        )  # fmt: skip
        self.vit.heads = torch.nn.Identity()
        self.averaged = averaged

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not self.averaged:
            return torch.as_tensor(self.vit(images))
        tokens = self.vit._process_input(images)
        tokens = torch.cat([self.vit.class_token.expand(len(images), -1, -1), tokens], dim=1)
        return torch.as_tensor(self.vit.encoder(tokens)[:, 1:].mean(dim=1) ** 3)


def transformer(*, averaged: bool = False) -> Network:
    torch.manual_seed(11)
    network = Network(
        "small", _Transformer(averaged=averaged), width=16, classes=3,
        mean=(0.5,) * 3, std=(0.25,) * 3,
    )  # fmt: skip
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return network.eval()


def test_attention_is_recorded_as_pytorch_computes_it() -> None:
    network = transformer()
    pixels = torch.from_numpy(noise(32))
    expected: list[torch.Tensor] = []

    def ask(
        module: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module
        return inputs, {**options, "need_weights": True, "average_attn_weights": False}

    def keep(module: torch.nn.Module, inputs: object, output: tuple[torch.Tensor, ...]) -> None:
        del module, inputs
        expected.append(output[1])

    layers = [m for m in network.modules() if isinstance(m, torch.nn.MultiheadAttention)]
    hooks = [layer.register_forward_pre_hook(ask, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        logits = network(pixels)
    for hook in hooks:
        hook.remove()
    recorder = AttentionRecorder(network.backbone)
    with recorder.recording():
        again = network(pixels)
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-5)
    assert len(recorder.recorded) == len(expected) == 3
    for ours, theirs in zip(recorder.recorded, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not any(layer._forward_hooks for layer in layers)


@pytest.mark.parametrize("averaged", [False, True])
def test_attention_maps_follow_the_paper(averaged: bool) -> None:
    """Rule 5 with whole matrices: R = I, then R <- R + E[(dA * A)+] R from the first layer on."""
    network = transformer(averaged=averaged)
    source = TorchMaps(network, 32)
    assert source.method == "attention"
    pixels, places = noise(32, 2), np.array([1, 2])
    output = source.run(pixels, places)
    assert output.raw.shape == (2, 4, 4)
    recorder = AttentionRecorder(network.backbone)
    with recorder.recording():
        logits = network(torch.from_numpy(pixels))
    weights = torch.from_numpy(contrast_weights(places, 3))
    gradients = torch.autograd.grad((logits * weights).sum(), recorder.recorded)
    for image in range(2):
        relevance = np.eye(17)
        for attention, gradient in zip(recorder.recorded, gradients, strict=True):
            product = (attention[image] * gradient[image]).detach().double().numpy()
            layer = np.maximum(product, 0).mean(axis=0)
            relevance = relevance + layer @ relevance
        if averaged:
            read = gradients[-1][image].abs().sum(dim=(0, 2)).numpy()
            read = read / read.sum()
            expected = read @ relevance - read
        else:
            expected = relevance[0]
        np.testing.assert_allclose(
            output.raw[image].ravel(), expected[1:], rtol=1e-3, atol=1e-5 * expected[1:].max()
        )


def test_a_class_without_weights_of_its_own_has_a_heat_map() -> None:
    """Its logit is 0 whatever the image; what speaks for it is what speaks against the other."""
    network, size = built("basic_cnn", 2)
    with torch.no_grad():
        network.head.weight[0] = 0.0
        network.head.bias[:] = torch.tensor([100.0, 0.0])
    output = TorchMaps(network, size).run(noise(size))
    assert (output.places == 0).all()
    assert (output.raw.std(axis=(1, 2)) > 0).all()


def test_a_method_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="does not support the heat map method cam"):
        TorchMaps(transformer(), 32, "cam")
    network, size = built("basic_cnn")
    with pytest.raises(UsageError, match="choose auto or hires_cam or grad_cam"):
        TorchMaps(network, size, "attention")

    class Flat(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :8]

    flat = Network("flat", Flat(), width=8, classes=2, mean=(0.5,), std=(0.2,))
    with pytest.raises(UsageError, match="there is no heat map"):
        TorchMaps(flat.eval(), 8)


def test_maps_of_a_hooked_network_that_fails_leave_no_hook() -> None:
    network, size = built("basic_cnn")
    source = TorchMaps(network, size)
    network.head = torch.nn.Linear(5, 3)
    with pytest.raises(RuntimeError):
        source.run(noise(size))
    assert not any(module._forward_hooks for module in network.modules())
