"""The start of a training: ImageNet's weights, or an earlier bundle's.

With a bundle a network learns on one data set and carries over to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from pulmospark.core.errors import UsageError
from pulmospark.core.settings import TrainSettings
from pulmospark.models.bundle import Bundle, read_bundle
from pulmospark.models.catalogue import entry
from pulmospark.models.network import Network
from pulmospark.models.weights import WeightsOrigin, load_imagenet


def load_start(
    network: Network, settings: TrainSettings, classes: Sequence[str]
) -> WeightsOrigin | None:
    """Give a network the weights that the settings ask for.

    Args:
        network: as ``zoo.build`` made it; changed in place.
        settings: ``start``, ``weights`` and ``weights_path`` say what from.
        classes: of the network, in the order of its output.

    Returns:
        Where they came from; ``None``: it stays as it is, random.

    Raises:
        UsageError: there are no such weights of the network, or the bundle is another's.
        EnvironmentProblem: the weights are nowhere to be had.
        InputError: the file or the bundle is damaged.
    """
    if settings.start is not None:
        return load_bundle(network, settings.start, classes)
    if settings.weights == "none":
        return None
    if settings.method == "features" and entry(network.name).added:
        raise UsageError(
            f"{network.name}: its added layers have no ImageNet weights, so that its features "
            "would be random: use train.method = 'network', or train.start"
        )
    return load_imagenet(network, source=settings.weights_path)


def load_bundle(network: Network, folder: Path, classes: Sequence[str]) -> WeightsOrigin:
    """Take over the weights of a bundle's backbone; the head's too where the classes are the same.

    The same classes in another order are the same: the head's rows are put in order.

    Args:
        network: as ``zoo.build`` made it; changed in place.
        folder: of the bundle.
        classes: of the network, in the order of its output.

    Returns:
        Where the weights came from.

    Raises:
        UsageError: the bundle holds another network, or one that standardises its input
            otherwise.
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
            f"{bundle.folder}: the bundle holds {config.model}, and the network to start is "
            f"{network.name}: set train.model to {config.model}, or name another bundle"
        )
    ours, theirs = (network.channel_mean, network.channel_std), (config.mean, config.std)
    if ours != theirs:
        raise UsageError(
            f"{bundle.folder}: the bundle standardises by {theirs}, and {network.name} here by "
            f"{ours}: name another bundle"
        )


@torch.no_grad()
def _take_head(network: Network, given: Network, order: list[int]) -> None:
    weight, bias = given.head.weight.data, given.head.bias.data
    if not network.single_logit:
        weight, bias = weight[order], bias[order]
    elif order != [0, 1]:  # one logit tells the second class from the first
        weight, bias = -weight, -bias
    network.head.weight.copy_(weight)
    network.head.bias.copy_(bias)
