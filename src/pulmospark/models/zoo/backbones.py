"""Backbones from library networks: without the output layer, with the original key names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pulmospark.models.zoo.torchvision_import import import_torchvision_network


class FlatFeatures(nn.Module):
    """The flattened last feature map of a network with its convolutions in ``features``.

    Args:
        network: whose ``features`` are shared, not copied.
        relu: apply the ReLU that the network has outside ``features``.
    """

    def __init__(self, network: nn.Module, *, relu: bool = False) -> None:
        super().__init__()
        self.features = network.get_submodule("features")
        self.last = nn.ReLU() if relu else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, channels x h x w of the map)."""
        return torch.flatten(self.last(self.features(images)), 1)


def torchvision_backbone(
    place: str,
    cut: Sequence[str],
    *,
    features_only: bool = False,
    relu: bool = False,
    pooled: bool = False,
    **options: Any,
) -> nn.Module:
    """A torchvision network that returns features, with random weights.

    Args:
        place: module and function below ``torchvision.models``: ``vgg.vgg19``.
        cut: dotted names of the layers to remove.
        features_only: return the flattened last map, for networks that pool outside their
            modules.
        relu: see :class:`FlatFeatures`.
        pooled: replace the removed layers by average pooling.
        options: for the function.

    Raises:
        PlatformError: torchvision is missing or does not fit torch.
    """
    module, _, function = place.partition(".")
    build = getattr(import_torchvision_network(module), function)
    network: nn.Module = build(weights=None, **options)
    if features_only:
        return FlatFeatures(network, relu=relu)
    for name in cut:
        without(network, name, nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity())
    return network


def without(network: nn.Module, name: str, instead: nn.Module) -> nn.Module:
    """Replace the layer of this dotted name; return the old one."""
    parent, _, last = name.rpartition(".")
    holder = network.get_submodule(parent)
    old = holder.get_submodule(last)
    setattr(holder, last, instead)
    return old


def last_linear(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """Dotted name and layer of the last linear layer, in order of creation."""
    layers = [
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)
    ]
    return layers[-1] if layers else None
