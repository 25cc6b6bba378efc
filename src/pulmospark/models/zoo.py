"""The zoo: which networks there are. A new one is one more entry of ``ZOO``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from pulmospark.core.errors import UsageError
from pulmospark.models.network import Network
from pulmospark.models.papers import BasicCnn
from pulmospark.models.torchvision_ops import import_torchvision_models

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HUB = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class WeightsFile:
    """A file that weights may come in.

    Attributes:
        name: of a safetensors file with torchvision's key names.
        sha256: of its content where it is known.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class ZooEntry:
    """What is known of a network.

    Attributes:
        name: in settings and bundles.
        title: for people.
        builder: makes the backbone, (n, channels, h, w) -> (n, width), with torchvision's
            key names and random weights.
        width: of the deep features.
        input_size: side of the image it is meant for, pixels.
        min_size: smallest side that it takes, pixels.
        mean: of each channel, in [0, 1]; as many as the backbone takes channels.
        std: standard deviation of each channel, in [0, 1].
        dropout: before the head, in training.
        source: where it was published.
        weights: safetensors files of ImageNet weights, in the order they are looked for.
        weights_url: torchvision's own file; its name ends in the first eight digits of its
            SHA-256.
        weights_licence: of the ImageNet weights.
        replaced: prefixes of the keys of the published output layer, which the head of
            :class:`Network` replaces.
    """

    name: str
    title: str
    builder: Callable[[], nn.Module]
    width: int
    input_size: int
    min_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dropout: float
    source: str
    weights: tuple[WeightsFile, ...] = ()
    weights_url: str | None = None
    weights_licence: str | None = None
    replaced: tuple[str, ...] = ()


def _torchvision(name: str, last: Callable[[], nn.Module], **options: Any) -> nn.Module:
    """A torchvision network whose ``classifier`` is replaced, so that features come out."""
    network: nn.Module = getattr(import_torchvision_models(), name)(weights=None, **options)
    network.classifier = last()
    return network


_ENTRIES = (
    ZooEntry(
        name="mobilenet_v2",
        title="MobileNetV2",
        builder=lambda: _torchvision("mobilenet_v2", nn.Identity),
        width=1280,
        input_size=224,
        min_size=32,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        dropout=0.2,
        source="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018",
        weights=(
            WeightsFile(
                "mobilenet_v2-imagenet1k-features.safetensors",
                "13c64ed2100c37264c01666747c488e37c8b9d981aadf1641d6d989d8c1060c4",
            ),
        ),
        weights_url=_HUB + "mobilenet_v2-b0353104.pth",
        weights_licence="Apache-2.0 (ONNX model zoo) or BSD-3-Clause (torchvision)",
        replaced=("classifier.",),
    ),
    ZooEntry(
        name="squeezenet1_1",
        title="SqueezeNet 1.1",
        builder=lambda: _torchvision("squeezenet1_1", lambda: nn.AdaptiveAvgPool2d(1)),
        width=512,
        input_size=224,
        min_size=32,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        dropout=0.5,
        source="Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters "
        "and <0.5MB model size, 2016; version 1.1",
        weights=(
            WeightsFile(
                "squeezenet1_1-imagenet1k.safetensors",
                "952016654f6ff674ea72ce71429ff86c5ea7a358ee31b2b4794545fbde5ac3b4",
            ),
        ),
        weights_url=_HUB + "squeezenet1_1-b8a52dc0.pth",
        weights_licence="Apache-2.0 (ONNX model zoo) or BSD-3-Clause (torchvision)",
        replaced=("classifier.",),
    ),
    ZooEntry(
        name="basic_cnn",
        title="basic CNN",
        builder=BasicCnn,
        width=128,
        input_size=128,
        min_size=16,
        mean=(0.5,),
        std=(0.25,),
        dropout=0.0,
        source="Figure 1 of: Detecting COVID-19 in Chest X-Ray Images Using Apache Spark and CNN",
    ),
)

ZOO = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""name -> :class:`ZooEntry`"""


def entry(name: str) -> ZooEntry:
    """The entry of a network.

    Raises:
        UsageError: there is no network of that name.
    """
    try:
        return ZOO[name]
    except KeyError:
        raise UsageError(
            f"model {name!r}: not in the zoo; choose one of {', '.join(ZOO)}"
        ) from None


def build(
    name: str,
    classes: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """Build a network with random weights (torch's own generator draws them).

    Args:
        name: in the zoo.
        classes: number of classes, two or more.
        mean: of each channel, in [0, 1]; ``None``: the zoo's.
        std: standard deviation of each channel, in [0, 1]; ``None``: the zoo's.

    Raises:
        UsageError: an unknown name, fewer than two classes, or another number of channels.
        EnvironmentProblem: torchvision is missing or does not fit torch.
    """
    known = entry(name)
    mean, std = mean or known.mean, std or known.std
    if len(mean) != len(known.mean):
        raise UsageError(f"{name}: mean has {len(mean)} channels, and {len(known.mean)} go in")
    return Network(
        known.name,
        known.builder(),
        width=known.width,
        classes=classes,
        mean=mean,
        std=std,
        dropout=known.dropout,
    )


def check_size(name: str, size: int) -> None:
    """Check that a network takes images of this side.

    Raises:
        UsageError: the side, pixels, is below the network's smallest.
    """
    if size < (least := entry(name).min_size):
        raise UsageError(f"{name}: size {size} is under its smallest of {least} pixels")
