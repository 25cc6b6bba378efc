"""Every network of the zoo keeps the same contract."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.network import FeatureExtractor, Network
from pulmospark.models.zoo.networks import ZOO, build, check_size, entry

SMALL = tuple(name for name in ZOO if name != "vgg19")
"""VGG19 takes seconds to draw; its shapes and counts are tested without numbers."""


def _pixels(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, size, size), generator=generator, dtype=torch.uint8)


def _least(name: str) -> int:
    return max(entry(name).min_size, 64)


@pytest.fixture(scope="module", params=SMALL)
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(3)
    return build(request.param, entry(request.param).classes or 3).eval()


@torch.inference_mode()
def test_contract(network: Network) -> None:
    known = entry(network.name)
    pixels = _pixels(2, _least(network.name))
    features, logits = network.features(pixels), network(pixels)
    assert features.shape == (2, known.width)
    assert logits.shape == (2, network.classes)
    assert features.dtype == logits.dtype == torch.float32
    assert torch.equal(logits, network.logits(features))
    assert [*network.modules()][-1] is network.head
    assert torch.equal(network(pixels.float()), logits)


@torch.inference_mode()
def test_takes_its_smallest_size_and_a_batch_of_one(network: Network) -> None:
    known = entry(network.name)
    size = known.min_size
    assert network(_pixels(1, size)).isfinite().all()
    check_size(network.name, size)
    wanted = "accepts 200 pixels" if known.max_size else f"is under its minimum of {size}"
    with pytest.raises(UsageError, match=f"size {size - 1},? .*{wanted}"):
        check_size(network.name, size - 1)
    if known.max_size:
        with pytest.raises(UsageError, match=f"size {known.max_size + 1}, .*{wanted}"):
            check_size(network.name, known.max_size + 1)


@torch.inference_mode()
def test_feature_extractor(network: Network) -> None:
    pixels = _pixels(2, _least(network.name))
    features = FeatureExtractor(network)(pixels)
    logits, beside = FeatureExtractor(network, logits=True).eval()(pixels)
    assert torch.equal(features, network.features(pixels))
    assert torch.equal(features, beside)
    assert torch.equal(logits, network(pixels))


def test_learns_in_every_layer(network: Network) -> None:
    copy = build(network.name, network.classes).train()
    labels = torch.arange(4) % network.classes
    loss = nn.functional.cross_entropy(copy(_pixels(4, _least(network.name))), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, value in copy.named_parameters() if value.grad is None]
    assert without == []


@torch.inference_mode()
def test_standardises_as_published() -> None:
    network = build("mobilenet_v2", 2)
    pixels = _pixels(2, 40)
    mean, std = (
        torch.tensor(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    wanted = (torch.stack([pixels / 255.0] * 3, dim=1) - mean) / std
    assert torch.equal(network.standardise(pixels), wanted)


def test_names_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'vgg19'.*choose one of mobilenet_v2"):
        build("vgg99", 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes is 1"),
        ({"classes": 2, "mean": (0.5, 0.5, 0.5)}, "3 channels"),
        ({"classes": 2, "mean": (0.5,), "std": (0.0,)}, "above 0"),
    ],
)
def test_refuses_what_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build("basic_cnn", **options)  # type: ignore[arg-type]


def test_refuses_pixels_with_a_channel_axis() -> None:
    with pytest.raises(UsageError, match=r"\(1, 1, 32, 32\): expected grey \(n, h, w\)"):
        build("basic_cnn", 2)(torch.zeros(1, 1, 32, 32))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(16, 70), width=st.integers(16, 70), count=st.integers(1, 3))
@torch.inference_mode()
def test_basic_cnn_takes_any_size(height: int, width: int, count: int) -> None:
    network = build("basic_cnn", 2).eval()
    assert network(torch.zeros(count, height, width, dtype=torch.uint8)).shape == (count, 2)


def test_basic_cnn_learns_within_a_few_steps() -> None:
    """Bright discs at the left or at the right, on noise."""
    torch.manual_seed(0)
    labels = torch.arange(96) % 2
    pixels = torch.randint(0, 120, (96, 48, 48)).float()
    for image, label in zip(pixels, labels, strict=True):
        row, column = int(torch.randint(8, 32, ())), 6 + 24 * int(label)
        image[row : row + 10, column : column + 10] += 100
    network = build("basic_cnn", 2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for step in range(24):
        chosen = slice(32 * (step % 2), 32 * (step % 2) + 32)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    with torch.inference_mode():
        right = (network(pixels[64:]).argmax(1) == labels[64:]).float().mean()
    assert right >= 0.95
