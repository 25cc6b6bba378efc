"""The zoo: networks by name. What there is stands in :mod:`pulmospark.models.catalogue`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from pulmospark.core.errors import UsageError
from pulmospark.models.catalogue import FLATTENED, ZOO, check_size, entry
from pulmospark.models.network import Network
from pulmospark.models.zoo_entry import Stages, WeightsFile, ZooEntry

__all__ = [
    "FLATTENED",
    "ZOO",
    "WeightsFile",
    "ZooEntry",
    "build",
    "check_size",
    "entry",
    "stages",
]


def build(
    name: str,
    classes: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """Build a network with random weights (torch's own generator draws them).

    Args:
        name: in the zoo, or ``torchvision:NAME`` or ``timm:NAME``.
        classes: number of classes, two or more.
        mean: of each channel, in [0, 1]; ``None``: the zoo's.
        std: standard deviation of each channel, in [0, 1]; ``None``: the zoo's.

    Raises:
        UsageError: an unknown name, a number of classes that the network is not made for, or
            another number of channels.
        EnvironmentProblem: the library is missing or does not fit torch.
    """
    known = entry(name)
    mean, std = mean or known.mean, std or known.std
    if len(mean) != len(known.mean):
        raise UsageError(f"{name}: mean has {len(mean)} channels, and {len(known.mean)} go in")
    if known.classes not in (None, classes):
        raise UsageError(
            f"{name}: made for {known.classes} classes, and there are {classes}: choose another "
            "train.model, or map the findings to as many classes"
        )
    return Network(
        known.name,
        known.builder(),
        width=known.width,
        classes=classes,
        mean=mean,
        std=std,
        dropout=known.dropout,
        single_logit=known.single_logit,
    )


def stages(network: Network) -> Stages:
    """Prefixes of the names of a network's parameters, stage by stage from the input.

    A parameter of the backbone belongs to the one stage of which a prefix is its name, or its
    name up to a dot. The head, ``head.``, is in none: it is always trained.

    Args:
        network: as :func:`build` made it.
    """
    told = entry(network.name).stages or tuple(_found_stages(network.backbone))
    return tuple(tuple(f"backbone.{name}" for name in stage) for stage in told)


def _found_stages(backbone: nn.Module) -> Iterator[tuple[str, ...]]:
    """A stage a module; one that holds more than half of the whole is taken apart.

    Parameters that a module holds itself, a position embedding say, go with the first stage
    of what is in it.
    """
    half = _count(backbone) / 2

    def walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, ...]]:
        own = [prefix + name for name, _ in module.named_parameters(recurse=False)]
        for name, child in module.named_children():
            if not _count(child):
                continue
            parts = any(_count(below) for below in child.children())
            if parts and _count(child) > half:
                inner = list(walk(child, f"{prefix}{name}."))
            else:
                inner = [(prefix + name,)]
            inner[0] = (*own, *inner[0])
            own = []
            yield from inner
        if own:
            yield tuple(own)

    return walk(backbone, "")


def _count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())
