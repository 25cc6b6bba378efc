"""Which parts of a network are trained, and how fast each learns."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from pulmospark.core.errors import UsageError
from pulmospark.core.settings import NetworkSettings
from pulmospark.models.network import Network
from pulmospark.models.zoo import stages


def trained_stages(network: Network, settings: NetworkSettings) -> int:
    """How many of the last stages are trained; the head always is.

    Raises:
        UsageError: more were asked for than there are.
    """
    there = len(stages(network))
    if settings.trainable == "all":
        return there
    if settings.trainable == "head":
        return 0
    if settings.trainable > there:
        raise UsageError(
            f"train.network.trainable is {settings.trainable}, and {network.name} has {there} "
            'stages: give fewer, or "all"'
        )
    return settings.trainable


def parameter_groups(network: Network, settings: NetworkSettings) -> list[dict[str, object]]:
    """Freeze what is not trained; the rest as an optimiser takes it, a group a stage.

    A stage learns ``stage_factor`` as fast as the one after it. Each group has its highest
    rate as ``top``.

    Raises:
        UsageError: see :func:`trained_stages`.
    """
    told = stages(network)
    trained = trained_stages(network, settings)
    network.requires_grad_(True)
    groups = []
    for number, prefixes in enumerate(told):
        inside = _inside(network, prefixes)
        if number < len(told) - trained:
            for parameter in inside:
                parameter.requires_grad_(False)
            continue
        top = settings.learning_rate * settings.stage_factor ** (len(told) - number)
        groups.append({"params": inside, "lr": top, "top": top})
    head = list(network.head.parameters())
    top = settings.learning_rate
    return [*groups, {"params": head, "lr": top, "top": top}]


def trained_parameters(network: Network, settings: NetworkSettings) -> int:
    """How many numbers are trained; what is not is frozen afterwards."""
    parameter_groups(network, settings)
    return sum(one.numel() for one in network.parameters() if one.requires_grad)


def changing(network: Network) -> frozenset[str]:
    """Names in the state dict of what training changes, once what is frozen is.

    These are the parameters that are trained, and the statistics of the layers that train.
    The network is in training mode afterwards.
    """
    train_mode(network)
    found = {name for name, value in network.named_parameters() if value.requires_grad}
    for place, module in network.named_modules():
        if module.training:
            inside = f"{place}." if place else ""
            found |= {f"{inside}{name}" for name, _ in module.named_buffers(recurse=False)}
    return frozenset(found & network.state_dict().keys())


def train_mode(network: Network) -> None:
    """Training mode for what is trained; what is frozen stays as if it were scored.

    So batch norm there keeps the statistics that it came with, whatever the batches are, and
    dropout there drops nothing.
    """
    network.train()
    _rest(network.backbone)


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
