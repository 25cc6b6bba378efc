"""The zoo: networks by name, listed in :mod:`pulmospark.models.zoo.catalogue`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.catalogue import FLATTENED, ZOO, check_size, entry
from pulmospark.models.zoo.entry import Stages, WeightsFile, ZooEntry
from pulmospark.models.zoo.network import Network

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
    """Build a network with random weights from torch's global generator.

    Args:
        name: in the zoo, or ``torchvision:NAME`` or ``timm:NAME``.
        classes: number of classes, at least two.
        mean: of each channel, in [0, 1]; ``None``: the zoo's.
        std: standard deviation of each channel, in [0, 1]; ``None``: the zoo's.

    Raises:
        UsageError: an unknown name, or an unsupported number of classes or channels.
        PlatformError: the library is missing or does not fit torch.
    """
    known = entry(name)
    mean, std = mean or known.mean, std or known.std
    if len(mean) != len(known.mean):
        raise UsageError(
            f"{name}: mean has {len(mean)} channels, but the input has {len(known.mean)}"
        )
    if known.classes not in (None, classes):
        raise UsageError(
            f"{name}: needs {known.classes} classes, but there are {classes}: choose another "
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
    """Prefixes of the names of a network's parameters, by stage from the input.

    A backbone parameter belongs to the stage with a prefix equal to its name, or to its name up to
    a dot. The head, ``head.``, is in none: it is always trained.

    Args:
        network: from :func:`build`.
    """
    names = entry(network.name).stages or tuple(_found_stages(network.backbone))
    return tuple(tuple(f"backbone.{name}" for name in stage) for stage in names)


def _found_stages(backbone: nn.Module) -> Iterator[tuple[str, ...]]:
    """One stage per module; modules with more than half of all parameters are split.

    A module's direct parameters, such as a position embedding, join its first stage.
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
    return sum(value.numel() for value in module.parameters())
