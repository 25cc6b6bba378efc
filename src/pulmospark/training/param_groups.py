"""Trainable stages of a network, and their learning rates."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pulmospark.config.train import NetworkSettings
from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.network import Network
from pulmospark.models.zoo.networks import stages


def trained_stages(network: Network, settings: NetworkSettings) -> int:
    """Number of trainable stages, counted from the last; the head always is.

    Raises:
        UsageError: more than the network has.
    """
    there = len(stages(network))
    if settings.trainable == "all":
        return there
    if settings.trainable == "head":
        return 0
    if settings.trainable > there:
        raise UsageError(
            f"train.network.trainable is {settings.trainable}, but {network.name} has {there} "
            'stages: set fewer, or "all"'
        )
    return settings.trainable


def parameter_groups(network: Network, settings: NetworkSettings) -> list[dict[str, object]]:
    """Freeze the other stages; return parameter groups for an optimiser, one per stage.

    A stage's learning rate is ``stage_factor`` times that of the next one. Each group has its
    peak rate as ``top``.

    Raises:
        UsageError: see :func:`trained_stages`.
    """
    all_stages = stages(network)
    trained = trained_stages(network, settings)
    network.requires_grad_(True)
    groups = []
    for number, prefixes in enumerate(all_stages):
        inside = _inside(network, prefixes)
        if number < len(all_stages) - trained:
            for parameter in inside:
                parameter.requires_grad_(False)
            continue
        top = settings.learning_rate * settings.stage_factor ** (len(all_stages) - number)
        groups.append({"params": inside, "lr": top, "top": top})
    head = list(network.head.parameters())
    top = settings.learning_rate
    return [*groups, {"params": head, "lr": top, "top": top}]


def trained_parameters(network: Network, settings: NetworkSettings) -> int:
    """Number of trainable parameters; the others are frozen afterwards."""
    parameter_groups(network, settings)
    return sum(value.numel() for value in network.parameters() if value.requires_grad)


def changing(network: Network, settings: NetworkSettings) -> frozenset[str]:
    """Names in the state dict of what training changes, after freezing.

    These are the trainable parameters, and the statistics of layers in training mode. The network
    is in training mode afterwards.
    """
    train_mode(network, settings)
    names = {name for name, value in network.named_parameters() if value.requires_grad}
    for place, module in network.named_modules():
        if module.training:
            inside = f"{place}." if place else ""
            names |= {f"{inside}{name}" for name, _ in module.named_buffers(recurse=False)}
    return frozenset(names & network.state_dict().keys())


def train_mode(network: Network, settings: NetworkSettings) -> None:
    """Training mode for trainable layers; frozen layers stay in evaluation mode.

    So frozen batch norm keeps its statistics, and frozen dropout is inactive. With ``batch_norm``
    ``fixed``, trained batch norm keeps its statistics, too.
    """
    network.train()
    _rest(network.backbone)
    if settings.batch_norm == "fixed":
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _rest(module: nn.Module) -> None:
    own = list(module.parameters())
    if own and not any(parameter.requires_grad for parameter in own):
        module.eval()
        return
    for child in module.children():
        _rest(child)


def _inside(network: Network, prefixes: Iterable[str]) -> list[nn.Parameter]:
    starts = tuple(prefix.rstrip(".") + "." for prefix in prefixes)
    return [value for name, value in network.named_parameters() if (name + ".").startswith(starts)]
