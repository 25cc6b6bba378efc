"""Initial weights of training: from ImageNet, or from an earlier bundle.

A bundle transfers a network from one data set to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import UsageError
from pulmospark.core.store_uri import StoreUri
from pulmospark.models.bundle.bundle import Bundle, read_bundle
from pulmospark.models.weights.imagenet import WeightsOrigin, load_imagenet
from pulmospark.models.zoo.catalogue import entry
from pulmospark.models.zoo.network import Network


def load_start(
    network: Network, settings: TrainSettings, classes: Sequence[str]
) -> WeightsOrigin | None:
    """Load the initial weights that the settings specify.

    Args:
        network: from ``zoo.build``; changed in place.
        settings: with ``start``, ``weights`` and ``weights_path``.
        classes: of the network, in the order of its output.

    Returns:
        The origin of the weights; ``None``: random weights.

    Raises:
        UsageError: the network has no such weights, or the bundle is of another network.
        PlatformError: the weights are not available.
        InputError: the file or the bundle is damaged.
    """
    if settings.start is not None:
        return load_bundle(network, settings.start, classes)
    if settings.weights == "none":
        return None
    if settings.method == "features" and entry(network.name).added:
        raise UsageError(
            f"{network.name}: its added layers have no ImageNet weights, so its features "
            "would be random: use train.method = 'network', or train.start"
        )
    return load_imagenet(network, source=settings.weights_path)


def load_bundle(
    network: Network, folder: Path | StoreUri, classes: Sequence[str]
) -> WeightsOrigin:
    """Load the weights of a bundle's backbone, and of its head if the classes are the same.

    Classes in another order count as the same: the head's rows are reordered.

    Args:
        network: from ``zoo.build``; changed in place.
        folder: of the bundle, or its address in a store.
        classes: of the network, in the order of its output.

    Returns:
        The origin of the weights.

    Raises:
        UsageError: the bundle contains another network, or one with another input
            standardisation.
        BundleError: the bundle is missing or damaged.
    """
    bundle = read_bundle(folder)
    _check_same(network, bundle)
    given = bundle.network()
    network.backbone.load_state_dict(given.backbone.state_dict())
    if sorted(classes) == sorted(bundle.config.classes):
        _take_head(network, given, [bundle.config.classes.index(name) for name in classes])
    return WeightsOrigin(f"bundle {bundle.model_id}", bundle.model_sha256, None)


def _check_same(network: Network, bundle: Bundle) -> None:
    config = bundle.config
    if config.model != network.name:
        raise UsageError(
            f"{bundle.folder}: the bundle contains {config.model}, but train.model is "
            f"{network.name}: set train.model to {config.model}, or choose another bundle"
        )
    ours, theirs = (network.channel_mean, network.channel_std), (config.mean, config.std)
    if ours != theirs:
        raise UsageError(
            f"{bundle.folder}: the bundle standardises by {theirs}, but {network.name} by "
            f"{ours}: choose another bundle"
        )


@torch.no_grad()
def _take_head(network: Network, given: Network, order: list[int]) -> None:
    weight, bias = given.head.weight.data, given.head.bias.data
    if not network.single_logit:
        weight, bias = weight[order], bias[order]
    elif order != [0, 1]:  # one logit separates the second class from the first
        weight, bias = -weight, -bias
    network.head.weight.copy_(weight)
    network.head.bias.copy_(bias)
